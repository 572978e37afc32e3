import type { OutboxCounters } from "../outbox/outbox.ts";
import type { Evicted, Reduction } from "../outbox/reduction.ts";

export interface EconomyContext {
  readonly counters: OutboxCounters;
  readonly reduction: Reduction;
  readonly maxMessageBytes: number;
}

/** So many bytes of raw readings are given up with one commit: all of it goes through the log in one transaction. */
const readingBytes = 1_048_576;

/**
 * The day's budget has no block left for what waits: raw readings are given up, which the windows tell of all the same,
 * and windows are merged when more than two messages of them have gathered, so that there is something to merge. What
 * is left waits.
 */
export class Economy {
  /** Bytes that waited when nothing was left to merge; what has gathered since is worth another go. */
  #mergedBytes = 0;
  #isMerging = false;

  economize(
    { counters, reduction, maxMessageBytes }: EconomyContext,
    givenUp: (source: string, what: Evicted) => void,
  ): void {
    const sources = Object.keys(counters.loose).filter((source) => (counters.loose[source] ?? 0) > 0);
    for (const source of sources) {
      const what = reduction.evictReadings(source, readingBytes);
      if (what) givenUp(source, what);
    }
    const looseBytes = () => Object.values(counters.loose).reduce((sum, bytes) => sum + bytes, 0);
    this.#mergedBytes = Math.min(this.#mergedBytes, looseBytes());
    this.#isMerging ||= looseBytes() - this.#mergedBytes > 2 * maxMessageBytes;
    if (!this.#isMerging) return;
    // A message's worth at a time, and the next commit goes on.
    const merged = sources.map((source) => reduction.thin(source, maxMessageBytes));
    if (merged.some((bytes) => bytes !== undefined)) return;
    this.#isMerging = false;
    this.#mergedBytes = looseBytes();
  }
}
