import { accountOf, countDiscard } from "../ledger/ledger.ts";
import { gapEntry } from "../outbox/gap-entry.ts";
import { laneFor, numberIn } from "../outbox/lanes.ts";
import type { Evicted } from "../outbox/reduction.ts";
import type { Memory } from "./memory.ts";

/** The store is full, or the day's budget used up. */
export type GiveUpReason = "evicted" | "budget";

export interface GivenUp {
  readonly reason: GiveUpReason;
  readonly source: string;
  readonly priority: number;
  /** When it is told, as the outbox takes it. */
  readonly within: [number, number] | undefined;
}

/**
 * Counts what was given up and tells the hub of it: one entry per source, which grows as long as it stands in no
 * message, so that a full store does not fill up with the news of its being full.
 */
export function giveUp(
  { state, outbox, ledger, pipeline }: Pick<Memory, "state" | "outbox" | "ledger" | "pipeline">,
  { reason, source, priority, within }: GivenUp,
  { accounts, fromMs, toMs }: Evicted,
): void {
  for (const [name, count] of Object.entries(accounts)) countDiscard(accountOf(ledger, name), reason, count);
  // A source's name holds no space.
  const key = reason === "evicted" ? source : `${source} ${reason}`;
  const untold = state.evictions[key];
  const before = untold && outbox.isLoose(untold.entry) ? untold : undefined;
  // It was never composed, so it was never sent: its successor says all of it.
  if (before) outbox.withdraw(before.entry);
  const note = {
    entry: numberIn(laneFor("gap", priority), state.outbox.nextEntry),
    fromMs: Math.min(fromMs, before?.fromMs ?? fromMs),
    toMs: Math.max(toMs, before?.toMs ?? toMs),
    readings: Object.values(accounts).reduce((sum, count) => sum + count, before?.readings ?? 0),
  };
  state.evictions[key] = note;
  const gateway = pipeline.config?.gateway ?? "";
  const gap = { ...note, gateway, source, count: note.readings, reason };
  outbox.insert([gapEntry(state.storeId, `${note.entry}`, gap)], () => priority, within);
}
