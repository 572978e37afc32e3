import { describe, expect, test } from "vitest";
import { Windows } from "../../src/window/windows.ts";
import { baseContext, bodyOf, measured, origin, running, second, t0 } from "./running-windows.ts";

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
    const inForce = { generation: 2, sinceMs: t0 + 1_600, reason: "configuration", offsetMs: 0 } as const;
    const restored = copy.configure({}, inForce, baseContext).map(bodyOf);
    expect(restored.map((b) => b.source)).toEqual(configure({}, 1_600).map((b) => b.source));
  });
});
