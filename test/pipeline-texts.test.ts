/** Texts in the pure pipeline: what is taken, and what becomes of it; the same after any restart. */
import { expect, test } from "vitest";
import type { JsonObject } from "../src/core/json.ts";
import type { JournalEntry } from "../src/journal/batch.ts";
import { mergeLedger } from "../src/ledger/ledger.ts";
import { Pipeline } from "../src/pipeline.ts";
import { jsonSource } from "./config/pipelines.ts";
import { batchOf, tick } from "./journal/batches.ts";
import { clock, configuration, reading, running, t0, told } from "./support/running-pipeline.ts";

const sentiment = { url: "http://sentiment:5000" };
const sources = (more: JsonObject = {}, from: JsonObject = {}): JsonObject => ({
  s: jsonSource("s", { device: { field: "id" }, ...from }),
  mood: { type: "sentiment", from: { source: "s", field: "say" }, ...more },
});
const begin = (more?: JsonObject, from?: JsonObject) =>
  configuration(0, { sentiment, sources: sources(more, from), windows: { w: { sizeMs: 1_000 } } });

/** Scores of a text, as they come back. */
function scored(at: number, number: number, device: string, textAt: number, score = 0.5): JournalEntry {
  const bytes = Buffer.from(JSON.stringify({ device, time: t0 + textAt, score }));
  const times = { wallMs: t0 + at, monotonicMs: t0 + at };
  return { type: "frame", source: "mood", ...times, bytes, origin: String(number) };
}
const posted = (at: number, body: string): JournalEntry => ({
  type: "frame",
  source: "mood",
  wallMs: t0 + at,
  monotonicMs: t0 + at,
  bytes: Buffer.from(body),
  origin: "",
});
const unscored = (at: number, number: number): JournalEntry => ({
  ...(posted(at, '{"code":"InvalidDocument"}') as Extract<JournalEntry, { type: "frame" }>),
  origin: `${number} unscored`,
});
const windowsOf = (entries: ReturnType<typeof told>) =>
  entries.map(({ source, device, windowStart, channels }) => [
    `${source} ${device} ${Date.parse(windowStart) - t0}`,
    Object.keys(channels),
  ]);

test("a text field is no channel: it is kept with the device and the time of its reading", () => {
  const { pipeline, account } = running();
  pipeline.apply(batchOf([begin()]));
  const output = pipeline.apply(
    batchOf([reading(100, { id: "a", say: "hello", t: 1 }), reading(200, { id: "b", say: "only this" })]),
  );
  const common = { source: "mood", language: undefined };
  expect(output.taken).toEqual([
    { ...common, number: 1, device: "a", timeMs: t0 + 100, text: "hello" },
    { ...common, number: 2, device: "b", timeMs: t0 + 200, text: "only this" },
  ]);
  expect(output.ledger.get("s")).toMatchObject({ frames: 2, decoded: 2, ingested: 1, notes: {} });
  expect(output.ledger.get("mood")).toBeUndefined();
  expect(pipeline.texts.waiting).toEqual({ mood: { texts: 2, bytes: 14, stored: 526 } });
  expect(account("mood")).toBeUndefined();
});

test.each([
  ["csv", { format: "csv", columns: ["id", "t", "say"] }, 'a,1,"so, so"'],
  ["keyValue", { format: "keyValue", separator: ";" }, "id=a;t=1;say=so, so"],
  [
    "json with paths",
    { format: "json", fields: { id: "$.who", say: "$.what.text" } },
    '{"who":"a","what":{"text":"so, so"}}',
  ],
])("texts come in %s, too", (_, decode, line) => {
  const pipeline = new Pipeline("store");
  pipeline.apply(batchOf([begin({}, { decode } as never)]));
  const frame = {
    ...(reading(100, {}) as Extract<JournalEntry, { type: "frame" }>),
    bytes: Buffer.from(line),
  };
  expect(pipeline.apply(batchOf([frame])).taken).toMatchObject([{ device: "a", text: "so, so" }]);
});

test("what is no text is a note, and what is empty is none", () => {
  const pipeline = new Pipeline("store");
  pipeline.apply(batchOf([begin()]));
  const output = pipeline.apply(
    batchOf([
      reading(100, { id: "a", t: 1, say: 5 }),
      reading(200, { id: "a", t: 1, say: null }),
      reading(300, { id: "a", t: 1, say: " \n" }),
    ]),
  );
  expect(output.taken).toEqual([]);
  expect(output.ledger.get("s")).toMatchObject({ ingested: 3, notes: { notText: 1 } });
});

test("scores come into the window of the text's time, however late, and windows wait for them", () => {
  const { feed, account, pipeline } = running();
  feed(
    begin({ idleMs: 1_000 }),
    reading(500, { id: "a", say: "one" }),
    reading(1_500, { id: "a", say: "two" }),
  );
  // Nothing of it is heard for a day; readings of the other source would have passed long ago.
  const day = 86_400_000;
  expect(feed(tick(t0 + day))).toEqual([]);
  feed(scored(day, 1, "a", 500));
  expect(feed(tick(t0 + 2 * day))).toEqual([]);
  expect(pipeline.wakeAtMs()).toBeUndefined();
  const first = told(feed(scored(2 * day, 2, "a", 1_500)));
  expect(windowsOf(first)).toEqual([["mood a 0", ["score"]]]);
  expect(pipeline.texts.queue.entries()).toEqual([]);
  // With no text left, nothing more comes into the last window.
  expect(pipeline.wakeAtMs()).toBe(t0 + 3_000);
  expect(windowsOf(told(feed(tick(t0 + 2 * day))))).toEqual([["mood a 1000", ["score"]]]);
  expect(account("mood")).toMatchObject({ frames: 2, decoded: 2, ingested: 2, discards: {} });
});

test("scores of texts with a device's own time come into the windows of that time", () => {
  const { feed, account, pipeline } = running();
  const own = { decode: { format: "json", time: { field: "ts" } } };
  feed(begin({ idleMs: 1_000 }, own));
  const at = (ts: number) => reading(900_000, { id: "a", ts: t0 + ts, say: "one" });
  const { taken } = pipeline.apply(batchOf([at(500), at(1_500)]));
  expect(taken.map(({ timeMs }) => timeMs - t0)).toEqual([500, 1_500]);
  const first = told(feed(scored(950_000, 1, "a", 500), scored(950_000, 2, "a", 1_500)));
  expect(windowsOf(first)).toEqual([["mood a 0", ["score"]]]);
  expect(pipeline.wakeAtMs()).toBe(t0 + 951_500);
  expect(account("mood")?.ingested).toBe(2);
  expect(account("mood")?.discards).toEqual({});
});

const hour = 3_600_000;
test.each<[string, (at: number) => number]>([
  ["steps back by a day", (at) => (at < 2 * hour ? t0 + 24 * hour : t0) + at],
  ["steps ahead by a year", (at) => (at < 2 * hour ? t0 : t0 + 8_760 * hour) + at],
  ["stands in 1970", (at) => at],
])("no score is discarded where the clock %s, and windows tell its time", (_, wallOf) => {
  const { feed, account } = running();
  feed(begin({ idleMs: 1_000 }));
  const bodies: ReturnType<typeof told> = [];
  const times = [1_000, hour, 2 * hour, 3 * hour, 4 * hour];
  const on = (at: number) => ({ wallMs: wallOf(at), monotonicMs: t0 + at });
  for (const [index, at] of times.entries()) {
    const text = { ...reading(0, { id: "a", say: "one" }), ...on(at) } as JournalEntry;
    const post = { ...posted(0, '{"text":"two"}'), ...on(at) } as JournalEntry;
    feed({ type: "tick", ...on(at) }, text, post);
    const scores = [1, 2].map((n) => ({ ...scored(0, 2 * index + n, "a", 0), ...on(at + 60_000) }));
    bodies.push(...told(feed(...(scores as JournalEntry[]), { type: "tick", ...on(at + 120_000) })));
  }
  expect(account("mood")?.ingested).toBe(10);
  expect(account("mood")?.discards).toEqual({});
  const started = bodies.filter(({ source }) => source === "mood").map((b) => Date.parse(b.windowStart));
  expect(started.at(-1)).toBe(wallOf(4 * hour));
  expect(bodies.filter(({ source }) => source === "mood").reduce((sum, b) => sum + b.count, 0)).toBe(10);
});

test("scores of texts from before a boot whose clock is behind come when they come", () => {
  const { feed, account } = running();
  feed(clock(0, "synced"), begin({ idleMs: 1_000 }), reading(500, { id: "a", say: "one" }));
  const boot = { wallMs: 100, monotonicMs: 100 };
  feed({ type: "clock", ...boot, bootId: "next", quality: "unsynced" });
  const at = (ms: number) => ({ wallMs: ms, monotonicMs: ms });
  const held = { ...posted(0, '{"text":"two"}'), ...at(hour) } as JournalEntry;
  feed({ type: "tick", ...at(hour - 1) }, held, { ...scored(0, 1, "a", 500), ...at(hour) } as JournalEntry);
  feed({ ...scored(0, 2, "texts", 0), ...at(hour + 1) } as JournalEntry, { type: "tick", ...at(2 * hour) });
  expect(account("mood")?.ingested).toBe(2);
  expect(account("mood")?.discards).toEqual({});
});

test("a score that comes twice, or for no text, is a duplicate", () => {
  const { feed, account } = running();
  feed(begin(), reading(100, { id: "a", say: "one" }));
  feed(scored(200, 1, "a", 100), scored(300, 1, "a", 100), scored(400, 7, "a", 100), unscored(500, 1));
  expect(account("mood")).toMatchObject({ frames: 4, ingested: 1, frameDiscards: { duplicate: 3 } });
});

test("a text without a score is a discard, and waits no more", () => {
  const { feed, account, pipeline } = running();
  feed(begin(), reading(100, { id: "a", say: "one" }), unscored(200, 1));
  expect(pipeline.texts.queue.entries()).toEqual([]);
  expect(account("mood")).toMatchObject({ frames: 1, ingested: 0, frameDiscards: { unscored: 1 } });
});

test("what does not fit is a discard, by number and by bytes", () => {
  const { feed, account, pipeline } = running();
  feed(begin({ maxTexts: 2, maxBytes: 1_024 }));
  for (let n = 0; n < 3; n++) feed(reading(n, { id: "a", say: "x" }));
  expect(account("mood")).toMatchObject({ frames: 1, frameDiscards: { queueFull: 1 } });
  feed(scored(10, 1, "a", 0));
  feed(reading(20, { id: "a", say: "x".repeat(1_024) }));
  expect(account("mood")).toMatchObject({ frameDiscards: { queueFull: 2 } });
  feed(reading(30, { id: "a", say: "x".repeat(1_023) }));
  expect(pipeline.texts.waiting).toEqual({ mood: { texts: 2, bytes: 1_024, stored: 257 + 4_096 } });
});

test("all sources together have an eighth of the store, pages and the rest of a row counted", () => {
  const { feed, account, pipeline } = running();
  const store = { maxBytes: 4_194_304 };
  const both = { ...sources(), other: { type: "sentiment", from: { source: "s", field: "say" } } };
  feed(configuration(0, { sentiment, sources: both, store }));
  // Each takes a page: 64 of each source.
  for (let n = 0; n < 65; n++) feed(reading(n, { id: "a", say: "x".repeat(2_100) }));
  const { mood, other } = pipeline.texts.waiting;
  expect(mood).toEqual({ texts: 64, bytes: 64 * 2_100, stored: 262_144 });
  expect(other).toEqual(mood);
  expect(account("mood")).toMatchObject({ frameDiscards: { queueFull: 1 } });
  expect(account("other")).toMatchObject({ frameDiscards: { queueFull: 1 } });
  feed(scored(100, 1, "a", 0), reading(101, { id: "a", say: "x" }));
  expect(pipeline.texts.waiting).toMatchObject({ mood: { texts: 64 }, other: { texts: 65 } });
});

test("posted texts that are none are discards with their reasons", () => {
  const { feed, account, pipeline } = running();
  feed(begin({ device: "desk" }));
  feed(
    posted(1, "{"),
    posted(2, '{"text":5}'),
    posted(3, '{"text":"x","device":""}'),
    posted(4, '{"text":"x"}'),
  );
  expect(account("mood")).toMatchObject({
    frames: 4,
    decoded: 1,
    frameDiscards: { malformed: 2, badDevice: 1 },
  });
  expect(pipeline.texts.waiting.mood?.texts).toBe(1);
});

test("texts of a source that is taken away are discards; those of another one stay", () => {
  const { pipeline, feed, account, ledger } = running();
  feed(begin(), reading(100, { id: "a", say: "one" }), reading(200, { id: "a", say: "two" }));
  const without = configuration(300, {
    sentiment,
    sources: { s: jsonSource("s", { device: { field: "id" } }) },
  });
  const output = pipeline.apply(batchOf([without]));
  expect(output.settled).toEqual([1, 2]);
  mergeLedger(ledger, output.ledger);
  expect(pipeline.texts.queue.entries()).toEqual([]);
  // What was on its way then is no third text; of one that was never taken nobody knows.
  feed(scored(400, 1, "a", 100), unscored(401, 2), scored(402, 3, "a", 100));
  expect(account("mood")).toMatchObject({ frames: 5, frameDiscards: { unknownSource: 3, duplicate: 2 } });
});

test("a restart at any place changes nothing", () => {
  const batches = [
    [begin({ maxTexts: 3, readings: "all" })],
    [reading(100, { id: "a", say: "one", t: 1 }), posted(150, '{"text":"two"}')],
    [scored(1_200, 2, "texts", 150), reading(1_300, { id: "b", say: "three" })],
    [scored(1_400, 1, "a", 100), unscored(1_500, 3), scored(1_600, 1, "a", 100)],
    [reading(1_700, { id: "a", say: "four" }), scored(1_800, 4, "a", 1_700), tick(t0 + 60_000)],
  ].map((entries) => batchOf(entries));
  const whole = new Pipeline("store");
  const outputs = batches.map((batch) => whole.apply(batch));
  for (let cut = 1; cut < batches.length; cut++) {
    const before = new Pipeline("store");
    for (const batch of batches.slice(0, cut)) before.apply(batch);
    const after = new Pipeline("store");
    after.restore(JSON.parse(JSON.stringify(before.snapshot())));
    expect(batches.slice(cut).map((batch) => after.apply(batch))).toEqual(outputs.slice(cut));
    expect(after.texts.queue.snapshot()).toEqual(whole.texts.queue.snapshot());
  }
});
