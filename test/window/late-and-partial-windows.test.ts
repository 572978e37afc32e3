import { describe, expect, test } from "vitest";
import { Windows } from "../../src/window/windows.ts";
import { pipelineOf } from "../config/pipelines.ts";
import { baseContext, measured, origin, running, second, t0 } from "./running-windows.ts";

describe("windows that are partial", () => {
  test("one that began before the start says so, the next does not", () => {
    const { add, advance } = running({ w: second }, t0 + 500);
    add(600);
    add(1_000);
    expect(advance(2_000).map((b) => b.partial)).toEqual(["start", undefined]);
  });

  test("one that begins with the start is whole", () => {
    const { add, advance } = running({ w: second }, t0);
    add(0);
    expect(advance(1_000)[0]).not.toHaveProperty("partial");
  });

  test("a changed definition closes its windows as they stand, and those of the new one are partial", () => {
    const { add, advance, configure } = running({ w: second });
    add(100);
    const closed = configure({ w: { sizeMs: 2_000 } }, 500);
    expect(closed).toMatchObject([
      { partial: "configuration", count: 1, revision: 0, windowEnd: "2025-01-01T00:00:01.000Z" },
    ]);
    add(600);
    const [first] = advance(2_000);
    expect(first).toMatchObject({
      partial: "configuration",
      count: 1,
      windowEnd: "2025-01-01T00:00:02.000Z",
    });
    expect(first?.id).not.toBe(closed[0]?.id);
  });

  test("an entry cut short is ready at once, one that ran to its end at its end", () => {
    const windows = new Windows();
    const config = pipelineOf({ windows: { w: second } }).windows;
    windows.configure(
      config,
      { generation: 1, sinceMs: t0 - 5_000, reason: "start", offsetMs: 0 },
      baseContext,
    );
    windows.add("s", measured(0, { t: 1 }, {}), origin());
    windows.add("s", measured(1_000, { t: 1 }, {}), origin());
    expect(windows.advance("s", t0 + 1_200, t0 + 1_200, baseContext)[0]?.readyMs).toBe(t0 + 1_000);
    const cut = windows.configure(
      {},
      { generation: 2, sinceMs: t0 + 1_300, reason: "configuration", offsetMs: 0 },
      baseContext,
    );
    expect(cut[0]?.readyMs).toBe(t0 + 1_300);
  });

  test("a definition that did not change keeps its windows, whatever changes beside it", () => {
    const { add, advance, configure } = running({ w: second, x: { sizeMs: 5_000 } });
    add(100);
    expect(configure({ y: { sizeMs: 3_000 }, w: second }, 500).map((b) => b.window)).toEqual(["x"]);
    add(600);
    expect(advance(1_000)).toMatchObject([{ window: "w", count: 2 }]);
  });

  test("a definition that goes closes its windows, and those already told say nothing more", () => {
    const { add, advance, configure, windows } = running({ w: { ...second, allowedLatenessMs: 5_000 } });
    add(100);
    expect(advance(1_000)).toHaveLength(1);
    expect(configure({}, 1_100)).toEqual([]);
    expect([windows.openCount, windows.held()]).toEqual([0, {}]);
  });

  test("a window that was told before is not partial when a late reading of it is told at a change", () => {
    const { add, advance, configure } = running({ w: { ...second, allowedLatenessMs: 5_000 } });
    add(0);
    advance(1_000);
    add(500);
    const [late] = configure({}, 1_100);
    expect(late).toMatchObject({ revision: 1, count: 2 });
    expect(late).not.toHaveProperty("partial");
  });

  test("a definition set back to a former value gets new ids", () => {
    const { add, configure } = running({ w: second });
    add(100);
    const [one] = configure({ w: { sizeMs: 2_000 } }, 200);
    add(300);
    const [two] = configure({ w: second }, 400);
    add(500);
    const [three] = configure({}, 600);
    expect(new Set([one?.id, two?.id, three?.id]).size).toBe(3);
    expect([one?.windowStart, three?.windowStart]).toEqual([one?.windowStart, one?.windowStart]);
  });
});

describe("late readings", () => {
  const lenient = { ...second, allowedLatenessMs: 2_000 };

  test("within the allowed lateness give a new revision of the whole window", () => {
    const { add, advance } = running({ w: lenient });
    add(0, { t: 1 });
    const [first] = advance(1_000);
    expect(add(500, { t: 3 }).discard).toBeUndefined();
    const [second_] = advance(3_000);
    expect(second_).toMatchObject({ id: first?.id, revision: 1, count: 2, channels: { t: { sum: 4 } } });
  });

  test("a revision accounts only for what it adds", () => {
    const { add, entries } = running({ w: lenient });
    add(0);
    add(1);
    expect(entries(1_000).map((e) => e.accounts)).toEqual([{ s: 2 }]);
    add(500);
    expect(entries(3_000).map((e) => e.accounts)).toEqual([{ s: 1 }]);
  });

  test("for a window that had none give its first revision", () => {
    const { add, advance } = running({ w: lenient });
    advance(2_500);
    expect(add(500).discard).toBeUndefined();
    expect(advance(3_000)).toMatchObject([{ revision: 0, count: 1 }]);
  });

  test("beyond it are discarded, on the border to the millisecond", () => {
    const { add, advance } = running({ w: lenient });
    add(500);
    advance(2_999);
    expect(add(500).discard).toBeUndefined();
    advance(3_000);
    expect(add(500).discard).toBe("late");
    expect(add(999).discard).toBe("late");
    expect(add(1_000).discard).toBeUndefined();
  });

  test("without any lateness a window is forgotten as it closes", () => {
    const { add, advance, windows } = running({ w: second });
    add(0);
    advance(1_000);
    expect(windows.openCount).toBe(0);
    expect(add(999).discard).toBe("late");
  });

  test("a watermark never goes back", () => {
    const { add, advance, windows } = running({ w: second });
    advance(5_000);
    expect(advance(1_000)).toEqual([]);
    expect(windows.watermark("s")).toBe(t0 + 5_000);
    expect(add(4_999).discard).toBe("late");
  });

  test("the watermark of one source says nothing about another", () => {
    const { add, advance } = running({ w: second });
    add(0, { t: 1 }, { source: "other" });
    expect(advance(9_000)).toEqual([]);
    expect(add(1, { t: 1 }, { source: "other" }).discard).toBeUndefined();
    expect(advance(1_000, "other")).toMatchObject([{ source: "other", count: 2 }]);
  });

  test("a reading that comes after a window of its own was told is told with the next move of the watermark past its end", () => {
    const { add, advance, windows } = running({ w: lenient });
    add(0);
    advance(1_000);
    add(500);
    const due = windows.due().get("s") ?? Number.NaN;
    const told = advance(Math.max(due, t0 + 1_001) - t0);
    expect(told).toMatchObject([{ revision: 1, count: 2 }]);
  });
});
