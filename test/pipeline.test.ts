import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../src/core/json.ts";
import type { JournalEntry } from "../src/journal/batch.ts";
import { balances, imbalances } from "../src/ledger/ledger.ts";
import { messageBody } from "../src/outbox/entry-schema.ts";
import { jsonSource } from "./config/pipelines.ts";
import { frame, tick } from "./journal/batches.ts";
import {
  clock,
  configuration,
  ownTime,
  reading,
  running,
  second,
  t0,
  told,
} from "./support/running-pipeline.ts";

describe("from bytes to entries", () => {
  test("a frame is decoded, calibrated, validated and told in its window", () => {
    const { feed, account } = running();
    feed(
      configuration(-5_000, {
        channels: { temperature: { aliases: ["T"], unit: "°C" } },
        calibrate: { a: { device: "s-1", channels: { temperature: { slope: 2, intercept: 1 } } } },
        validate: { v: { channels: { temperature: { max: 50 } } } },
      }),
      clock(-5_000, "synced"),
    );
    feed(reading(0, { T: 10 }), reading(100, { T: 30 }));
    const [body] = told(feed(tick(t0 + 1_000)));
    expect(body).toMatchObject({
      gateway: "box",
      source: "s",
      device: "s-1",
      timeQuality: "synced",
      quality: "uncertain",
      count: 2,
      bad: 1,
      channels: { temperature: { unit: "°C", mean: 21, count: 1, bad: 1, reasons: { aboveMax: 1 } } },
    });
    expect(account()).toMatchObject({
      frames: 2,
      decoded: 2,
      ingested: 2,
      bad: 1,
    });
    expect([account()?.frameDiscards, account()?.discards]).toEqual([{}, {}]);
  });

  test("until the clock is known good, entries say that it is not", () => {
    const { feed } = running();
    feed(configuration(-5_000, {}), reading(0, { t: 1 }));
    expect(told(feed(tick(t0 + 1_000)))).toMatchObject([{ timeQuality: "unsynced" }]);
    feed(clock(1_000, "synced"), reading(1_100, { t: 1 }));
    expect(told(feed(tick(t0 + 2_000)))).toMatchObject([{ timeQuality: "synced" }]);
  });

  test("a calibration change cuts nothing; the window lists both configurations", () => {
    const { feed } = running();
    feed(configuration(-5_000, {}), reading(0, { t: 1 }));
    const calibrate = { a: { device: "s-1", channels: { t: { slope: 10 } } } };
    expect(feed(configuration(500, { calibrate }))).toEqual([]);
    feed(reading(600, { t: 1 }));
    const [body] = told(feed(tick(t0 + 1_000)));
    expect(body).toMatchObject({ count: 2, channels: { t: { min: 1, max: 10 } } });
    expect(body.configurations).toHaveLength(2);
    expect(body).not.toHaveProperty("partial");
  });

  test("a frame of a source that is not configured is counted, and so is one before any configuration", () => {
    const { feed, account } = running();
    feed(reading(0, { t: 1 }, "gone"));
    feed(configuration(0, {}), reading(0, { t: 1 }, "gone"));
    expect(account("gone")).toMatchObject({
      frames: 2,
      decoded: 0,
      frameDiscards: { unknownSource: 2 },
      ingested: 0,
    });
  });

  test("what never became a frame is counted as the source told it", () => {
    const { feed, account } = running();
    feed(
      { type: "discard", source: "s", reason: "overlong", count: 3, bytes: 9_000 },
      { type: "gap", source: "s", fromMs: 0, toMs: 1, count: 7, reason: "overrun" },
      { type: "gap", source: "s", fromMs: 0, toMs: 1, count: "unknown", reason: "uncleanStop" },
    );
    expect(account()).toMatchObject({
      frames: 3,
      frameDiscards: { overlong: 3 },
      gaps: { counted: 7, unknown: 1 },
    });
  });

  test("a frame of several readings counts once as a frame and each as a reading", () => {
    const { feed, account } = running();
    feed(configuration(0, {}), frame("s", t0, '[{"t":1,"x":"?"},{"t":2},{"t":1e999,"h":1}]'));
    expect(account()).toMatchObject({
      frames: 1,
      decoded: 1,
      ingested: 3,
      notes: { notANumber: 1, notFinite: 1 },
    });
  });

  test("devices whose names differ never share an id, or have a name that is refused", () => {
    const { feed, account } = running();
    feed(configuration(-5_000, { sources: { s: jsonSource("s", { device: { field: "id" } }) } }));
    const names = ["a", "A", "\u00e4", "a\u0308", "\\ud800", "\\ud801", "\\ud800a"];
    feed(...names.map((name) => frame("s", t0, `{"id":"${name}","t":1}`)));
    const ids = told(feed(tick(t0 + 1_000))).map((body) => body.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length + (account()?.frameDiscards.badDevice ?? 0)).toBe(names.length);
  });
});

describe("a reading published by itself", () => {
  const all = { publish: { readings: "all" } };

  test("is told calibrated and judged, accounts for itself, and stands in its window all the same", () => {
    const { feed, account, pipeline } = running();
    feed(
      clock(-5_000, "synced"),
      configuration(-5_000, {
        ...all,
        channels: { t: { unit: "°C" } },
        calibrate: { c: { device: "s-1", channels: { t: { slope: 2 } } } },
        validate: { v: { channels: { t: { max: 50 } } } },
      }),
    );
    const fed = feed(reading(100, { t: 10 }), reading(200, { t: 30, h: 1 }));
    const entries = fed.filter(({ kind }) => kind === "reading");
    expect(messageBody.parse(told(entries))).toMatchObject([
      { kind: "reading", device: "s-1", time: "2025-01-01T00:00:00.100Z", timeQuality: "synced" },
      { channels: { t: { unit: "°C", value: 60, quality: "bad", reason: "aboveMax" }, h: { value: 1 } } },
    ]);
    expect(entries.map(({ accounts }) => accounts)).toEqual([{ s: 1 }, { s: 1 }]);
    expect(pipeline.held()).toEqual({ s: 0 });
    const [window] = feed(tick(t0 + 1_000));
    expect(window?.accounts).toEqual({});
    expect(told(window ? [window] : [])).toMatchObject([{ kind: "window", count: 2, bad: 1 }]);
    expect(account()?.discards).toEqual({});
  });

  test("needs no window, and is late for one without being a discard", () => {
    const { feed, account } = running();
    feed(configuration(-5_000, { ...all, sources: { s: jsonSource("s", ownTime) } }));
    const at = (ts: number) => feed(reading(2_000, { t: 1, ts: t0 + ts }));
    expect([at(2_000), at(0)].map((entries) => told(entries).map(({ kind }) => kind))).toEqual([
      ["reading"],
      ["reading"],
    ]);
    expect(account()).toMatchObject({ discards: {}, notes: { "late:w": 1 } });
    feed(configuration(2_000, { ...all, windows: {} }));
    expect(feed(reading(2_100, { t: 1 }))).toHaveLength(1);
    expect(account()?.discards).toEqual({});
  });

  test("is so where its source says it, whatever publish says", () => {
    const { feed } = running();
    const sources = { s: jsonSource("s", { readings: "none" }), other: jsonSource("other") };
    feed(configuration(-5_000, { ...all, sources }));
    expect(feed(reading(0, { t: 1 }), reading(0, { t: 1 }, "other"))).toMatchObject([{ source: "other" }]);
    feed(configuration(0, { sources: { s: jsonSource("s", { readings: "all" }) } }));
    expect(feed(reading(0, { t: 1 }))).toMatchObject([{ source: "s" }]);
  });

  test("has no value where calibration gave none, and no more channels than a hub takes", () => {
    const { feed, account } = running();
    const calibrate = { c: { device: "s-1", channels: { c0: { slope: 1e200 } } } };
    feed(configuration(-5_000, { ...all, calibrate, windows: {}, alarms: { state: "off" } }));
    const many = Object.fromEntries(Array.from({ length: 1_002 }, (_, i) => [`c${i}`, 1e200]));
    const [body] = messageBody.parse(told(feed(reading(0, many))));
    const channels = body?.kind === "reading" ? body.channels : {};
    expect(channels.c0).toEqual({ quality: "bad", reason: "notFinite" });
    expect([Object.keys(channels).length, account()?.notes.tooManyChannels]).toEqual([1_000, 2]);
  });
});

describe("watermarks", () => {
  const timed = (ts: number) => ({ ts: t0 + ts, t: 1 });
  const timedSource = { sources: { s: jsonSource("s", ownTime) } };

  test("a tick closes the windows of a source stamped on receipt", () => {
    const { feed, pipeline } = running();
    feed(configuration(-5_000, {}), reading(100, { t: 1 }));
    expect(pipeline.wakeAtMs()).toBe(t0 + 1_000);
    expect(feed(tick(t0 + 999))).toEqual([]);
    expect(feed(tick(t0 + 1_000))).toHaveLength(1);
    expect([pipeline.wakeAtMs(), pipeline.openWindows]).toEqual([undefined, 0]);
  });

  test("a tick moves a source with its own times only when it is idle, and in its own time", () => {
    const { feed, pipeline } = running();
    // The device's clock is an hour behind.
    feed(configuration(3_590_000, timedSource), reading(3_600_000, timed(100)));
    expect(feed(tick(t0 + 3_602_899))).toEqual([]);
    // Idle for 2,000 ms, after which its time goes on from 100 to 1,000.
    expect(pipeline.wakeAtMs()).toBe(t0 + 3_602_900);
    expect(told(feed(tick(t0 + 3_602_900)))).toMatchObject([{ windowStart: "2025-01-01T00:00:00.000Z" }]);
  });

  test("its newer readings close its windows by themselves", () => {
    const { feed } = running();
    feed(configuration(-5_000, timedSource), reading(0, timed(0)));
    expect(feed(reading(10, timed(1_000)))).toHaveLength(1);
    expect(feed(reading(20, timed(500)))).toEqual([]);
  });
});

/** What can enter a pipeline, in numbers that fast-check shrinks; `by` is the time since the entry before. */
const configurations: JsonObject[] = [
  {
    sources: { s: jsonSource("s", { silentMs: 1_500 }), own: jsonSource("own", ownTime) },
    windows: { w: { ...second, allowedLatenessMs: 3_000 }, x: { sizeMs: 2_500, sources: ["s"] } },
    validate: { v: { channels: { t: { max: 0.5 } } } },
    alarms: { minSpacingMs: 2_000 },
  },
  {
    sources: {
      s: jsonSource("s", { silentMs: 1_500 }),
      own: jsonSource("own", { ...ownTime, silentMs: 900 }),
    },
    windows: { w: { ...second, allowedLatenessMs: 3_000 } },
    validate: { v: { channels: { t: { max: 0 } } } },
    alarms: { minSpacingMs: 500 },
    publish: { readings: "all" },
  },
  {
    sources: { s: jsonSource("s", { ...ownTime, readings: "all" }), own: jsonSource("own") },
    windows: { x: { sizeMs: 2_500, sources: ["s"] } },
  },
];
const by = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 0, max: 1_200 }) },
  fc.integer({ min: -2_000, max: 20_000 }),
);
const value = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: -10, max: 10 }).map((n) => n / 8) },
  fc.constantFrom(1e308, -1e308, 1e200),
);
const event = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("s" as const), by, value }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("own" as const),
      by,
      value,
      ago: fc.integer({ min: -500, max: 4_000 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("tick" as const), by }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("garbage" as const), by }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("configure" as const), by, which: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("clock" as const), by, synced: fc.boolean() }) },
);
type Event = typeof event extends fc.Arbitrary<infer E> ? E : never;

function journal(events: readonly Event[]): JournalEntry[] {
  let at = 0;
  const entries: JournalEntry[] = [configuration(0, configurations[0] ?? {})];
  for (const one of events) {
    at += one.by;
    if (one.do === "s") entries.push(reading(at, { t: one.value, ts: t0 + at }));
    else if (one.do === "own") entries.push(reading(at, { t: one.value, ts: t0 + at - one.ago }, "own"));
    else if (one.do === "tick") entries.push(tick(t0 + at));
    else if (one.do === "garbage") entries.push(frame("s", t0 + at, "?"));
    else if (one.do === "configure") entries.push(configuration(at, configurations[one.which] ?? {}));
    else entries.push(clock(at, one.synced ? "synced" : "unsynced"));
  }
  return entries;
}
const found = ({ pipeline }: Pick<ReturnType<typeof running>, "pipeline">, state: string) =>
  pipeline.snapshot().alarms?.conditions.filter(({ now }) => now === state).length ?? 0;
const events = fc.array(event, { maxLength: 60 });

describe("any journal", () => {
  test("gives the same entries, whatever batches it is divided into", () => {
    fc.assert(
      fc.property(events, fc.array(fc.nat(60)), (some, cuts) => {
        const entries = journal(some);
        const whole = running();
        const parts = running();
        const expected = whole.feed(...entries);
        const at = [0, ...cuts.filter((cut) => cut < entries.length).sort((a, b) => a - b), entries.length];
        const got = at.slice(1).flatMap((end, i) => parts.feed(...entries.slice(at[i], end)));
        expect(got).toEqual(expected);
        expect([...parts.ledger]).toEqual([...whole.ledger]);
      }),
      { numRuns: 200 },
    );
  });

  test("gives the same entries with a snapshot taken and restored anywhere", () => {
    fc.assert(
      fc.property(events, fc.nat(60), (some, cut) => {
        const entries = journal(some);
        const before = running();
        before.feed(...entries.slice(0, cut));
        const after = running();
        after.pipeline.restore(JSON.parse(JSON.stringify(before.pipeline.snapshot())));
        const end = [tick(t0 + 1e9), configuration(1e9, { windows: {} })];
        expect(after.feed(...entries.slice(cut), ...end)).toEqual(before.feed(...entries.slice(cut), ...end));
      }),
      { numRuns: 500 },
    );
  });

  test("gives every reading one door: told, held or discarded", () => {
    fc.assert(
      fc.property(events, (some) => {
        const { feed, pipeline, ledger } = running();
        const ids = new Set<string>();
        for (const entry of journal(some)) {
          for (const { id, revision, accounts } of feed(entry)) {
            expect(ids.has(`${id} ${revision}`)).toBe(false);
            ids.add(`${id} ${revision}`);
            for (const [source, count] of Object.entries(accounts)) {
              const account = ledger.get(source);
              if (account) account.published += count;
            }
          }
          expect(imbalances(balances(ledger, pipeline.held()))).toEqual([]);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("says when a tick is worth its commit: one at that time does something, and leaves nothing to do at once", () => {
    fc.assert(
      fc.property(events, (some) => {
        const { feed, pipeline } = running();
        let nowMs = t0;
        for (const entry of journal(some)) {
          feed(entry);
          if ("wallMs" in entry) nowMs = entry.wallMs;
          const wakeAtMs = pipeline.wakeAtMs();
          // One that ends a hold lets frames in; whether they close something is theirs to say.
          if (wakeAtMs === undefined || pipeline.time.isHolding) continue;
          // On a copy: the question must not change the journal.
          const copy = running();
          copy.pipeline.restore(JSON.parse(JSON.stringify(pipeline.snapshot())));
          const openBefore = copy.pipeline.openWindows;
          const tickMs = Math.max(wakeAtMs + 2, nowMs);
          const entries = copy.feed(tick(tickMs));
          const closed = openBefore - copy.pipeline.openWindows;
          // A silence is found and told later when it comes too soon after another alarm.
          expect(
            entries.length + closed + found(copy, "silent") - found({ pipeline }, "silent"),
          ).toBeGreaterThan(0);
          expect(copy.pipeline.wakeAtMs() ?? Number.POSITIVE_INFINITY).toBeGreaterThan(tickMs);
        }
      }),
      { numRuns: 200 },
    );
  });
});

test("sums beyond double precision do not come back as other numbers from a snapshot", () => {
  const feedAll = (restart: boolean) => {
    let now = running();
    now.feed(configuration(-5_000, {}), reading(0, { t: 1.5e308 }), reading(1, { t: 1.5e308 }));
    if (restart) {
      const snapshot = JSON.parse(JSON.stringify(now.pipeline.snapshot()));
      now = running();
      now.pipeline.restore(snapshot);
    }
    now.feed(reading(2, { t: 1 }));
    return told(now.feed(tick(t0 + 1_000)));
  };
  expect(feedAll(true)).toEqual(feedAll(false));
});

test("a late reading for a window already told is told alike, with a snapshot in between or without", () => {
  const feedAll = (restart: boolean) => {
    let now = running();
    const lenient = {
      windows: { w: { ...second, allowedLatenessMs: 60_000 } },
      sources: { s: jsonSource("s", ownTime) },
    };
    now.feed(configuration(-5_000, lenient), reading(0, { ts: t0, t: 1 }));
    const all = now.feed(reading(1_000, { ts: t0 + 1_200, t: 2 }));
    now.feed(reading(1_100, { ts: t0 + 500, t: 3 }));
    if (restart) {
      const snapshot = JSON.parse(JSON.stringify(now.pipeline.snapshot()));
      now = running();
      now.pipeline.restore(snapshot);
    }
    all.push(...now.feed(reading(1_300, { ts: t0 + 1_300, t: 4 })));
    all.push(...now.feed(reading(1_400, { ts: t0 + 600, t: 5 })));
    all.push(...now.feed(tick(t0 + 1e9)));
    return told(all).map((body) => [body.windowStart, body.revision, body.count]);
  };
  expect(feedAll(true)).toEqual(feedAll(false));
});
