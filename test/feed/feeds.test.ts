/** What models are fed with, through the whole pipeline: readings in, numbers out, and one result for each. */
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { Feed } from "../../src/feed/pending.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { withoutEntries } from "../../src/journal/fault.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { jsonSource } from "../config/pipelines.ts";
import { batchOf, frame, tick } from "../journal/batches.ts";
import { configuration, ownTime, reading, running, second, t0, told } from "../support/running-pipeline.ts";

const model = (inputs: JsonObject, more: JsonObject = {}): JsonObject => ({
  type: "model",
  model: "any",
  inputs: { source: "s", ...inputs },
  outputs: { score: { max: 10, unit: "1" } },
  ...more,
});
const ofWindow = (...features: string[]): JsonObject => ({ from: "window", window: "w", features });
const ofValues = (last: number, every: number, ...channels: string[]): JsonObject => ({
  from: "values",
  channels,
  last,
  every,
});
const fed = (m: JsonObject, more: JsonObject = {}, at = 0): JournalEntry =>
  configuration(at, {
    models: { any: { file: "/any.onnx" } },
    sources: { s: jsonSource("s", { device: { field: "id" } }), m },
    ...more,
  });
const values = (at: number, fields: JsonObject, id = "s-1") => reading(at, { id, ...fields });
const result = (at: number, { id, device, timeMs }: Feed, score: number) =>
  frame("m", t0 + at, JSON.stringify({ device, time: timeMs, values: { score } }), String(id));

/** A pipeline, with the feeds of `m` that it told. */
function feeding(...entries: JournalEntry[]) {
  const { feed, pipeline, account, ledger } = running();
  const take = (): Feed[] =>
    pipeline.feeds.takeNews().flatMap(({ source, feeds }) => (source === "m" ? [...feeds] : []));
  feed(...entries);
  return {
    pipeline,
    ledger,
    account,
    take,
    told: (...more: JournalEntry[]) => told(feed(...more)),
    feed: (...more: JournalEntry[]) => {
      feed(...more);
      return take();
    },
    discards: () => account("m")?.frameDiscards ?? {},
  };
}

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

test("of those that wait too long the first and the newest are kept, and the others counted", () => {
  const box = feeding(fed(model(ofValues(1, 1, "x"))));
  const feeds = box.feed(...Array.from({ length: 1_028 }, (_, i) => values(i, { x: i })));
  // The model is at the first: what it gives is not to be lost whenever there is something new.
  const kept = [0, ...Array.from({ length: 1_023 }, (_, i) => i + 5)];
  expect(feeds.map((feed) => feed.values[0])).toEqual(kept);
  expect(box.discards()).toEqual({ notScored: 4 });
  const [first, dropped, ...others] = feeds;
  if (!first || !dropped) throw new Error("nothing was fed");
  box.pipeline.apply(batchOf([values(1_030, { x: 1_030 })]));
  const [news] = box.pipeline.feeds.takeNews();
  expect(news?.feeds).toMatchObject([{ values: [1_030] }]);
  expect(news?.waiting).toEqual([first, ...others, news?.feeds[0]].map((feed) => feed?.id));
  box.feed(result(1_040, dropped, 1), result(1_050, first, 1));
  expect(box.account("m")).toMatchObject({ ingested: 1, frameDiscards: { duplicate: 1 } });
  // Large ones fill less of the room by number.
  const large = feeding(fed(model(ofValues(16_384, 1, "x"))));
  const many = large.feed(...Array.from({ length: 16_384 + 9 }, (_, i) => values(i % 900, { x: i })));
  expect(many).toHaveLength(3);
});

test("a device that is fed more than others pushes out its own", () => {
  const box = feeding(fed(model(ofValues(1, 1, "x"))));
  const few = Array.from({ length: 20 }, (_, i) => values(i, { x: i }, `d${i}`));
  const waiting = box.feed(
    ...few,
    ...Array.from({ length: 1_100 }, (_, i) => values(20 + i, { x: i }, "busy")),
  );
  const devices = waiting.map(({ device }) => device);
  expect(devices.filter((device) => device !== "busy")).toEqual(few.map((_, i) => `d${i}`));
  expect(devices).toHaveLength(1_024);
});

test("other inputs begin anew; a change of anything else lets feeds wait and readings stay", () => {
  const inputs = ofValues(2, 1, "x");
  const box = feeding(fed(model(inputs)));
  const [feed] = box.feed(values(1, { x: 1 }), values(2, { x: 2 }));
  const again = box.feed(
    fed(
      model(inputs, { outputs: { score: { max: 1 } } }),
      { calibrate: { c: { device: "z", channels: {} } } },
      3,
    ),
    values(4, { x: 3 }),
  );
  expect(again).toMatchObject([{ values: [2, 3] }]);
  if (!feed) throw new Error("nothing was fed");
  box.feed(result(5, feed, 0));
  expect(box.discards()).toEqual({});
  expect(box.feed(fed(model(ofValues(2, 1, "x", "y")), {}, 6), values(7, { x: 3, y: 1 }))).toEqual([]);
  expect(box.discards()).toEqual({ notScored: 1 });
  box.feed(configuration(8, { sources: { s: jsonSource("s") } }), result(9, feed, 0));
  expect(box.discards()).toEqual({ notScored: 1, unknownSource: 1 });
  expect(
    imbalances(
      Object.fromEntries([...box.ledger].map(([name, book]) => [name, { ...book, held: book.ingested }])),
    ),
  ).toEqual([]);
});

test("readings of the devices that were not heard for longest are forgotten when there are too many", () => {
  // 15 devices of 16,384 numbers are all that is kept, with what else they take.
  const box = feeding(fed(model(ofValues(4_096, 1, "a", "b", "c", "d"), { missing: 0 })));
  const devices = Array.from({ length: 16 }, (_, i) => `d${i}`);
  const hear = (...heard: string[]) => box.feed(...heard.map((device) => values(1, { a: 1 }, device)));
  hear(...devices.slice(0, 15), "d0", "d15");
  expect(box.account("m")?.notes).toEqual({ forgottenDevice: 1 });
  const rings = box.pipeline.snapshot().feeds?.sources[0]?.rings;
  expect(rings?.map(([device]) => device)).toEqual([...devices.slice(2, 15), "d0", "d15"]);
});

test("devices that are kept little of are bounded, too", () => {
  const box = feeding(fed(model(ofValues(1, 9, "x"))));
  box.feed(...Array.from({ length: 4_100 }, (_, i) => values(1, { x: 1 }, `d${i}`)));
  expect(box.pipeline.snapshot().feeds?.sources[0]?.rings).toHaveLength(4_032);
  expect(box.account("m")?.notes).toEqual({ forgottenDevice: 68 });
});

test("what models are fed with takes a sixteenth of a small store, also when there are more of them later", () => {
  const maxBytes = 4_194_304;
  const inputs = ofValues(8, 1, "x", "y");
  const sections = (...names: string[]): JsonObject => ({
    store: { maxBytes },
    sources: {
      s: jsonSource("s", { device: { field: "id" } }),
      ...Object.fromEntries(names.map((name) => [name, model(inputs)])),
    },
  });
  const box = feeding(fed({}, sections("m")));
  const number = (i: number) => -0.123_456_789_012_345_6 / (1 + i);
  const hear = (count: number) =>
    box.feed(
      ...Array.from({ length: count }, (_, i) =>
        values(1, { x: number(i), y: number(i) }, `a-device-with-a-name-${Math.floor(i / 8) % 200}`),
      ),
    );
  const bytes = () => JSON.stringify(box.pipeline.snapshot().feeds).length;
  hear(1_600);
  const alone = bytes();
  expect(alone).toBeGreaterThan(maxBytes / 64);
  expect(alone).toBeLessThan(maxBytes / 16);
  const waiting = () => box.pipeline.snapshot().feeds?.sources[0]?.pending;
  const before = waiting();
  box.feed(fed({}, sections("m", "n"), 2));
  // Others are no reason to begin anew.
  expect(waiting()).toEqual(before);
  expect(bytes()).toBeLessThan((3 / 4) * alone);
  hear(1_600);
  expect(bytes()).toBeLessThan(maxBytes / 16);
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

test("a restart at any moment changes no feed: each is told until its result came, with the same numbers", () => {
  const sources = {
    s: jsonSource("s", { device: { field: "id" } }),
    m: model(ofValues(3, 2, "x", "y")),
    w: model(ofWindow("x.mean", "y.stddev")),
  };
  const ranges = { validate: { v: { channels: { x: { max: 100 } } } } };
  /** Batches from the readings; results of some feeds come in later ones. */
  const run = (cut: number) => {
    let pipeline = new Pipeline("store");
    pipeline.apply(batchOf([fed({}, { sources, ...ranges })]));
    const seen = new Map<number, Feed>();
    for (let n = 0; n < 24; n++) {
      const at = n * 150;
      const batch = [
        values(at, { x: n === 7 ? 1_000 : n, ...(n === 15 ? {} : { y: -n }) }, `d${n % 2}`),
        values(at + 10, { x: n, y: n * n }, `d${n % 2}`),
        tick(t0 + at + 20),
      ];
      const waiting = pipeline.snapshot().feeds?.sources.find(({ source }) => source === "m")?.pending ?? [];
      if (waiting[0] && n % 3 === 0) batch.push(result(at + 30, waiting[0], n));
      pipeline.apply(batchOf(batch));
      if (n === cut) {
        const snapshot = JSON.parse(JSON.stringify(pipeline.snapshot()));
        pipeline = new Pipeline("store");
        pipeline.restore(snapshot);
        const again = pipeline.feeds.takeNews().flatMap(({ feeds }) => feeds);
        const all = snapshot.feeds.sources.flatMap(({ pending }: { pending: Feed[] }) => pending);
        expect(again).toEqual(all);
        for (const feed of again) seen.set(feed.id, feed);
      }
      for (const { feeds } of pipeline.feeds.takeNews()) for (const feed of feeds) seen.set(feed.id, feed);
    }
    return { seen: [...seen.values()], snapshot: JSON.parse(JSON.stringify(pipeline.snapshot().feeds)) };
  };
  const whole = run(-1);
  expect(whole.seen.length).toBeGreaterThan(15);
  for (let cut = 0; cut < 24; cut++) expect(run(cut)).toEqual(whole);
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

test("what is fed begins anew when its readings change between their own times and those of receipt", () => {
  const inputs = ofValues(1, 1, "x");
  const timed = (at: number, more: JsonObject) =>
    fed({}, { sources: { s: jsonSource("s", more), m: model(inputs) } }, at);
  const box = feeding(timed(0, ownTime));
  expect(box.feed(reading(1, { ts: t0 + 1, x: 1 }))).toHaveLength(1);
  box.feed(timed(2, {}));
  expect(box.discards()).toEqual({ notScored: 1 });
  expect(box.pipeline.snapshot().feeds?.sources[0]?.pending).toEqual([]);
});
