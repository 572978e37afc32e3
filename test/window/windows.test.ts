import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aggregateNames } from "../../src/config/schema.ts";
import type { Entry } from "../../src/core/entry.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { Measurement, TimeQuality } from "../../src/core/reading.ts";
import type { EntryContext } from "../../src/window/window-entry.ts";
import { Windows } from "../../src/window/windows.ts";
import { pipelineOf } from "../config/pipelines.ts";

interface Body {
  readonly id: string;
  readonly revision: number;
  readonly window: string;
  readonly source: string;
  readonly device: string;
  readonly windowStart: string;
  readonly windowEnd: string;
  readonly timeQuality: string;
  readonly quality: string;
  readonly count: number;
  readonly expected?: number;
  readonly bad: number;
  readonly partial?: string;
  readonly channels: Record<string, Record<string, unknown>>;
  readonly configurations: string[];
}
const bodyOf = (entry: Entry) => JSON.parse(entry.body) as Body;

const baseContext: EntryContext = {
  storeId: "store",
  gateway: "box",
  units: new Map([["t", "°C"]]),
  intervalMs: new Map([["s", 100]]),
};
/** A time whose windows of any size below a day begin at it. */
const t0 = Date.UTC(2025, 0, 1);
const second = { sizeMs: 1_000 };

/** Windows with the definitions in force since long ago, and shorthands for times relative to `t0`. */
function running(definitions: JsonObject, sinceMs = t0 - 3_600_000) {
  const windows = new Windows();
  let generation = 0;
  const configure = (next: JsonObject, since: number, reason: "start" | "configuration") =>
    windows
      .configure(
        pipelineOf({ windows: next, sources: sourcesOf() }).windows,
        { generation: ++generation, sinceMs: since, reason },
        baseContext,
      )
      .map(bodyOf);
  configure(definitions, sinceMs, "start");
  return {
    windows,
    configure: (next: JsonObject, at: number) => configure(next, t0 + at, "configuration"),
    add: (at: number, values: Record<string, number> = { t: 1 }, options: AddOptions = {}) =>
      windows.add(options.source ?? "s", measured(at, values, options), origin(options.time, options.hash)),
    /** A tick at that time, as the pipeline has it: the watermark moves, then late readings are told. */
    advance: (at: number, source = "s") =>
      [
        ...windows.advance(source, t0 + at, t0 + at, baseContext),
        ...windows.revise(t0 + at, baseContext),
      ].map(bodyOf),
    entries: (at: number, source = "s") => windows.advance(source, t0 + at, t0 + at, baseContext),
  };
}
interface AddOptions {
  readonly source?: string;
  readonly device?: string;
  readonly bad?: readonly string[];
  readonly time?: TimeQuality;
  readonly hash?: string;
}
function sourcesOf(): JsonObject {
  return Object.fromEntries(
    ["s", "other"].map((name) => [
      name,
      { type: "serial", path: `/dev/${name}`, decode: { format: "json" }, device: "d" },
    ]),
  );
}
function measured(
  at: number,
  values: Record<string, number>,
  { device = "d", bad = [] }: AddOptions,
): Measurement {
  return {
    device,
    timeMs: t0 + at,
    values: Object.entries(values).map(([channel, value]) => ({
      channel,
      value,
      quality: bad.includes(channel) ? ("bad" as const) : ("good" as const),
      reason: bad.includes(channel) ? ("aboveMax" as const) : undefined,
    })),
  };
}

const origin = (timeQuality: TimeQuality = "synced", configuration = "h1") => ({
  timeQuality,
  configuration,
  ownTime: false,
});

describe("one window", () => {
  test("closes when the watermark reaches its end, not before", () => {
    const { add, advance } = running({ w: second });
    expect(add(0, { t: 20 })).toEqual({ discard: undefined, notes: [] });
    add(999, { t: 22 });
    expect(advance(999)).toEqual([]);
    expect(advance(1_000)).toMatchObject([
      {
        revision: 0,
        window: "w",
        source: "s",
        device: "d",
        windowStart: "2025-01-01T00:00:00.000Z",
        windowEnd: "2025-01-01T00:00:01.000Z",
        timeQuality: "synced",
        quality: "good",
        count: 2,
        expected: 10,
        bad: 0,
        channels: { t: { unit: "°C", mean: 21, min: 20, max: 22, count: 2, bad: 0 } },
        configurations: ["h1"],
      },
    ]);
    expect(advance(5_000)).toEqual([]);
  });

  test("begins at a whole multiple of its size since 1970, also before", () => {
    const { windows } = running({ w: second }, -1e13);
    windows.add(
      "s",
      { device: "d", timeMs: -1, values: [{ channel: "t", value: 1, quality: "good", reason: undefined }] },
      origin(),
    );
    const [entry] = windows.advance("s", 0, 0, baseContext);
    expect(entry && bodyOf(entry)).toMatchObject({
      windowStart: "1969-12-31T23:59:59.000Z",
      windowEnd: "1970-01-01T00:00:00.000Z",
    });
  });

  test("a reading on the border belongs to the later window", () => {
    const { add, advance } = running({ w: second });
    add(999);
    add(1_000);
    expect(advance(2_000).map((b) => [b.windowStart.slice(17, 19), b.count])).toEqual([
      ["00", 1],
      ["01", 1],
    ]);
  });

  test("is not partial and tells no expected count that nobody configured", () => {
    const { add, advance } = running({ w: second });
    add(0, { t: 1 }, { source: "other" });
    const [body] = advance(1_000, "other");
    expect(body).not.toHaveProperty("partial");
    expect(body).not.toHaveProperty("expected");
  });

  test("accounts for its readings when it is told, and holds them until then", () => {
    const { add, entries, windows } = running({ w: second });
    add(0);
    add(1);
    add(1_500);
    expect(windows.held()).toEqual({ s: 3 });
    expect(entries(1_000).map((e) => e.accounts)).toEqual([{ s: 2 }]);
    expect(windows.held()).toEqual({ s: 1 });
    expect(windows.openCount).toBe(1);
  });

  test("is as sure of its time as its least sure reading", () => {
    const { add, advance } = running({ w: second });
    add(0, { t: 1 }, { time: "synced" });
    add(1, { t: 1 }, { time: "unsynced" });
    add(2, { t: 1 }, { time: "holdover" });
    expect(advance(1_000)).toMatchObject([{ timeQuality: "unsynced" }]);
  });

  test("lists the configurations it saw, in order, each once", () => {
    const { add, advance } = running({ w: second });
    for (const hash of ["h2", "h1", "h2"]) add(0, { t: 1 }, { hash });
    expect(advance(1_000)).toMatchObject([{ configurations: ["h2", "h1"] }]);
  });
});

describe("quality", () => {
  const qualityOf = (...readings: [Record<string, number>, string[]][]) => {
    const { add, advance } = running({ w: second });
    for (const [values, bad] of readings) add(0, values, { bad });
    const [body] = advance(1_000);
    return [body?.quality, body?.bad];
  };

  test.each([
    ["good when every value is", [[{ t: 1, h: 2 }, []]], ["good", 0]],
    ["bad when none is good", [[{ t: 1, h: 2 }, ["t", "h"]]], ["bad", 1]],
    [
      "uncertain in between",
      [
        [{ t: 1, h: 2 }, ["t"]],
        [{ t: 1 }, []],
      ],
      ["uncertain", 1],
    ],
  ] satisfies [string, [Record<string, number>, string[]][], unknown[]][])(
    "is %s",
    (_, readings, expected) => {
      expect(qualityOf(...readings)).toEqual(expected);
    },
  );

  test("bad values are counted by channel and reason, readings once", () => {
    const { add, advance } = running({ w: second });
    add(0, { t: 1, h: 2 }, { bad: ["t", "h"] });
    add(1, { t: 1, h: 2 }, { bad: ["t"] });
    const [body] = advance(1_000);
    expect(body).toMatchObject({
      bad: 2,
      channels: { t: { count: 0, bad: 2, reasons: { aboveMax: 2 } }, h: { bad: 1, count: 1 } },
    });
  });
});

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
    windows.configure(config, { generation: 1, sinceMs: t0 - 5_000, reason: "start" }, baseContext);
    windows.add("s", measured(0, { t: 1 }, {}), origin());
    windows.add("s", measured(1_000, { t: 1 }, {}), origin());
    expect(windows.advance("s", t0 + 1_200, t0 + 1_200, baseContext)[0]?.readyMs).toBe(t0 + 1_000);
    const cut = windows.configure(
      {},
      { generation: 2, sinceMs: t0 + 1_300, reason: "configuration" },
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

describe("routes", () => {
  test("a reading that no window matches is unrouted", () => {
    const { add } = running({ w: { ...second, devices: ["oven"] }, x: { ...second, sources: ["other"] } });
    expect(add(0)).toEqual({ discard: "unrouted", notes: [] });
    expect(add(0, { t: 1 }, { device: "oven" }).discard).toBeUndefined();
    expect(add(0, { t: 1 }, { source: "other" }).discard).toBeUndefined();
  });

  test("without any window every reading is unrouted", () => {
    expect(running({}).add(0).discard).toBe("unrouted");
  });

  test("the first matching window accounts, the others tell the reading too", () => {
    const { add, entries, windows } = running({
      x: { ...second, devices: ["oven"] },
      minute: { sizeMs: 2_000 },
      w: second,
    });
    add(0);
    expect(windows.held()).toEqual({ s: 1 });
    const told = entries(2_000).map((e) => [bodyOf(e).window, bodyOf(e).count, e.accounts]);
    expect(told).toEqual([
      ["minute", 1, { s: 1 }],
      ["w", 1, {}],
    ]);
  });

  test("a reading too late for a later window is noted there and counts as what the first made of it", () => {
    const { add, advance } = running({ long: { ...second, allowedLatenessMs: 5_000 }, short: second });
    advance(1_500);
    expect(add(0)).toEqual({ discard: undefined, notes: ["late:short"] });
  });

  test("a reading too late for the first window is discarded, even where a later one tells it", () => {
    const { add, advance, windows } = running({
      short: second,
      long: { ...second, allowedLatenessMs: 5_000 },
    });
    advance(1_500);
    expect(add(0)).toEqual({ discard: "late", notes: [] });
    expect(windows.held()).toEqual({ s: 0 });
  });

  test("sources and devices have windows of their own", () => {
    const { add, advance } = running({ w: second });
    add(0, { t: 1 }, { device: "a" });
    add(0, { t: 2 }, { device: "b" });
    add(0, { t: 3 }, { device: "a", source: "other" });
    const told = [...advance(1_000), ...advance(1_000, "other")];
    expect(told.map((b) => [b.source, b.device, b.count])).toEqual([
      ["s", "a", 1],
      ["s", "b", 1],
      ["other", "a", 1],
    ]);
    expect(new Set(told.map((b) => b.id)).size).toBe(3);
  });

  test("devices whose names differ never share an id", () => {
    const { add, advance } = running({ w: second });
    const devices = ["a", "A", "a ", "ä", "a\u0308"];
    for (const device of devices) add(0, { t: 1 }, { device });
    expect(new Set(advance(1_000).map((b) => b.id)).size).toBe(devices.length);
  });
});

describe("bounds", () => {
  test("a device that invents channels has a thousand of them, the rest is noted", () => {
    const { add, advance } = running({ w: second });
    const many = Object.fromEntries(Array.from({ length: 1_005 }, (_, i) => [`c${i}`, i]));
    expect(add(0, many)).toEqual({ discard: undefined, notes: Array(5).fill("tooManyChannels:w") });
    expect(add(1, { c0: 1, c1004: 1 }).notes).toEqual(["tooManyChannels:w"]);
    const [body] = advance(1_000);
    expect(Object.keys(body?.channels ?? {})).toHaveLength(1_000);
    expect(body?.count).toBe(2);
  });

  test("a source that invents devices has a hundred thousand windows, further readings are discarded", () => {
    const { add, advance, windows } = running({ w: second });
    for (let i = 0; i < 100_000; i++) expect(add(0, { t: 1 }, { device: `d${i}` }).discard).toBeUndefined();
    expect(add(0, { t: 1 }, { device: "one more" }).discard).toBe("tooManyWindows");
    expect(add(0, { t: 1 }, { device: "d7" }).discard).toBeUndefined();
    expect(windows.openCount).toBe(100_000);
    advance(1_000);
    expect(windows.openCount).toBe(0);
    expect(add(1_000, { t: 1 }, { device: "one more" }).discard).toBeUndefined();
  });

  test("channels with names that every object inherits are channels like others", () => {
    const { windows, advance } = running({ w: second });
    const values = ["__proto__", "constructor", "toString"].map((channel, value) => ({
      channel,
      value,
      quality: "good" as const,
      reason: undefined,
    }));
    windows.add("s", { device: "__proto__", timeMs: t0, values }, origin());
    const [body] = advance(1_000);
    expect(Object.keys(body?.channels ?? {})).toEqual(["__proto__", "constructor", "toString"]);
    expect(body?.device).toBe("__proto__");
  });
});

describe("a snapshot", () => {
  test("is plain data that brings back windows, watermarks and what is held", () => {
    const { add, windows, advance } = running({
      w: { ...second, allowedLatenessMs: 1_000 },
      x: { sizeMs: 3_000 },
    });
    add(0, { t: 1, h: 2 }, { bad: ["h"] });
    advance(1_100);
    add(500, { t: 5 });
    add(1_500, { t: 7 });
    const copy = new Windows();
    copy.restore(JSON.parse(JSON.stringify(windows.snapshot())));
    expect([copy.openCount, copy.held(), copy.watermark("s")]).toEqual([
      windows.openCount,
      windows.held(),
      windows.watermark("s"),
    ]);
    expect([...copy.due()]).toEqual([...windows.due()]);
    expect(copy.advance("s", t0 + 4_000, t0 + 4_000, baseContext)).toEqual(
      windows.advance("s", t0 + 4_000, t0 + 4_000, baseContext),
    );
  });

  test("keeps the order of sources, in which their entries come out", () => {
    const { add, windows, advance, configure } = running({ w: second });
    for (const source of ["2", "1", "s"]) {
      add(0, { t: 1 }, { source });
      advance(100, source);
    }
    advance(1_000, "2");
    const copy = new Windows();
    copy.restore(JSON.parse(JSON.stringify(windows.snapshot())));
    expect([...copy.sources()]).toEqual([...windows.sources()]);
    add(1_500, { t: 1 }, { source: "2" });
    copy.add("2", measured(1_500, { t: 1 }, {}), origin());
    const inForce = { generation: 2, sinceMs: t0 + 1_600, reason: "configuration" } as const;
    const restored = copy.configure({}, inForce, baseContext).map(bodyOf);
    expect(restored.map((b) => b.source)).toEqual(configure({}, 1_600).map((b) => b.source));
  });
});

/** What a test can do to windows, in the numbers fast-check shrinks. */
type Step =
  | {
      readonly do: "add";
      readonly device: string;
      readonly at: number;
      readonly value: number;
      readonly bad: boolean;
    }
  | { readonly do: "advance"; readonly by: number }
  | { readonly do: "configure"; readonly which: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      device: fc.constantFrom("a", "b"),
      /** Relative to the watermark, so that late readings are as frequent as early ones. */
      at: fc.integer({ min: -3_000, max: 1_500 }),
      value: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      bad: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("advance" as const), by: fc.integer({ min: 0, max: 1_200 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("configure" as const), which: fc.nat(3) }) },
);
const definitions: JsonObject[] = [
  { w: { sizeMs: 1_000, allowedLatenessMs: 1_500 }, x: { sizeMs: 400, devices: ["a"] } },
  { x: { sizeMs: 400, devices: ["a"] }, w: { sizeMs: 1_000 } },
  { w: { sizeMs: 700, allowedLatenessMs: 300 } },
  { w: { sizeMs: 1_000, allowedLatenessMs: 1_500 } },
];

describe("any sequence of readings, watermarks and reconfigurations", () => {
  const run = (steps: readonly Step[]) => {
    const windows = new Windows();
    let current = Object.entries(pipelineOf({ windows: definitions[0] ?? {} }).windows);
    const config = () => current.map(([name, w]) => ({ name, ...w }));
    /** Good and bad values in order of arrival, by window, device and start; cleared when the definition changes. */
    const arrived = new Map<string, { timeMs: number; value: number; bad: boolean }[]>();
    const told: { body: Body; expected: readonly { timeMs: number; value: number; bad: boolean }[] }[] = [];
    const counts = { accepted: 0, discarded: 0, accounted: 0 };
    const keyOf = (window: string, device: string, startMs: number) => `${window} ${device} ${startMs}`;
    const collect = (entries: readonly Entry[]) => {
      for (const entry of entries) {
        const body = bodyOf(entry);
        const startMs = Date.parse(body.windowStart);
        told.push({ body, expected: [...(arrived.get(keyOf(body.window, body.device, startMs)) ?? [])] });
        counts.accounted += entry.accounts.s ?? 0;
      }
    };
    let watermark = 0;
    let clock = 0;
    let generation = 1;
    const start = { generation, sinceMs: t0 - 3_600_000, reason: "start" } as const;
    windows.configure(Object.fromEntries(current), start, baseContext);
    windows.advance("s", t0, t0, baseContext);
    for (const one of steps) {
      clock++;
      if (one.do === "advance") {
        watermark += one.by;
        collect(windows.advance("s", t0 + watermark, t0 + watermark, baseContext));
      } else if (one.do === "configure") {
        const next = pipelineOf({ windows: definitions[one.which] ?? {} }).windows;
        const inForce = {
          generation: ++generation,
          sinceMs: t0 + watermark,
          reason: "configuration",
        } as const;
        collect(windows.configure(next, inForce, baseContext));
        for (const [name, w] of current) {
          if (JSON.stringify(next[name]) === JSON.stringify(w)) continue;
          for (const key of [...arrived.keys()]) if (key.startsWith(`${name} `)) arrived.delete(key);
        }
        current = Object.entries(next);
      } else {
        const timeMs = t0 + watermark + one.at;
        const value = {
          channel: "t",
          value: one.value,
          quality: one.bad ? "bad" : "good",
          reason: one.bad ? "aboveMax" : undefined,
        } as const;
        const placement = windows.add(
          "s",
          { device: one.device, timeMs, values: [value] },
          origin("synced", `h${clock}`),
        );
        let first = true;
        for (const { name, sizeMs, allowedLatenessMs, devices } of config()) {
          if (devices && !devices.includes(one.device)) continue;
          const startMs = Math.floor(timeMs / sizeMs) * sizeMs;
          const late = startMs + sizeMs + allowedLatenessMs <= t0 + watermark;
          if (first) expect(placement.discard).toBe(late ? "late" : undefined);
          else expect(placement.notes.includes(`late:${name}`)).toBe(late);
          first = false;
          if (late) continue;
          const key = keyOf(name, one.device, startMs);
          arrived.set(key, [...(arrived.get(key) ?? []), { timeMs, value: one.value, bad: one.bad }]);
        }
        if (placement.discard === undefined) counts.accepted++;
        else counts.discarded++;
      }
      expect(counts.accounted + (windows.held().s ?? 0)).toBe(counts.accepted);
    }
    const inForce = { generation: ++generation, sinceMs: t0 + watermark, reason: "configuration" } as const;
    collect(windows.configure({}, inForce, baseContext));
    expect([windows.openCount, counts.accounted]).toEqual([0, counts.accepted]);
    return told;
  };

  test("each entry tells what a recomputation from the readings that arrived tells", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        for (const { body, expected } of run(steps)) {
          const good = expected.filter((v) => !v.bad);
          expect([body.count, body.bad]).toEqual([expected.length, expected.length - good.length]);
          let sum = 0;
          for (const { value } of good) sum += value;
          const channel = body.channels.t ?? {};
          expect(channel.count).toBe(good.length);
          if (good.length === 0) continue;
          const all = good.map((v) => v.value);
          const byTime = [...good].sort((a, b) => a.timeMs - b.timeMs);
          // JSON has no -0.
          const plain = (number: number | undefined) => (number === 0 ? 0 : number);
          expect(channel).toMatchObject({
            sum: plain(sum),
            mean: plain(sum / good.length),
            min: plain(Math.min(...all)),
            max: plain(Math.max(...all)),
            first: plain(byTime[0]?.value),
            last: plain(byTime.at(-1)?.value),
          });
          expect(
            Object.keys(channel).filter((k) => k !== "unit" && k !== "bad" && k !== "reasons").length,
          ).toBe(good.length > 1 ? aggregateNames.length : aggregateNames.length - 1);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("no id and revision is told twice, and revisions of an id count from 0 without a gap", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const next = new Map<string, number>();
        const place = new Map<string, string>();
        for (const { body } of run(steps)) {
          expect(body.revision).toBe(next.get(body.id) ?? 0);
          next.set(body.id, body.revision + 1);
          const here = `${body.window} ${body.device} ${body.windowStart} ${body.windowEnd}`;
          expect(place.get(body.id) ?? here).toBe(here);
          place.set(body.id, here);
        }
      }),
      { numRuns: 300 },
    );
  });
});
