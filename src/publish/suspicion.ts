/** So often a message may end a connection before it goes alone, and before it is left out. */
const alone = 2;
const skipped = 5;
/** Where it begins again when the others did not pass either. */
const again = 3;
/** A message that is left out is tried again so often, this far apart, before it is given up. */
const lastTries = 5;
const betweenTriesMs = 300_000;

/**
 * MQTT has no answer for a message that the hub cannot bear: it ends the connection, every time. A message that does so
 * is first sent alone, then left out. If another passes then, it is not the hub; the others go on, and the message is
 * tried now and then, because a bad line looks the same for a while. Times are monotonic ms.
 */
export class Suspicion {
  #sequence: number | undefined;
  #failures = 0;
  /** When it is tried again, once others were seen to pass. */
  #retryMs: number | undefined;

  /** Sends of one message only, so that it is known which one ends the connection. */
  isAlone(nowMs: number): boolean {
    return this.#failures >= alone && (this.#retryMs === undefined || nowMs >= this.#retryMs);
  }

  /** The message that is not sent now. */
  leftOut(nowMs: number): number | undefined {
    const isLeftOut = this.#failures >= skipped && (this.#retryMs === undefined || nowMs < this.#retryMs);
    return isLeftOut ? this.#sequence : undefined;
  }

  /** The message whose turn has come again. */
  due(nowMs: number): number | undefined {
    return this.#retryMs !== undefined && nowMs >= this.#retryMs ? this.#sequence : undefined;
  }

  /** How long until then; undefined when none is left out, or its turn has come. */
  waitMs(nowMs: number): number | undefined {
    return this.#retryMs === undefined || nowMs >= this.#retryMs ? undefined : this.#retryMs - nowMs;
  }

  /** The connection ended; `first` is the first message that was not confirmed. Returns the message that is given up. */
  failed(first: number, nowMs: number): number | undefined {
    if (this.#retryMs !== undefined) {
      if (first !== this.#sequence || nowMs < this.#retryMs) return undefined;
      this.#failures++;
      this.#retryMs = nowMs + betweenTriesMs;
      if (this.#failures < skipped + lastTries) return undefined;
      this.#clear();
      return first;
    }
    if (this.#failures >= skipped) this.#failures = again;
    else if (first === this.#sequence) this.#failures++;
    else {
      this.#sequence = first;
      this.#failures = 1;
    }
    return undefined;
  }

  /** Nothing else is there to be sent, so whether others pass cannot be seen. */
  tryAgain(): void {
    if (this.#retryMs === undefined && this.#failures >= skipped) this.#failures = skipped - 1;
  }

  /** A message was refused for good, or is there no more. */
  settled(sequence: number): void {
    if (sequence === this.#sequence) this.#clear();
  }

  /** A message was confirmed. */
  passed(sequence: number, nowMs: number): void {
    this.settled(sequence);
    if (this.#failures >= skipped) this.#retryMs ??= nowMs + betweenTriesMs;
  }

  #clear(): void {
    this.#sequence = undefined;
    this.#failures = 0;
    this.#retryMs = undefined;
  }
}
