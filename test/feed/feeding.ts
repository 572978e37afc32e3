import type { JsonObject } from "../../src/core/json.ts";
import type { Feed } from "../../src/feed/pending.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { jsonSource } from "../config/pipelines.ts";
import { frame } from "../journal/batches.ts";
import { configuration, reading, running, t0, told } from "../support/running-pipeline.ts";

export const model = (inputs: JsonObject, more: JsonObject = {}): JsonObject => ({
  type: "model",
  model: "any",
  inputs: { source: "s", ...inputs },
  outputs: { score: { max: 10, unit: "1" } },
  ...more,
});
export const ofWindow = (...features: string[]): JsonObject => ({ from: "window", window: "w", features });
export const ofValues = (last: number, every: number, ...channels: string[]): JsonObject => ({
  from: "values",
  channels,
  last,
  every,
});
export const fed = (m: JsonObject, more: JsonObject = {}, at = 0): JournalEntry =>
  configuration(at, {
    models: { any: { file: "/any.onnx" } },
    sources: { s: jsonSource("s", { device: { field: "id" } }), m },
    ...more,
  });
export const values = (at: number, fields: JsonObject, id = "s-1") => reading(at, { id, ...fields });
export const result = (at: number, { id, device, timeMs }: Feed, score: number) =>
  frame("m", t0 + at, JSON.stringify({ device, time: timeMs, values: { score } }), String(id));

/** A pipeline, with the feeds of `m` that it told. */
export function feeding(...entries: JournalEntry[]) {
  const { feed, pipeline, account, ledger } = running();
  const take = (): Feed[] =>
    pipeline.feeds.takeNews().flatMap(({ source, feeds }) => (source === "m" ? [...feeds] : []));
  feed(...entries);
  return {
    pipeline,
    ledger,
    account,
    take,
    told: (...more: JournalEntry[]) => told(feed(...more)),
    feed: (...more: JournalEntry[]) => {
      feed(...more);
      return take();
    },
    discards: () => account("m")?.frameDiscards ?? {},
  };
}
