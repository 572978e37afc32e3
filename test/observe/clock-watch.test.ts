import { expect, test } from "vitest";
import type { TimeQuality } from "../../src/core/reading.ts";
import { ClockWatch } from "../../src/observe/clock-watch.ts";

function watched(first: TimeQuality, before?: { id: string; wasSynced: boolean }) {
  let now = first;
  const watch = new ClockWatch(() => now, "this boot", before);
  const becomes = (quality: TimeQuality) => {
    now = quality;
    return [watch.look(), watch.quality];
  };
  return { watch, becomes };
}

test("a clock that was never known good is unsynced, and one that was and is not any more is in holdover", () => {
  const { watch, becomes } = watched("unsynced");
  expect(watch.quality).toBe("unsynced");
  expect(becomes("unsynced")).toEqual([false, "unsynced"]);
  expect(becomes("synced")).toEqual([true, "synced"]);
  expect(becomes("unsynced")).toEqual([true, "holdover"]);
  expect(becomes("unsynced")).toEqual([false, "holdover"]);
  expect(becomes("synced")).toEqual([true, "synced"]);
});

test.each([
  ["of this boot counts", { id: "this boot", wasSynced: true }, "holdover"],
  ["of this boot that never saw it good does not", { id: "this boot", wasSynced: false }, "unsynced"],
  ["of another boot does not", { id: "another", wasSynced: true }, "unsynced"],
])("what an earlier process knew %s", (_, before, quality) => {
  expect(watched("unsynced", before).watch.quality).toBe(quality);
});
