/** The wall clock steps, either way; the box boots with a clock that is wrong; nobody knows yet whether it is right. */
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../src/core/json.ts";
import { jsonSource } from "./config/pipelines.ts";
import { ownTime, running, second, t0, told } from "./support/running-pipeline.ts";
import { SteppingBox } from "./support/stepping-box.ts";

const hour = 3_600_000;
const year = 365 * 24 * hour;
const sections = (more: JsonObject = {}): JsonObject => ({
  sources: { s: jsonSource("s") },
  windows: { w: second },
  clock: { maxHoldMs: 30_000 },
  ...more,
});

/** A box with a pipeline behind it, its clock known good. */
function box(more: JsonObject = {}) {
  const all = running();
  const clock = new SteppingBox();
  all.feed(clock.clock("synced"), clock.configuration(sections(more)));
  const read = (passMs: number, value = 1, source = "s") => {
    clock.pass(passMs);
    return told(all.feed(clock.frame({ t: value }, source)));
  };
  const tick = (passMs = 0) => {
    clock.pass(passMs);
    return told(all.feed(clock.tick()));
  };
  return { ...all, clock, read, tick };
}
const short = (bodies: { windowStart: string; count: number; partial?: string }[]) =>
  bodies.map((b) => [b.windowStart.slice(11, 19), b.count, b.partial]);

describe("a step of the wall clock", () => {
  test.each([
    ["3 s back", -3_000, "23:59:58", "23:59:59"],
    ["an hour ahead", hour, "01:00:01", "01:00:02"],
    ["an hour back", -hour, "23:00:01", "23:00:02"],
    ["30 years ahead", 30 * year, "00:00:01", "00:00:02"],
    ["30 years back", -30 * year, "00:00:01", "00:00:02"],
  ])("%s leaves the open window alone, and the next one tells the new time", (_, ms, next, then) => {
    const { clock, read, tick, account } = box();
    read(0);
    clock.wrongMs = ms;
    expect(read(300)).toEqual([]);
    expect(read(600)).toEqual([]);
    expect(short(read(100))).toEqual([["00:00:00", 3, undefined]]);
    expect(short(read(1_000))).toEqual([[next, 1, undefined]]);
    expect(short(tick(1_000))).toEqual([[then, 1, undefined]]);
    expect(account()?.discards).toEqual({});
  });

  test("that is no multiple of the window makes the first window behind it partial", () => {
    const { clock, read, tick } = box({ windows: { w: { sizeMs: 60_000 } } });
    read(0);
    clock.wrongMs = -3_000;
    read(30_000);
    read(10_000);
    // The box has run 60 s; its clock says 57: the minute that it told already has 3 s left.
    expect(short(read(20_000))).toEqual([["00:00:00", 3, undefined]]);
    const [again] = tick(3_000);
    expect(again).toMatchObject({ windowStart: "2025-01-01T00:00:00.000Z", count: 1, partial: "clock" });
    read(1_000);
    expect(short(tick(59_000))).toEqual([["00:01:00", 1, undefined]]);
  });

  test("back gives windows of the same time another id", () => {
    const { clock, read } = box();
    read(0);
    const [first] = read(1_000);
    clock.wrongMs = -2_000;
    read(10);
    read(990);
    const [second_] = read(1_000);
    expect(second_.windowStart).toBe(first.windowStart);
    expect(second_.id).not.toBe(first.id);
  });

  test("there and back within one window changes nothing", () => {
    const straight = box();
    const stepping = box();
    const run = ({ clock, read, tick }: ReturnType<typeof box>, ms: number) => {
      const all = read(0);
      clock.wrongMs = ms;
      all.push(...read(100), ...read(100));
      clock.wrongMs = 0;
      all.push(...read(100), ...read(100), ...read(800), ...tick(1_000));
      return all;
    };
    expect(run(stepping, -hour)).toEqual(run(straight, 0));
  });

  test("followed by another in the same window: the last one matters", () => {
    const { clock, read, tick } = box();
    read(0);
    clock.wrongMs = hour;
    read(100);
    read(100);
    clock.wrongMs = -hour;
    read(100);
    read(100);
    read(800);
    expect(short(tick(1_000))).toEqual([["23:00:01", 1, undefined]]);
  });

  test("is not believed on one odd stamp", () => {
    const { feed, clock, read, tick } = box();
    read(0);
    clock.pass(100);
    feed(clock.frame({ t: 1 }, "s", -5_000));
    read(1_000);
    expect(short(tick(900))).toEqual([["00:00:01", 1, undefined]]);
  });

  test("in a silence is noticed by the first frame behind it and the tick", () => {
    const { clock, read, tick } = box({ windows: { w: { sizeMs: 10_000 } } });
    read(0);
    clock.wrongMs = hour;
    expect(short(tick(10_000))).toEqual([["00:00:00", 1, undefined]]);
    read(5_000);
    expect(short(tick(5_000))).toEqual([["01:00:10", 1, undefined]]);
  });

  test("slow drifting apart is followed, too, once it is large enough to matter", () => {
    const { clock, read, tick } = box();
    for (let i = 0; i < 20; i++) {
      clock.wrongMs += 100;
      read(1_000);
    }
    const [entry] = tick(1_000);
    const truthMs = t0 + 20_000 + clock.wrongMs;
    expect(Math.abs(Date.parse(entry.windowStart) + 500 - truthMs)).toBeLessThan(1_000);
  });

  test("does not touch sources with times of their own: nothing is late, nothing is future", () => {
    const { clock, feed, account, tick } = box({ sources: { s: jsonSource("s", ownTime) } });
    const labels: string[] = [];
    for (let i = 0; i < 40; i++) {
      if (i === 10) clock.wrongMs = -hour;
      if (i === 20) clock.wrongMs = 3 * hour;
      if (i === 30) clock.wrongMs = 0;
      clock.pass(500);
      for (const body of told(feed(clock.frame({ t: 1, ts: t0 + clock.nowMs }))))
        labels.push(body.windowStart);
      tick();
    }
    expect([account()?.frameDiscards, account()?.discards]).toEqual([{}, {}]);
    expect(labels).toEqual(Array.from({ length: 20 }, (_, i) => new Date(t0 + i * 1_000).toISOString()));
  });

  test("and a source that gets times of its own, or loses them: nothing is late, no id is told twice", () => {
    const kinds = [jsonSource("s", { decode: { format: "json", ignore: ["ts"] } }), jsonSource("s", ownTime)];
    const { clock, feed, account } = box({ sources: { s: kinds[0] ?? {} } });
    const ids = new Set<string>();
    const all = [];
    for (const [i, wrongMs] of [50 * year, 0, -hour, 0, hour, 0].entries()) {
      clock.wrongMs = wrongMs;
      for (let n = 0; n < 4; n++) {
        clock.pass(60);
        all.push(...told(feed(clock.frame({ t: 1, ts: t0 + clock.nowMs }), clock.tick())));
      }
      all.push(...told(feed(clock.configuration(sections({ sources: { s: kinds[(i + 1) % 2] ?? {} } })))));
    }
    for (const { id, revision } of all) ids.add(`${id} ${revision}`);
    expect(ids.size).toBe(all.length);
    expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(24);
    expect(account()?.discards).toEqual({});
  });

  test("to the right time makes it the judge of what is future", () => {
    const { clock, feed, account } = box({ sources: { s: jsonSource("s", ownTime) } });
    clock.boot(1_000, -50 * year);
    feed(clock.clock("holdover"));
    clock.wrongMs = 0;
    for (let i = 0; i < 5; i++) {
      clock.pass(500);
      feed(clock.frame({ t: 1, ts: t0 + clock.nowMs }), clock.tick());
    }
    expect(account()?.frameDiscards).toEqual({});
  });

  test("a new definition begins with the time that holds", () => {
    const { clock, read, tick, feed } = box();
    read(0);
    clock.wrongMs = hour;
    read(100);
    read(100);
    feed(clock.configuration(sections({ windows: { w: { sizeMs: 2_000 } } })));
    read(100);
    expect(short(tick(2_000))).toEqual([["01:00:00", 1, "configuration"]]);
  });
});

describe("until the clock is known good after a boot", () => {
  function fresh(more: JsonObject = {}, wrongMs = -55 * year) {
    const all = running();
    const clock = new SteppingBox();
    clock.wrongMs = wrongMs;
    const read = (passMs: number) => {
      clock.pass(passMs);
      return told(all.feed(clock.frame({ t: 1 })));
    };
    const start = all.feed(clock.clock("unsynced"), clock.configuration(sections(more)));
    expect(start).toEqual([]);
    return { ...all, clock, read };
  }

  test("frames wait, in no book yet, and get their true times when it is", () => {
    const { pipeline, clock, read, feed, account } = fresh();
    expect([...read(100), ...read(1_000), ...read(1_000)]).toEqual([]);
    expect([pipeline.time.heldFrames, pipeline.openWindows, account()]).toEqual([3, 0, undefined]);
    clock.pass(1_000);
    clock.wrongMs = 0;
    const entries = told(feed(clock.clock("synced"), clock.tick()));
    expect(entries.map((b) => [b.windowStart.slice(0, 19), b.timeQuality, b.count, b.partial])).toEqual([
      ["2025-01-01T00:00:00", "synced", 1, undefined],
      ["2025-01-01T00:00:01", "synced", 1, undefined],
      ["2025-01-01T00:00:02", "synced", 1, undefined],
    ]);
    expect([pipeline.time.heldFrames, account()?.frames]).toEqual([0, 3]);
  });

  test("they pass as unsynced when maxHoldMs is over, by a tick if nothing else comes, and are never rewritten", () => {
    const { pipeline, clock, read, feed } = fresh();
    read(100);
    clock.pass(29_899);
    expect(feed(clock.tick())).toEqual([]);
    const wakeAtMs = pipeline.wakeAtMs() ?? Number.NaN;
    expect(wakeAtMs - pipeline.time.steadyMs(clock.monotonicMs)).toBe(1);
    clock.pass(1);
    expect(told(feed(clock.tick()))).toMatchObject([
      { windowStart: expect.stringMatching(/^1970/), timeQuality: "unsynced", count: 1 },
    ]);
    clock.wrongMs = 0;
    read(100);
    expect(told(feed(clock.clock("synced")))).toEqual([]);
    read(1_900);
    clock.pass(1_000);
    expect(told(feed(clock.tick())).at(-1)).toMatchObject({
      windowStart: "2025-01-01T00:00:32.000Z",
      timeQuality: "synced",
    });
  });

  test("nothing waits with maxHoldMs 0, nor with a clock that was known good earlier in this boot", () => {
    const zero = fresh({ clock: { maxHoldMs: 0 } });
    zero.read(0);
    expect([zero.pipeline.time.heldFrames, zero.pipeline.openWindows]).toEqual([0, 1]);
    const { feed, clock, read, pipeline } = box();
    feed(clock.clock("holdover"));
    read(0);
    feed(clock.clock("unsynced"));
    read(1);
    expect(pipeline.time.heldFrames).toBe(0);
  });

  test("a restart of the process goes on waiting, and one after the wait does not wait again", () => {
    const { pipeline, clock, read, feed } = fresh();
    read(100);
    clock.pass(10_000);
    feed(clock.clock("unsynced"));
    read(100);
    expect(pipeline.time.heldFrames).toBe(2);
    read(20_000);
    expect(pipeline.time.heldFrames).toBe(0);
    clock.pass(1_000);
    feed(clock.clock("unsynced"));
    read(100);
    expect(pipeline.time.heldFrames).toBe(0);
  });

  test("a configuration that comes meanwhile waits in its place, and is the last one known", () => {
    const { pipeline, clock, read, feed } = fresh();
    read(100);
    const next = clock.configuration(
      sections({ calibrate: { c: { device: "s-1", channels: { t: { slope: 5 } } } } }),
    );
    feed(next);
    read(100);
    expect(next.type === "configuration" && pipeline.config?.hash).toBe(
      next.type === "configuration" && next.config.hash,
    );
    clock.wrongMs = 0;
    clock.pass(2_000);
    expect(told(feed(clock.clock("synced"), clock.tick()))).toMatchObject([
      { channels: { t: { min: 1, max: 5 } } },
    ]);
  });

  test("what an earlier boot left waiting passes as unsynced, and is told before what follows", () => {
    const { clock, read, feed } = fresh();
    read(100);
    read(100);
    clock.boot(60_000, 0);
    const entries = told(feed(clock.clock("synced"), clock.tick()));
    expect(entries).toMatchObject([{ timeQuality: "unsynced", count: 2 }]);
  });

  test("more than the memory for it is not held", () => {
    const { pipeline, clock, feed } = fresh();
    const large = "x".repeat(1_048_576);
    for (let i = 0; i < 63; i++) {
      clock.pass(1);
      feed(clock.frame({ t: 1, large }));
    }
    expect(pipeline.time.heldFrames).toBe(63);
    clock.pass(1);
    feed(clock.frame({ t: 1, large }));
    clock.pass(1);
    feed(clock.frame({ t: 1, large }));
    expect([pipeline.time.heldFrames, pipeline.held()]).toEqual([0, { s: 65 }]);
  });
});

describe("a boot", () => {
  test("with a clock behind closes what is open as it stands, and nothing is late", () => {
    const { clock, read, feed, account, tick } = box();
    read(0);
    clock.boot(20_000, -year);
    const cut = told(feed(clock.clock("holdover")));
    expect(short(cut)).toEqual([["00:00:00", 1, "clock"]]);
    read(1_500);
    expect(tick(1_000)).toMatchObject([{ count: 1 }]);
    clock.boot(20_000, -year - 1_000_000);
    feed(clock.clock("synced"));
    read(300);
    expect(tick(1_000)).toMatchObject([{ count: 1 }]);
    expect(account()?.discards).toEqual({});
  });

  test("does not keep a silent source with times of its own from being moved on", () => {
    const { clock, feed, tick } = box({ sources: { s: jsonSource("s", ownTime) } });
    clock.pass(hour);
    feed(clock.frame({ t: 1, ts: t0 + clock.nowMs }));
    clock.boot(20_000, 0);
    feed(clock.clock("synced"));
    expect(tick(2_500)).toEqual([]);
    expect(short(tick(600))).toEqual([["01:00:00", 1, undefined]]);
  });

  test("with a clock that is right goes on, also after the boot before had to step", () => {
    const { clock, read, feed, tick, account } = box();
    clock.wrongMs = 50 * year;
    read(0);
    read(100);
    clock.wrongMs = 0;
    read(100);
    read(100);
    clock.boot(9_700, 0);
    expect(short(told(feed(clock.clock("synced"))))).toEqual([]);
    expect(short(read(100))).toEqual([["00:00:00", 4, undefined]]);
    expect(short(tick(1_000))).toEqual([["00:00:10", 1, undefined]]);
    expect(account()?.discards).toEqual({});
  });
});
