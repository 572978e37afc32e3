import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import type { OutboxMessage } from "../../src/outbox/outbox.ts";
import type { Commit, StoreSettings, StoreStatus } from "../../src/store/contract.ts";
import { Store } from "../../src/store/store.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";
import { batchOf, frame } from "../journal/batches.ts";
import { behind, composing } from "../support/composing.ts";

export const t0 = Date.UTC(2025, 0, 1);
export const settings: StoreSettings = {
  snapshotEvery: 10_000,
  replayBytes: 0,
  maxBytes: 1_000_000_000,
  retention: {},
};
export const compose: Commit["compose"] = { ...composing, maxMessageBytes: 2_048 };

export function commitOf(
  entries: readonly JournalEntry[],
  nowMs: number,
  more: Partial<Commit> = {},
): Commit {
  return {
    batch: batchOf(entries),
    acknowledged: [],
    rejected: [],
    compose,
    nowMs,
    monotonicMs: nowMs,
    ...more,
  };
}

export function configuration(at: number, sections: JsonObject = {}): JournalEntry {
  const config = pipelineOf({
    sources: { s: jsonSource("s") },
    windows: { w: { sizeMs: 1_000 } },
    ...sections,
  });
  return { type: "configuration", wallMs: t0 + at, config };
}
export function reading(at: number, fields: JsonObject, source = "s"): JournalEntry {
  return frame(source, t0 + at, JSON.stringify(fields));
}

/** Stores that are closed when the test is over. */
export function openStore(folder: string, options: Partial<StoreSettings> = {}) {
  const store = new Store(folder, { ...settings, ...options });
  let open = true;
  const close = () => {
    if (open) store.close();
    open = false;
  };
  onTestFinished(close);
  const opened = store.open();
  return { store, opened, close };
}

/** What a killed process leaves behind: the files as they stand, with the write-ahead log not yet merged. */
export function copyAsKilled(from: string, to: string): string {
  mkdirSync(to, { recursive: true });
  for (const file of ["headgate.db", "headgate.db-wal"]) {
    cpSync(join(from, file), join(to, file));
  }
  return to;
}

export function messagesOf(store: Store): (Omit<OutboxMessage, "body"> & { body: string })[] {
  const all: ReturnType<typeof messagesOf> = [];
  for (let next = store.next(behind(0)); next; next = store.next(behind(next.sequence))) {
    all.push({ ...next, body: Buffer.from(next.body).toString("utf8") });
  }
  return all;
}

/** What must not depend on restarts. */
export function truth(store: Store, status: StoreStatus) {
  const { position, outbox, openWindows, books } = status;
  // Cloned: the books share their inner counts with the running ledger.
  return structuredClone({ position, outbox, openWindows, books, messages: messagesOf(store) });
}
