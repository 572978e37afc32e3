/**
 * What messages cost in metering blocks, beside the least that any composition of the same entries could cost that
 * keeps their order and sends each by the same time. It counts, and measures no time: the same seed gives the same.
 */
import { openDatabase } from "../src/core/database.ts";
import { Composer, type ComposeSettings, fullDemand } from "../src/outbox/composer.ts";
import { headerBytes } from "../src/outbox/message-body.ts";
import { emptyOutbox, Outbox } from "../src/outbox/outbox.ts";
import { randomFrom } from "../test/support/random.ts";

export interface BillCase {
  readonly entriesPerSecond: number;
  /** Bytes of an entry: the least and the most. */
  readonly entryBytes: readonly [number, number];
  readonly blockBytes: number;
  readonly seconds: number;
  readonly seed: number;
}

export interface BillResult {
  readonly entries: number;
  readonly messages: number;
  readonly blocks: number;
  /** The least there can be. */
  readonly optimum: number;
  readonly ratio: number;
  readonly fill: number;
}

const commitEveryMs = 100;
const settings: Omit<ComposeSettings, "blockBytes"> = {
  maxDelayMs: 5_000,
  maxMessageBytes: 65_536,
  output: "readings",
  format: "array",
  compression: "none",
  backfillAfterMs: 30_000,
};

/** Composes the entries of one source as they come, and finds what the least would have been. */
export function billOf({ entriesPerSecond, entryBytes, blockBytes, seconds, seed }: BillCase): BillResult {
  const random = randomFrom(seed);
  const [least, most] = entryBytes;
  const count = Math.round(entriesPerSecond * seconds);
  const entries = Array.from({ length: count }, (_, i) => ({
    readyMs: Math.floor((i * 1_000) / entriesPerSecond),
    bytes: Math.round(least + random() * (most - least)),
  }));
  const database = openDatabase(":memory:");
  database.exec(Outbox.schema);
  const counters = emptyOutbox();
  const outbox = new Outbox(database, "00000000-0000", counters);
  const composer = new Composer(outbox);
  let next = 0;
  for (let nowMs = 0; next < count || counters.entries > 0; nowMs += commitEveryMs) {
    const ready = [];
    for (; next < count && (entries[next]?.readyMs ?? 0) <= nowMs; next++) ready.push(entries[next]);
    outbox.insert(
      ready.map((entry) => ({
        kind: "window" as const,
        source: "s",
        readyMs: entry?.readyMs ?? 0,
        body: `"${"x".repeat((entry?.bytes ?? 2) - 2)}"`,
        accounts: {},
      })),
    );
    composer.compose(nowMs, { ...settings, blockBytes }, fullDemand, undefined, 0);
    const done = { alarm: 0, live: 0, backfill: 0 };
    for (let message = outbox.next(done); message; message = outbox.next(done))
      outbox.remove(message.sequence);
  }
  database.close();
  const { messages, blocks, bytes } = counters.bill;
  const optimum = optimumOf(entries, blockBytes);
  return {
    entries: count,
    messages,
    blocks,
    optimum,
    ratio: blocks / optimum,
    fill: bytes / (blocks * blockBytes),
  };
}

/**
 * The least number of blocks, by dynamic programming over where messages end: a message may hold entries as long as the
 * last of them is there when the first has to leave, and as long as it is not too large.
 */
function optimumOf(
  entries: readonly { readonly readyMs: number; readonly bytes: number }[],
  blockBytes: number,
): number {
  const form = { class: "live", format: "array" } as const;
  const fixed = 1 + headerBytes("00000000-1", settings.output, form, false);
  const best = new Float64Array(entries.length + 1);
  for (let end = 1; end <= entries.length; end++) {
    best[end] = Number.POSITIVE_INFINITY;
    let bytes = fixed;
    const lastMs = entries[end - 1]?.readyMs ?? 0;
    for (let begin = end - 1; begin >= 0; begin--) {
      const first = entries[begin];
      bytes += (first?.bytes ?? 0) + 1;
      const leavesMs = (first?.readyMs ?? 0) + settings.maxDelayMs + commitEveryMs;
      const isTooMuch = bytes > settings.maxMessageBytes || lastMs > leavesMs;
      if (isTooMuch && begin < end - 1) break;
      best[end] = Math.min(best[end] ?? 0, (best[begin] ?? 0) + Math.ceil(bytes / blockBytes));
    }
  }
  return best[entries.length] ?? 0;
}

/** What is published: from a trickle to more than one full message a second. */
export const billCases: readonly BillCase[] = [1, 10, 100, 400].flatMap((entriesPerSecond) =>
  [4_096, 512].map((blockBytes) => ({
    entriesPerSecond,
    entryBytes: [350, 550] as const,
    blockBytes,
    seconds: Math.max(20, Math.round(4_000 / entriesPerSecond)),
    seed: 7,
  })),
);
