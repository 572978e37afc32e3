/** A process of its own for `poison.test.ts`: one of the readings it commits kills it. */
import type { JournalEntry } from "../../src/journal/batch.ts";
import { Store } from "../../src/store/store.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";
import { batchOf, frame } from "../journal/batches.ts";
import { composing } from "../support/composing.ts";
import { FaultyPipeline } from "./faulty-pipeline.ts";

const t0 = Date.UTC(2025, 0, 1);
const settings = { snapshotEvery: 10_000, replayBytes: 0, maxBytes: 1_000_000_000, retention: {} };
const compose = { ...composing, maxMessageBytes: 2_048 };

const [folder = "", what] = process.argv.slice(2);
const store = new Store(folder, settings, undefined, (storeId) => new FaultyPipeline(storeId));
const { status } = store.open();

function commit(entries: readonly JournalEntry[]): void {
  const nothing = { acknowledged: [], rejected: [] };
  store.commit({ batch: batchOf(entries), ...nothing, compose, nowMs: t0, monotonicMs: t0 });
}

if (status.position === 0) {
  const config = pipelineOf({ sources: { s: jsonSource("s") }, windows: { w: { sizeMs: 1_000 } } });
  commit([{ type: "configuration", wallMs: t0, monotonicMs: t0, config }]);
}
if (what === "commit") {
  commit(
    Array.from({ length: 33 }, (_, i) => frame("s", t0 + i, `{"t":${i}${i === 21 ? ',"killer":1' : ""}}`)),
  );
}
store.close();
