/** When a source was last heard, and the newest of its own times. */
interface Heard {
  /** Monotonic: a step of the wall clock must not pass for silence. */
  receivedMs: number;
  newestMs: number;
}
export type WatermarksSnapshot = Readonly<Record<string, Heard>>;

/** Now, in both times. */
interface Now {
  readonly nowMs: number;
  readonly monotonicMs: number;
}

/**
 * How far each source's readings have come. A source stamped on receipt is at steady time; one with times of its own is
 * moved by a tick only when it was idle, and in its own time, because its clock may be off by any amount.
 */
export class Watermarks {
  readonly #heard = new Map<string, Heard>();

  /** A source with times of its own, gone ones too; of the others steady time is the watermark. */
  readonly hasOwn = (source: string): boolean => this.#heard.has(source);

  /** Readings of a source with times of its own came; returns its watermark. */
  hear(source: string, receivedMs: number, newestMs: number): number {
    const newest = Math.max(newestMs, this.#heard.get(source)?.newestMs ?? Number.NEGATIVE_INFINITY);
    this.#heard.set(source, { receivedMs, newestMs: newest });
    return newest;
  }

  /** It is stamped on receipt from here on. */
  forget(source: string): void {
    this.#heard.delete(source);
  }

  /** Monotonic time starts anew with a boot, and silence is reckoned from there. */
  booted(sinceMs: number): void {
    for (const heard of this.#heard.values()) heard.receivedMs = sinceMs;
  }

  /**
   * Behind a tick, which stands behind all frames received before it. `idleMs`: how long it may be silent, or, where
   * it is stamped on receipt, how much later its readings come than they are stamped.
   */
  atTick(source: string, { nowMs, monotonicMs }: Now, idleMs: number): number {
    const heard = this.#heard.get(source);
    if (!heard) return nowMs - idleMs;
    return heard.newestMs + Math.max(0, monotonicMs - heard.receivedMs - idleMs);
  }

  /** Steady ms at which a tick's watermark reaches `dueMs`. */
  wakeMs(source: string, dueMs: number, { nowMs, monotonicMs }: Now, idleMs: number): number {
    const heard = this.#heard.get(source);
    if (!heard) return dueMs + idleMs;
    const silentMs = monotonicMs - heard.receivedMs;
    return nowMs + idleMs - silentMs + dueMs - heard.newestMs;
  }

  snapshot(): WatermarksSnapshot {
    return Object.fromEntries(this.#heard);
  }

  restore(snapshot: WatermarksSnapshot): void {
    this.#heard.clear();
    for (const [source, heard] of Object.entries(snapshot)) this.#heard.set(source, heard);
  }
}
