/** What models are fed with, across commits and deaths of the store. */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../src/journal/batch.ts";
import type { StoreStatus } from "../../src/store/contract.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { frame } from "../journal/batches.ts";
import { commitOf, configuration, copyAsKilled, openStore, reading, t0 } from "./stores.ts";

const sections = {
  models: { any: { file: "/any.onnx" } },
  sources: {
    s: jsonSource("s"),
    m: {
      type: "model",
      model: "any",
      inputs: { from: "values", source: "s", channels: ["x"], last: 1 },
      outputs: { score: {} },
    },
  },
};
const feedsOf = ({ feeds = [] }: StoreStatus) => feeds.flatMap((news) => news.feeds);
const result = (id: number | undefined): JournalEntry =>
  frame("m", t0 + 50, JSON.stringify({ device: "s-1", values: { score: 1 } }), String(id));

test("a feed comes with its commit, and again after a kill, until its result is committed", () => {
  const folder = temporaryFolder();
  const { store } = openStore(folder, { snapshotEvery: 10 });
  const commit = (at: number, ...entries: JournalEntry[]) => store.commit(commitOf(entries, t0 + at));
  expect(feedsOf(commit(0, configuration(0, sections)))).toEqual([]);
  const [first, second, ...others] = feedsOf(commit(10, reading(1, { x: 1 }), reading(2, { x: 2 })));
  expect([first?.values, second?.values, others]).toEqual([[1], [2], []]);
  expect(feedsOf(commit(20, reading(3, { y: 1 })))).toEqual([]);
  commit(30, result(first?.id));

  const killed = openStore(copyAsKilled(folder, join(folder, "killed")));
  const again = (at: number, ...entries: JournalEntry[]) => killed.store.commit(commitOf(entries, t0 + at));
  expect(feedsOf(again(40))).toEqual([second]);
  expect(again(50, result(second?.id)).books.m).toMatchObject({ frames: 2, decoded: 2, ingested: 2 });
  expect(feedsOf(again(60))).toEqual([]);
  expect(again(70, result(second?.id)).books.m?.frameDiscards).toEqual({ duplicate: 1 });
});

test("a store that is given up for another counts the feeds that nobody will answer", () => {
  const { store } = openStore(temporaryFolder());
  store.commit(commitOf([configuration(0, sections), reading(1, { x: 1 })], t0 + 10));
  expect(store.retire().ledger.get("m")).toMatchObject({ frames: 1, frameDiscards: { notScored: 1 } });
});
