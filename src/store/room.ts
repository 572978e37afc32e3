import { type Database, usedBytes } from "../core/database.ts";
import { TransientError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import type { OutboxCounters } from "../outbox/outbox.ts";
import type { Evicted, Reduction } from "../outbox/reduction.ts";

/** How a source's entries fare when the store is full. */
export interface Retention {
  /** Lower goes first. */
  readonly priority: number;
  /** Part of the budget that is this source's own. */
  readonly share: number;
  readonly whenFull: "evict" | "keep";
}

/**
 * Of `maxBytes`, what the write-ahead log may take beside the database. What comes in while it is merged waits for two
 * syncs more, so that a longer log makes fewer alarms wait; a shorter one leaves a small store more room.
 */
export const logBytes = (maxBytes: number): number =>
  Math.max(Math.min(4_194_304, maxBytes / 8), Math.min(16_777_216, maxBytes / 64));
/** What one commit may compose of what waits: everything behind it waits as well. */
export const composedBytes = (maxBytes: number): number => Math.min(4_194_304, maxBytes / 8);
/** How full the log is when it is merged, before a commit has to. */
export const mergedLogBytes = (maxBytes: number): number => (logBytes(maxBytes) * 7) / 8;
/** What makes room may take this much beyond the bound. */
const reliefBytes = (maxBytes: number): number => Math.min(1_048_576, maxBytes / 16);
/** What the reserve takes: room for the log to be merged into a file that has to grow by it, and for an eviction. */
export const reserveBytes = (maxBytes: number): number =>
  Math.ceil(logBytes(maxBytes) + reliefBytes(maxBytes));
/** When the bound is reached, this much of it is freed at once: few large deletions instead of one per commit. */
const freedPart = 0.05;
/** And no more than this, because all of it goes through the log in one transaction. */
const freedBytes = 4_194_304;

/** A batch brings forth entries, and rewrites some pages whatever its size. */
export const neededBytes = (batchBytes: number): number => 2 * batchBytes + 65_536;

/** How often what is to be merged is looked for in one commit, which everything waits for. */
const thinningLooks = 4;

export interface RoomContext {
  readonly database: Database;
  readonly counters: OutboxCounters;
  readonly reduction: Reduction;
  readonly retention: Readonly<Record<string, Retention>>;
  readonly maxBytes: number;
  /** The disk is full: what is written must fit into the file as it is, of so many bytes. */
  readonly tightBytes: number | undefined;
  /** Forgets what of the journal is kept for a replay by hand only. */
  readonly dropHistory: () => void;
  /** What is to be written may itself make room: it must not wait for it. */
  readonly isRelief: () => boolean;
}

/** A source that is gone from the configuration goes first. */
const gone: Retention = { priority: -1, share: 0, whenFull: "evict" };

/**
 * Thins, then evicts, until what the store holds fits its bound with room for `bytes` more.
 * The bound is `store.maxBytes`, or the file's present size when the disk is full.
 * @throws TransientError STORE_FULL when it does not fit and nothing more may go.
 */
export function makeRoom(
  context: RoomContext,
  bytes: number,
  evicted: (source: string, what: Evicted) => void,
): void {
  const { database } = context;
  const budget = budgetBytes(context);
  if (usedBytes(database) + bytes <= budget) return;
  enterPhase("evict");
  context.dropHistory();
  // Counted in rows: pages come free only when all rows of one are gone, which those of other sources may prevent.
  let wanted = usedBytes(database) + bytes - budget + Math.min(budget * freedPart, freedBytes);
  let freed = 0;
  let looks = thinningLooks;
  for (const source of candidates(context, budget)) {
    const { counters, reduction, retention } = context;
    const { share } = retention[source] ?? gone;
    const excess = () => Math.min(wanted, (counters.loose[source] ?? 0) - share * budget);
    const less = (what: number) => {
      freed += what;
      wanted -= what;
    };
    for (; looks > 0 && excess() > 0; looks--) {
      const merged = reduction.thin(source, excess());
      // Where there was nothing in so many rows, what comes next is no better, and room is wanted now.
      if (!merged) break;
      less(merged);
    }
    for (let more = excess(); more > 0; more = excess()) {
      const what = reduction.evict(source, more);
      if (!what) break;
      less(what.bytes);
      evicted(source, what);
    }
    if (wanted <= 0) return;
  }
  // What a full disk cannot take it says itself.
  if (freed > 0 || context.tightBytes !== undefined) return;
  const beyond = usedBytes(database) + bytes - budget;
  if (beyond > 0 && (beyond > reliefBytes(context.maxBytes) || !context.isRelief())) {
    throw new TransientError(
      "STORE_FULL",
      `${usedBytes(database)} of ${Math.floor(budget)} bytes are taken, and nothing more may be evicted`,
    );
  }
}

/** Bytes the database may hold. */
function budgetBytes({ maxBytes, tightBytes }: RoomContext): number {
  // The log grows past its bound by what one commit writes.
  const wanted = maxBytes - 2 * logBytes(maxBytes) - reserveBytes(maxBytes);
  return tightBytes === undefined ? wanted : Math.min(wanted, tightBytes);
}

/** Sources with something to give, the first to go first: by priority, then by how far they are above their share. */
function candidates({ counters, retention }: RoomContext, budget: number): string[] {
  const above = (source: string, { share }: Retention) => (counters.loose[source] ?? 0) - share * budget;
  return Object.keys(counters.loose)
    .map((source) => ({ source, kept: retention[source] ?? gone }))
    .filter(({ source, kept }) => kept.whenFull === "evict" && above(source, kept) > 0)
    .sort((a, b) => a.kept.priority - b.kept.priority || above(b.source, b.kept) - above(a.source, a.kept))
    .map(({ source }) => source);
}
