/** So often a message may end a connection before it goes alone, and before others go first. */
const alone = 2;
const skipped = 5;
/** Where it begins again when the others did not pass either. */
const again = 3;

/**
 * MQTT has no answer for a message that the hub cannot bear: it ends the connection, every time. A message that does so
 * is first sent alone, then left out: if another passes then, it is not the hub.
 */
export class Suspicion {
  #sequence: number | undefined;
  #failures = 0;

  /** Sends of one message only, so that it is known which one ends the connection. */
  get isAlone(): boolean {
    return this.#failures >= alone;
  }

  /** The message that is left out, to see whether others pass. */
  get leftOut(): number | undefined {
    return this.#failures >= skipped ? this.#sequence : undefined;
  }

  get failures(): number {
    return this.#failures;
  }

  /** The connection ended; `first` is the first message that was not confirmed. */
  failed(first: number): void {
    if (this.leftOut !== undefined) this.#failures = again;
    else if (first === this.#sequence) this.#failures++;
    else {
      this.#sequence = first;
      this.#failures = 1;
    }
  }

  /** Nothing else is there to be sent. */
  tryAgain(): void {
    if (this.leftOut !== undefined) this.#failures = skipped - 1;
  }

  /** A message was confirmed; returns the one that is poison by that. */
  passed(sequence: number): number | undefined {
    const poison = this.leftOut;
    if (poison !== undefined || sequence === this.#sequence) {
      this.#sequence = undefined;
      this.#failures = 0;
    }
    return poison;
  }
}
