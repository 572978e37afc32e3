/** A snapshot of many devices is large: it is taken as rarely as keeps its part of what is written small. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { PipelineSnapshot } from "../../src/pipeline-contract.ts";
import { Disk } from "../../src/store/disk.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { commitOf, configuration, copyAsKilled, openStore, reading, settings, t0 } from "./stores.ts";

const snapshotEvery = 1_000;

/** What a start has to replay, after each of so many commits, each of `snapshotEvery` frames. */
function replayedAfterEach(devices: number, commits: number, restarts: boolean): number[] {
  const folder = temporaryFolder();
  let { store, close } = openStore(folder, { snapshotEvery });
  const sources = { s: jsonSource("s", { device: { field: "d" } }) };
  store.commit(commitOf([configuration(0, { sources, windows: { w: { sizeMs: 3_600_000 } } })], t0));
  // No two alike: compression gains nothing that it would not gain in the field.
  const names = Array.from({ length: devices }, () => randomBytes(8).toString("hex"));
  return Array.from({ length: commits }, (_, commit) => {
    const readings = Array.from({ length: snapshotEvery }, (_, i) =>
      reading(commit, { d: names[(commit * snapshotEvery + i) % devices] ?? "", v: Math.random() }),
    );
    store.commit(commitOf(readings, t0 + commit));
    const killed = openStore(copyAsKilled(folder, join(temporaryFolder(), "copy")));
    killed.close();
    if (restarts) {
      close();
      ({ store, close } = openStore(folder, { snapshotEvery }));
    }
    return killed.opened.replayed;
  });
}

test("a small one is taken after so many frames", () => {
  expect(Math.max(...replayedAfterEach(10, 10, false))).toBe(0);
});

test("what a start has to replay is ten times as much at most", () => {
  const disk = new Disk(temporaryFolder(), "headgate.db", settings.maxBytes);
  onTestFinished(() => disk.close());
  disk.writeSnapshot(1, { heard: randomBytes(1_000_000).toString("hex") } as unknown as PipelineSnapshot);
  const due = [999, 1_000, 9_999, 10_000].map((frames) => disk.isSnapshotDue(frames, snapshotEvery));
  expect(due).toEqual([false, false, false, true]);
});

test.each([false, true])("a large one is taken after more, with restarts in between: %s", (restarts) => {
  const replayed = replayedAfterEach(2_000, 25, restarts);
  const largest = Math.max(...replayed);
  expect(largest).toBeGreaterThan(3);
  // It is taken in the end: what a start has to replay is bounded.
  expect(replayed.lastIndexOf(0)).toBeGreaterThan(replayed.indexOf(largest));
});
