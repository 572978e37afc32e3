/** Who waits for a model: a bounded number, one at a time at work, in the order of asking. */
export class JobQueue {
  #inside = 0;
  #isBusy = false;
  readonly #waiting: (() => void)[] = [];

  /** Those that were let in and have not left, the one at work among them. */
  get inside(): number {
    return this.#inside;
  }

  /** False when as many wait as may; who is let in must leave. */
  enter(maxWaiting: number): boolean {
    // One is at work, or about to be.
    if (this.#inside > maxWaiting) return false;
    this.#inside++;
    return true;
  }

  leave(): void {
    this.#inside--;
  }

  /** Does `work` when nobody else is at work. @throws the signal's reason when it is aborted before that */
  async turn<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#wait(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#isBusy = false;
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#isBusy) {
      this.#isBusy = true;
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
