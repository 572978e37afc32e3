/** So often a message may end a connection before it goes alone, and before it is left out. */
const alone = 2;
const skipped = 5;
/** Where it begins again when the others did not pass either. */
const again = 3;
/** Before each try of a message that is left out; the last one for all that follow. It fails as often before it is given up. */
const pausesMs = [60_000, 120_000, 240_000, 480_000, 960_000];
/** And that all of its tries failed must be no more likely than this, if it were a message like the others. */
const unlikely = 0.001;

/**
 * MQTT has no answer for a message that the hub cannot bear: it ends the connection, every time. A message that does so
 * is first sent alone, then left out. If another passes then, it is not the hub; the others go on, and the message is
 * tried now and then. A bad line looks the same for a while: so a try counts against the message only on a connection on
 * which another has just passed, and it is given up only when the others fail far less often. Times are monotonic ms.
 */
export class Suspicion {
  #sequence: number | undefined;
  #failures = 0;
  /** Tries that failed since others were seen to pass. */
  #tries = 0;
  /** What became of the others meanwhile. */
  #othersPassed = 0;
  #othersFailed = 0;
  /** When it is tried again, once others were seen to pass. */
  #retryMs: number | undefined;
  /** Another message has passed on this connection. */
  #isProven = false;
  /** There is no other to see it by. */
  #isOnlyOne = false;

  /** A connection stands on which nothing was sent yet. */
  connected(): void {
    this.#isProven = false;
    this.#isOnlyOne = false;
  }

  /** Sends of one message only, so that it is known which one ends the connection. */
  isAlone(nowMs: number): boolean {
    return this.#failures >= alone && (this.#retryMs === undefined || this.due(nowMs) !== undefined);
  }

  /** The message that is not sent now. */
  leftOut(nowMs: number): number | undefined {
    return this.#failures >= skipped && this.due(nowMs) === undefined ? this.#sequence : undefined;
  }

  /** The message whose turn has come again. */
  due(nowMs: number): number | undefined {
    const isTime = this.#retryMs !== undefined && nowMs >= this.#retryMs;
    return isTime && (this.#isProven || this.#isOnlyOne) ? this.#sequence : undefined;
  }

  /** How long until then; undefined when none is left out, or its turn has come. */
  waitMs(nowMs: number): number | undefined {
    return this.#retryMs === undefined || nowMs >= this.#retryMs ? undefined : this.#retryMs - nowMs;
  }

  /** The connection ended; `first` is the first message that was not confirmed. Returns the message that is given up. */
  failed(first: number, nowMs: number): number | undefined {
    if (this.#retryMs !== undefined) {
      if (first !== this.#sequence) this.#othersFailed++;
      else if (this.due(nowMs) !== undefined) {
        if (this.#isProven) this.#tries++;
        if (this.#isGuilty) {
          this.#clear();
          return first;
        }
        this.#pause(nowMs);
      }
      return undefined;
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
    this.#isOnlyOne = true;
    if (this.#retryMs === undefined && this.#failures >= skipped) this.#failures = skipped - 1;
  }

  /** A message was refused for good, or is there no more. */
  settled(sequence: number): void {
    if (sequence === this.#sequence) this.#clear();
  }

  /** A message was confirmed. */
  passed(sequence: number, nowMs: number): void {
    this.#isProven = true;
    this.settled(sequence);
    if (this.#retryMs !== undefined) this.#othersPassed++;
    else if (this.#failures >= skipped) this.#pause(nowMs);
  }

  #pause(nowMs: number): void {
    this.#retryMs = nowMs + (pausesMs[Math.min(this.#tries, pausesMs.length - 1)] ?? 0);
  }

  get #isGuilty(): boolean {
    // One more of each than was seen: few observations prove little (rule of succession).
    const failing = (this.#othersFailed + 1) / (this.#othersPassed + this.#othersFailed + 2);
    return this.#tries >= pausesMs.length && failing ** this.#tries < unlikely;
  }

  #clear(): void {
    this.#sequence = undefined;
    this.#failures = 0;
    this.#tries = 0;
    this.#othersPassed = 0;
    this.#othersFailed = 0;
    this.#retryMs = undefined;
  }
}
