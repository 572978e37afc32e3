/** Idempotency keys are as durable as the frames they came with. */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { batchOf } from "../journal/batches.ts";
import { commitOf, configuration, copyAsKilled, openStore, reading, t0 } from "./stores.ts";

const key = (name: string): JournalEntry => ({
  type: "key",
  source: "s",
  key: name,
  hash: `#${name}`,
  readings: 1,
});
const keysOf = (opened: { readonly keys: readonly { readonly key: string }[] }) =>
  opened.keys.map((entry) => entry.key);

test("a kill after the commit leaves them, from the snapshot and from the journal behind it, in order", () => {
  const folder = temporaryFolder();
  const { store, opened } = openStore(folder, { snapshotEvery: 6 });
  expect(keysOf(opened)).toEqual([]);
  store.commit(
    commitOf([configuration(0), reading(1, { t: 1 }), key("a"), reading(2, { t: 1 }), key("b")], t0),
  );
  const behind = openStore(copyAsKilled(folder, join(temporaryFolder(), "1")));
  expect(keysOf(behind.opened)).toEqual(["a", "b"]);
  store.commit(commitOf([reading(3, { t: 1 }), key("c")], t0 + 1));
  store.commit(commitOf([reading(4, { t: 1 }), key("a")], t0 + 2));
  const { opened: again } = openStore(copyAsKilled(folder, join(temporaryFolder(), "2")));
  expect(again.keys).toEqual(
    ["b", "c", "a"].map((name) => ({ source: "s", key: name, hash: `#${name}`, readings: 1 })),
  );
});

test("a snapshot from before there were keys has none, and takes new ones", () => {
  const pipeline = new Pipeline("store");
  const { keys: _, ...before } = pipeline.snapshot();
  pipeline.apply(batchOf([key("gone")]));
  pipeline.restore(JSON.parse(JSON.stringify(before)));
  pipeline.apply(batchOf([key("new")]));
  expect(keysOf(pipeline)).toEqual(["new"]);
});
