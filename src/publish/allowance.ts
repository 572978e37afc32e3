export interface Rate {
  readonly messagesPerSecond: number;
  readonly bytesPerSecond: number;
}

/** Two token buckets, each with the tokens of a second, or of one message where that is more. */
export class Allowance {
  #rate: Rate;
  #messages: number;
  #bytes: number;
  #sinceMs: number | undefined;

  constructor(rate: Rate) {
    this.#rate = rate;
    this.#messages = Math.max(1, rate.messagesPerSecond);
    this.#bytes = rate.bytesPerSecond;
  }

  configure(rate: Rate): void {
    this.#rate = rate;
  }

  /** How long until the next message may go, ms; 0 now. `nowMs`: monotonic. */
  waitMs(nowMs: number): number {
    const { messagesPerSecond, bytesPerSecond } = this.#rate;
    const seconds = Math.max(0, nowMs - (this.#sinceMs ?? nowMs)) / 1_000;
    this.#sinceMs = nowMs;
    this.#messages = Math.min(Math.max(1, messagesPerSecond), this.#messages + seconds * messagesPerSecond);
    this.#bytes = Math.min(bytesPerSecond, this.#bytes + seconds * bytesPerSecond);
    // A message larger than a second's bytes goes when there is any, and the next waits the longer.
    const missing = Math.max((1 - this.#messages) / messagesPerSecond, (1 - this.#bytes) / bytesPerSecond);
    return Math.max(0, Math.ceil(missing * 1_000));
  }

  take(bytes: number): void {
    this.#messages--;
    this.#bytes -= bytes;
  }
}
