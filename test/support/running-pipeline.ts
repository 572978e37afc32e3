import { expect } from "vitest";
import type { Entry } from "../../src/core/entry.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { type Ledger, mergeLedger } from "../../src/ledger/ledger.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";
import { batchOf, frame } from "../journal/batches.ts";

export const t0 = Date.UTC(2025, 0, 1);
export const second = { sizeMs: 1_000 };
export const ownTime = { decode: { format: "json", time: { field: "ts" } }, idleMs: 2_000 };

export function configuration(at: number, sections: JsonObject): JournalEntry {
  const config = pipelineOf({ sources: { s: jsonSource("s") }, windows: { w: second }, ...sections });
  return { type: "configuration", wallMs: t0 + at, monotonicMs: t0 + at, config };
}
export const reading = (at: number, fields: JsonObject, source = "s") =>
  frame(source, t0 + at, JSON.stringify(fields));
export const clock = (at: number, quality: "synced" | "unsynced"): JournalEntry => ({
  type: "clock",
  wallMs: t0 + at,
  monotonicMs: t0 + at,
  bootId: "boot",
  quality,
});

/** A pipeline with its books, fed one batch per call. */
export function running() {
  const pipeline = new Pipeline("store");
  const ledger: Ledger = new Map();
  return {
    pipeline,
    feed: (...entries: JournalEntry[]): Entry[] => {
      const output = pipeline.apply(batchOf(entries));
      expect(output.journalEntries).toBe(entries.length);
      mergeLedger(ledger, output.ledger);
      return output.entries;
    },
    account: (source = "s") => ledger.get(source),
    ledger,
  };
}
export const told = (entries: readonly Entry[]) => entries.map((entry) => JSON.parse(entry.body));
