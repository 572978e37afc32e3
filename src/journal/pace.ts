/** Input that pauses for longer has come to a stop, perhaps because its broker sends no more until it is answered. */
const pauseMs = 15;
/** How sure it is that nobody is held up: one more with each commit that found input streaming on, until `surest`. */
const sure = 50;
const surest = 100;
/** Of that, what a pause takes: a broker that does fall silent is put off once in so many commits. */
const pauseTakes = 25;
/** How much longer a commit may be put off then, as a multiple of the least spacing. */
const stretch = 2.5;

/**
 * When to commit for brokers that wait for a PUBACK. While their messages stream in nobody is held up, and fewer
 * commits spare the flash and the processor; a broker whose messages in flight are all unanswered falls silent, and
 * is answered as early as may be.
 */
export class Pace {
  #lastMs = Number.NEGATIVE_INFINITY;
  #sureness = 0;

  /** Input came in. Times are monotonic ms. */
  arrived(nowMs: number): void {
    this.#lastMs = nowMs;
  }

  /** A commit takes what came in. */
  committing(nowMs: number): void {
    const isStreaming = nowMs - this.#lastMs < pauseMs;
    this.#sureness = isStreaming
      ? Math.min(surest, this.#sureness + 1)
      : Math.max(0, this.#sureness - pauseTakes);
  }

  /** Of a commit, when the last one ended at `sinceMs`; later when more has come in meanwhile. */
  dueMs(sinceMs: number, minCommitMs: number): number {
    const earliest = sinceMs + minCommitMs;
    if (this.#sureness < sure) return earliest;
    return Math.max(earliest, Math.min(sinceMs + minCommitMs * stretch, this.#lastMs + pauseMs));
  }
}
