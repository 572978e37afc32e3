import type { OutboxCounters } from "../outbox/outbox.ts";
import type { Evicted, Reduction } from "../outbox/reduction.ts";

export interface EconomyContext {
  readonly counters: OutboxCounters;
  readonly reduction: Reduction;
  readonly maxMessageBytes: number;
}

/**
 * The day's budget has no block left for what waits: raw readings are given up, which the windows tell of all the same,
 * and windows are merged once more than two messages of them wait. What is left waits.
 */
export function economize(
  { counters, reduction, maxMessageBytes }: EconomyContext,
  givenUp: (source: string, what: Evicted) => void,
): void {
  for (const source of Object.keys(counters.loose)) {
    const what = reduction.evictReadings(source);
    if (what) givenUp(source, what);
  }
  const loose = Object.values(counters.loose).reduce((sum, bytes) => sum + bytes, 0);
  if (loose <= 2 * maxMessageBytes) return;
  // A message's worth at a time: all of it goes through the log in one transaction, and the next commit goes on.
  for (const source of Object.keys(counters.loose)) reduction.thin(source, maxMessageBytes);
}
