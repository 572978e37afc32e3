import { gapEntry } from "../outbox/gap-entry.ts";
import { laneFor, numberIn } from "../outbox/lanes.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { Evicted } from "../outbox/reduction.ts";
import type { State } from "./state.ts";

/**
 * Tells the hub what was evicted: one entry per source, which grows as long as it stands in no message, so that a full
 * store does not fill up with the news of its being full.
 */
export function noteEviction(
  state: State,
  outbox: Outbox,
  {
    storeId,
    gateway,
    priority,
  }: { readonly storeId: string; readonly gateway: string; readonly priority: number },
  source: string,
  { accounts, fromMs, toMs }: Evicted,
): void {
  const untold = state.evictions[source];
  const before = untold && outbox.isLoose(untold.entry) ? untold : undefined;
  // It was never composed, so it was never sent: its successor says all of it.
  if (before) outbox.withdraw(before.entry);
  const note = {
    entry: numberIn(laneFor("gap", priority), state.outbox.nextEntry),
    fromMs: Math.min(fromMs, before?.fromMs ?? fromMs),
    toMs: Math.max(toMs, before?.toMs ?? toMs),
    readings: Object.values(accounts).reduce((sum, count) => sum + count, before?.readings ?? 0),
  };
  state.evictions[source] = note;
  const gap = { ...note, gateway, source, count: note.readings, reason: "evicted" as const };
  outbox.insert([gapEntry(storeId, `${note.entry}`, gap)], () => priority);
}

/** Entries that tell of evictions and stand in no message yet; they must not be evicted themselves. */
export function untoldEvictions(state: State): ReadonlySet<number> {
  return new Set(Object.values(state.evictions).map(({ entry }) => entry));
}
