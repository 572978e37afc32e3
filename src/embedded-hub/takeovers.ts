/** Two clients with one identity: each connection closes the other. */
export interface TakeoverAlarm {
  readonly clientId: string;
  readonly at: string;
  readonly takeovers: number;
  readonly withinMs: number;
}

const windowMs = 10_000;
const threshold = 5;
const maxWatched = 1_000;

/** Counts takeovers per client and raises one alarm per storm, not one per takeover. */
export class TakeoverWatch {
  readonly #recent = new Map<string, { firstMs: number; lastMs: number; count: number }>();

  /** Records a takeover; an alarm when it is the one that makes a storm. */
  record(clientId: string, nowMs: number): TakeoverAlarm | undefined {
    const known = this.#recent.get(clientId);
    if (known === undefined || nowMs - known.lastMs > windowMs) {
      this.#recent.delete(clientId);
      if (this.#recent.size >= maxWatched) this.#recent.clear();
      this.#recent.set(clientId, { firstMs: nowMs, lastMs: nowMs, count: 1 });
      return undefined;
    }
    known.lastMs = nowMs;
    known.count++;
    if (known.count !== threshold) return undefined;
    const at = new Date(nowMs).toISOString();
    return { clientId, at, takeovers: known.count, withinMs: nowMs - known.firstMs };
  }
}
