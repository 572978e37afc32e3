/** What models are fed with, through the whole pipeline: readings in, numbers out, and one result for each. */
import { expect, test } from "vitest";
import type { Feed } from "../../src/feed/pending.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { withoutEntries } from "../../src/journal/fault.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { jsonSource } from "../config/pipelines.ts";
import { batchOf, frame, tick } from "../journal/batches.ts";
import { ownTime, reading, second, t0 } from "../support/running-pipeline.ts";
import { fed, feeding, model, ofValues, ofWindow, result, values } from "./feeding.ts";

test("features of a window that closes, of good values alone, at the time of its end", () => {
  const box = feeding(
    fed(model(ofWindow("temperature.mean", "temperature.stddev", "vibration.max", "temperature.count")), {
      validate: { v: { channels: { temperature: { max: 100 } } } },
    }),
  );
  expect(
    box.feed(values(100, { temperature: 20, vibration: 0.5 }), values(300, { temperature: 900 })),
  ).toEqual([]);
  const [first, ...others] = box.feed(values(500, { temperature: 22, vibration: 0.25 }), tick(t0 + 1_000));
  expect(first).toMatchObject({ device: "s-1", timeMs: t0 + 1_000, values: [21, Math.SQRT2, 0.5, 2] });
  expect(others).toEqual([]);
  expect(box.feed(tick(t0 + 5_000))).toEqual([]);
});

test("each device is fed by itself; other devices, windows and sources are not asked for", () => {
  const sources = {
    s: jsonSource("s", { device: { field: "id" } }),
    other: jsonSource("other"),
    m: model({ ...ofWindow("t.last"), device: "b" }),
  };
  const box = feeding(fed({}, { sources, windows: { w: second, long: { sizeMs: 2_000 } } }));
  const feeds = box.feed(
    values(1, { t: 1 }, "a"),
    values(2, { t: 2 }, "b"),
    reading(3, { t: 3 }, "other"),
    tick(t0 + 2_000),
  );
  expect(feeds).toMatchObject([{ device: "b", values: [2] }]);
  const series = feeding(fed(model({ ...ofValues(1, 1, "t"), device: "b" })));
  expect(series.feed(values(1, { t: 1 }, "a"), values(2, { t: 2 }, "b"))).toMatchObject([{ values: [2] }]);
});

test("a window that is not whole feeds nothing, and late readings feed nothing again", () => {
  const box = feeding(
    fed(
      model(ofWindow("t.mean")),
      {
        sources: { s: jsonSource("s", ownTime), m: model(ofWindow("t.mean")) },
        windows: { w: { ...second, allowedLatenessMs: 5_000 } },
      },
      300,
    ),
  );
  const at = (ms: number, t: number) => reading(ms, { ts: t0 + ms, t });
  // The first of a source with times of its own began before its first reading.
  expect(box.feed(at(400, 1), at(1_000, 2))).toEqual([]);
  expect(box.discards()).toEqual({ partialWindow: 1 });
  expect(box.feed(at(2_100, 4))).toMatchObject([{ timeMs: t0 + 2_000, values: [2] }]);
  const revised = box.told(at(1_500, 10), tick(t0 + 2_200));
  expect(revised).toMatchObject([{ revision: 1, channels: { t: { mean: 6 } } }]);
  expect(box.feed()).toEqual([]);
});

test("the last readings, channel by channel, after every so many new ones, of each device", () => {
  const box = feeding(fed(model(ofValues(3, 2, "x", "y"))));
  const feeds = box.feed(
    ...[1, 2, 3, 4, 5, 6].flatMap((n) => [
      values(n * 10, { y: -n, x: n, other: 7 }),
      values(n * 10 + 1, { unasked: n }),
      values(n * 10 + 2, { x: 100 * n, y: 0 }, "s-2"),
    ]),
  );
  const of = (device: string) => feeds.filter((feed) => feed.device === device);
  expect(of("s-1").map((feed) => feed.values)).toEqual([
    [1, 2, 3, -1, -2, -3],
    [3, 4, 5, -3, -4, -5],
  ]);
  expect(of("s-1").map(({ timeMs }) => timeMs)).toEqual([t0 + 30, t0 + 50]);
  expect(of("s-2").map((feed) => feed.values)).toEqual([
    [100, 200, 300, 0, 0, 0],
    [300, 400, 500, 0, 0, 0],
  ]);
  expect(new Set(feeds.map(({ id }) => id)).size).toBe(4);
});

test("what is missing or bad is no run, and counted; or a number stands for it", () => {
  const ranges = { validate: { v: { channels: { x: { max: 100 } } } } };
  const readings = [
    values(1, { x: 1, y: 1 }),
    values(2, { x: 999, y: 2 }),
    values(3, { x: 3 }),
    values(4, { x: 4, y: 4 }),
    values(5, { x: 5, y: 5 }),
  ];
  const strict = feeding(fed(model(ofValues(2, 1, "x", "y")), ranges));
  expect(strict.feed(...readings)).toMatchObject([{ values: [4, 5, 4, 5] }]);
  expect(strict.discards()).toEqual({ missingFeature: 3 });
  const filled = feeding(fed(model(ofValues(2, 1, "x", "y"), { missing: -1 }), ranges));
  expect(filled.feed(...readings)).toMatchObject([
    { values: [1, -1, 1, 2] },
    { values: [-1, 3, 2, -1] },
    { values: [3, 4, -1, 4] },
    { values: [4, 5, 4, 5] },
  ]);
  const window = feeding(fed(model(ofWindow("x.mean", "y.stddev"))));
  expect(window.feed(values(1, { x: 1, y: 1 }), tick(t0 + 1_000))).toEqual([]);
  expect(window.discards()).toEqual({ missingFeature: 1 });
});

test("a result is a reading with unit, range and alarm, at the time of what it is of; it counts once", () => {
  const box = feeding(fed(model(ofWindow("t.mean"))));
  const [feed] = box.feed(values(1, { t: 1 }), tick(t0 + 1_000));
  if (!feed) throw new Error("nothing was fed");
  expect(box.told(result(1_400, feed, 50))).toMatchObject([
    { kind: "alarm", source: "m", device: "s-1", channel: "score", to: "bad", value: 50, reason: "aboveMax" },
  ]);
  expect(box.told(result(1_500, feed, 50))).toEqual([]);
  expect(box.account("m")).toMatchObject({ frames: 2, decoded: 1, ingested: 1, bad: 1 });
  expect(box.discards()).toEqual({ duplicate: 1 });
  const [entry] = box.told(tick(t0 + 200_000)).filter(({ source }) => source === "m");
  expect(entry).toMatchObject({
    windowStart: new Date(t0 + 1_000).toISOString(),
    channels: { score: { unit: "1", bad: 1 } },
  });
});

test("a run that gave nothing is counted, and nobody waits for another", () => {
  const box = feeding(fed(model(ofWindow("t.mean"))));
  const [feed] = box.feed(values(1, { t: 1 }), tick(t0 + 1_000));
  const failed = JSON.stringify({ discard: "modelFailed", reason: "NaN" });
  box.feed(frame("m", t0 + 1_100, failed, String(feed?.id)), frame("m", t0 + 1_200, failed, "12"));
  box.feed(frame("m", t0 + 1_300, "{}"));
  expect(box.discards()).toEqual({ modelFailed: 1, duplicate: 2 });
  expect(box.pipeline.snapshot().feeds?.sources[0]?.pending).toEqual([]);
});

test("a result that a stage threw at is counted, and nobody waits for another", () => {
  const box = feeding(fed(model(ofWindow("t.mean"))));
  const [feed] = box.feed(values(1, { t: 1 }), tick(t0 + 1_000));
  if (!feed) throw new Error("nothing was fed");
  const batch = withoutEntries(batchOf([result(1_100, feed, 1)]), () => true, "a bug");
  if (!batch) throw new Error("it cannot be taken out");
  expect(box.pipeline.apply(batch).ledger.get("m")?.frameDiscards).toEqual({ pipelineFault: 1 });
  expect(box.pipeline.snapshot().feeds?.sources[0]?.pending).toEqual([]);
});

test.each([-3_600_000, 3_600_000])(
  "no result is late when the wall clock steps by %i ms, nor when it comes late itself",
  (stepMs) => {
    const box = feeding(fed(model({ ...ofValues(1, 1, "x") }, { idleMs: 5_000 })));
    /** From the tenth reading on the wall clock is another. */
    const stepped = (n: number, entry: JournalEntry): JournalEntry =>
      "wallMs" in entry && n >= 10 ? { ...entry, wallMs: entry.wallMs + stepMs } : entry;
    const waiting: Feed[] = [];
    const entries: Record<string, unknown>[] = [];
    for (let n = 0; n < 30; n++) {
      entries.push(...box.told(stepped(n, values(n * 500, { x: n })), stepped(n, tick(t0 + n * 500 + 10))));
      waiting.push(...box.take());
      // The result of a reading comes with the sixth reading behind it, three seconds later.
      const due = waiting[n - 6];
      if (due) entries.push(...box.told(stepped(n, result(n * 500 + 20, due, n - 6))));
    }
    entries.push(...box.told(stepped(50, tick(t0 + 25_000))));
    expect(box.account("m")).toMatchObject({ ingested: 24, discards: {} });
    const windowsOf = (name: string) =>
      entries.filter(({ source, kind }) => source === name && kind === "window");
    const starts = windowsOf("m").map(({ windowStart }) => windowStart);
    expect(starts).toHaveLength(12);
    expect(starts).toContain(new Date(t0 + stepMs + 11_000).toISOString());
    // What is told of the results are the same windows as of the readings, by the same clock.
    expect(starts).toEqual(
      windowsOf("s")
        .map(({ windowStart }) => windowStart)
        .slice(0, 12),
    );
    expect(windowsOf("m").every(({ count, partial }) => count === 2 && partial === undefined)).toBe(true);
  },
);

test("windows of results wait for one that is late, and no longer; a tick is due just then", () => {
  const box = feeding(fed(model(ofValues(1, 1, "x"), { idleMs: 5_000 })));
  const [feed] = box.feed(values(100, { x: 1 }));
  if (!feed) throw new Error("nothing was fed");
  box.told(result(200, feed, 1), tick(t0 + 1_000));
  expect(box.pipeline.wakeAtMs()).toBe(t0 + 6_000);
  expect(box.told(tick(t0 + 5_999))).toEqual([]);
  expect(box.told(tick(t0 + 6_000))).toMatchObject([{ source: "m", count: 1 }]);
  expect(box.pipeline.wakeAtMs()).toBeUndefined();
});

test.each([
  ["stamped on receipt", {}, (at: number) => ({ at })],
  ["with times of their own", ownTime, (at: number) => ({ ts: t0 + at })],
])("no result is late after a power cut longer than idleMs: readings %s", (_, more, time) => {
  const sources = { s: jsonSource("s", more), m: model(ofValues(1, 1, "x"), { idleMs: 5_000 }) };
  const before = feeding(fed({}, { sources }));
  const feeds = before.feed(...[100, 200, 1_300].map((at) => reading(at, { ...time(at), x: at })));
  const [first, second, third] = feeds;
  if (!first || !second || !third) throw new Error("nothing was fed");
  before.told(result(1_400, first, 1));
  const box = feeding();
  box.pipeline.restore(JSON.parse(JSON.stringify(before.pipeline.snapshot())));
  // The first tick is an hour later, and nothing is due until a result comes.
  const ofModel = (...entries: JournalEntry[]) => box.told(...entries).filter(({ source }) => source === "m");
  expect(ofModel(tick(t0 + 3_600_000))).toEqual([]);
  expect(box.pipeline.wakeAtMs()).toBeUndefined();
  const results = [result(3_600_100, second, 2), result(3_600_200, third, 3)];
  expect(ofModel(...results, tick(t0 + 3_700_000))).toMatchObject([{ count: 2 }, { count: 1 }]);
  expect(box.account("m")).toMatchObject({ ingested: 2 });
  expect(box.account("m")?.discards).toEqual({});
});

test("a model over the results of another is fed by them", () => {
  const sources = {
    s: jsonSource("s"),
    first: model(ofWindow("t.mean")),
    m: model({ ...ofValues(2, 2, "score"), source: "first" }),
  };
  const box = feeding(fed({}, { sources }));
  const feeds: Feed[] = [];
  for (let n = 1; n <= 2; n++) {
    box.told(reading(n * 1_000 - 500, { t: n }), tick(t0 + n * 1_000));
    const [first] = box.pipeline.feeds
      .takeNews()
      .flatMap(({ source, feeds }) => (source === "first" ? feeds : []));
    if (!first) throw new Error("nothing was fed");
    const scored = JSON.stringify({ device: "pump", time: first.timeMs, values: { score: n } });
    feeds.push(...box.feed(frame("first", t0 + n * 1_000 + 100, scored, String(first.id))));
  }
  expect(feeds).toMatchObject([{ device: "pump", timeMs: t0 + 2_000, values: [1, 2] }]);
});

test("a feed of a clock that ran ahead makes no later result late", () => {
  const box = feeding(fed(model(ofValues(1, 1, "x"))));
  const snapshot = JSON.parse(JSON.stringify(box.pipeline.snapshot()));
  const [ahead] = box.feed(values(100, { x: 1 }));
  if (!ahead) throw new Error("nothing was fed");
  const pending = [{ ...ahead, timeMs: t0 + 3_600_000 }];
  const sources = [{ source: "m", pending, rings: [] }];
  const pipeline = new Pipeline("store");
  pipeline.restore({ ...snapshot, feeds: { lastId: ahead.id, sources } });
  const first = pipeline.apply(batchOf([result(300, ahead, 1), values(400, { x: 2 })]));
  const [next] = pipeline.feeds.takeNews().flatMap(({ feeds }) => feeds);
  if (!next) throw new Error("nothing was fed");
  const second = pipeline.apply(batchOf([result(500, next, 2)]));
  const books = [first, second].map(({ ledger }) => ledger.get("m"));
  expect(books).toMatchObject([{ ingested: 1 }, { ingested: 1 }]);
  expect(books.map((account) => account?.discards)).toEqual([{}, {}]);
});
