/** Who waits for a model: a bounded number, one or a few at a time at work, in the order of asking. */
export class JobQueue {
  #inside = 0;
  #working = 0;
  readonly #waiting: (() => void)[] = [];

  /** Those that were let in and have not left, the one at work among them. */
  get inside(): number {
    return this.#inside;
  }

  /** False when as many are inside as may be; who is let in must leave. */
  enter(maxInside: number): boolean {
    if (this.#inside >= maxInside) return false;
    this.#inside++;
    return true;
  }

  leave(): void {
    this.#inside--;
  }

  /** Does `work` when fewer than `atOnce` others are at work. @throws the signal's reason when it is aborted before that */
  async turn<T>(work: () => Promise<T>, signal: AbortSignal, atOnce = 1): Promise<T> {
    await this.#wait(signal, atOnce);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#working--;
    }
  }

  async #wait(signal: AbortSignal, atOnce: number): Promise<void> {
    signal.throwIfAborted();
    if (this.#working < atOnce) {
      this.#working++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const start = () => {
        signal.removeEventListener("abort", cancel);
        resolve();
      };
      const cancel = () => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        reject(signal.reason);
      };
      this.#waiting.push(start);
      signal.addEventListener("abort", cancel, { once: true });
    });
  }
}
