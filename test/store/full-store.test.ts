/** A store that has reached its bound: thinned, then evicted, by priority and share; nothing of it in silence. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { GapEntryBody, WindowEntryBody } from "../../src/outbox/entry-schema.ts";
import type { StoreSettings, StoreStatus } from "../../src/store/contract.ts";
import type { Store } from "../../src/store/store.ts";
import { jsonSource } from "../config/pipelines.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { frame, tick } from "../journal/batches.ts";
import { commitOf, configuration, messagesOf, openStore, reading, t0 } from "./stores.ts";

const maxBytes = 4_194_304;
const kept = { priority: 5, share: 0, whenFull: "evict" } as const;

type Body = WindowEntryBody | GapEntryBody;

/** Windows of 100 ms of two sources, one reading each with many channels, until `until` says that it is enough. */
function fill(store: Store, steps: number, from = 0): StoreStatus {
  let status: StoreStatus | undefined;
  if (from === 0) {
    const sources = { low: jsonSource("low"), high: jsonSource("high") };
    status = store.commit(commitOf([configuration(0, { sources, windows: { w: { sizeMs: 100 } } })], t0));
  }
  for (let step = from; step < from + steps; step++) {
    const at = step * 1_000;
    const entries = Array.from({ length: 10 }, (_, i) => {
      const fields = Object.fromEntries(Array.from({ length: 12 }, (_, c) => [`c${c}`, (i * c * 7919) % 97]));
      return [reading(at + i * 100, fields, "low"), reading(at + i * 100, fields, "high")];
    }).flat();
    status = store.commit(commitOf([...entries, tick(t0 + at + 1_000)], t0 + at + 1_000));
  }
  return status as StoreStatus;
}

/** Everything that the hub would get, taken away message by message. */
function drain(store: Store): Body[] {
  const bodies: Body[] = [];
  for (let nowMs = t0 + 100_000_000; ; nowMs += 10_000) {
    const messages = messagesOf(store);
    const acknowledged = messages.map(({ sequence }) => sequence);
    for (const { body } of messages) bodies.push(...(JSON.parse(body) as Body[]));
    const status = store.commit(commitOf([], nowMs, { acknowledged }));
    if (status.outbox.entries === 0) return bodies;
  }
}

const size = (folder: string) =>
  readdirSync(folder).reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
const settings = (retention: StoreSettings["retention"]) => ({ maxBytes, retention, snapshotEvery: 200 });

test("the files stay within the bound, the lower priority is thinned and evicted, the higher stays", () => {
  const folder = temporaryFolder();
  const retention = { low: { ...kept, priority: 1 }, high: kept };
  const { store } = openStore(folder, settings(retention));
  let status = fill(store, 1);
  for (let from = 1; (status.books.low?.discards.evicted ?? 0) === 0; from += 10) {
    status = fill(store, 10, from);
    expect(size(folder)).toBeLessThan(maxBytes * 1.05);
    expect(imbalances(store.audit())).toEqual([]);
  }
  const { low, high } = status.books;
  expect(high?.discards).toEqual({});
  const bodies = drain(store);
  const windows = bodies.filter((body): body is WindowEntryBody => body.kind === "window");
  expect(windows.filter(({ source, thinned }) => source === "low" && thinned !== undefined)).not.toEqual([]);
  const readings = (source: string) =>
    windows.filter((body) => body.source === source).reduce((sum, { count }) => sum + count, 0);
  // A summary stands for all of its readings: what is missing is what was evicted, and that is told.
  expect(readings("high")).toBe(high?.ingested);
  const evicted = low?.discards.evicted ?? 0;
  expect(readings("low")).toBe((low?.ingested ?? 0) - evicted);
  const gaps = bodies.filter((body): body is GapEntryBody => body.kind === "gap");
  expect(gaps.every(({ source, reason }) => source === "low" && reason === "evicted")).toBe(true);
  expect(gaps.reduce((sum, { count }) => sum + Number(count), 0)).toBe(evicted);
  expect(new Set(bodies.map(({ id }) => id)).size).toBe(bodies.length);
  expect(imbalances(store.audit())).toEqual([]);
});

test("what tells of a loss is not evicted, and an eviction tells the times of its windows", () => {
  const retention = { low: { ...kept, priority: 1 }, high: kept };
  const { store } = openStore(temporaryFolder(), settings(retention));
  let status = fill(store, 1);
  const overrun = {
    type: "gap",
    source: "low",
    fromMs: t0,
    toMs: t0 + 1,
    count: 777,
    reason: "overrun",
  } as const;
  store.commit(commitOf([overrun], t0 + 1_000));
  for (let from = 1; (status.books.low?.discards.evicted ?? 0) === 0; from += 2) {
    const before = status.books.low?.held ?? 0;
    status = fill(store, 2, from);
    // A few per cent at a time, not all there is.
    expect(status.books.low?.discards.evicted ?? 0).toBeLessThan(before / 2);
  }
  const gaps = drain(store).filter((body): body is GapEntryBody => body.kind === "gap");
  expect(gaps).toContainEqual(expect.objectContaining({ reason: "overrun", count: 777 }));
  const evicted = gaps.find(({ reason }) => reason === "evicted");
  const [from, to] = [Date.parse(evicted?.from ?? ""), Date.parse(evicted?.to ?? "")];
  // Windows of 100 ms, ten of which were one before they went.
  expect(from % 100).toBe(0);
  expect(to - from).toBeGreaterThanOrEqual(1_000);
});

test("readings published by themselves are evicted like windows, and their times are told", () => {
  const { store } = openStore(temporaryFolder(), settings({ s: kept }));
  const sections = { publish: { readings: "all" }, windows: {} };
  let status = store.commit(commitOf([configuration(0, sections)], t0));
  for (let from = 0; (status.books.s?.discards.evicted ?? 0) === 0; from += 500) {
    const readings = Array.from({ length: 500 }, (_, i) => reading(from + i, { t: i }));
    status = store.commit(commitOf(readings, t0 + from));
  }
  expect(imbalances(status.books)).toEqual([]);
  const gap = drain(store).find(({ kind }) => kind === "gap") as GapEntryBody;
  expect(Date.parse(gap.to) - Date.parse(gap.from)).toBe(Number(gap.count) - 1);
});

test("a share is a source's own: above it a higher priority goes first", () => {
  const retention = { low: { ...kept, priority: 1, share: 0.9 }, high: kept };
  const { store } = openStore(temporaryFolder(), settings(retention));
  let status = fill(store, 1);
  for (let from = 1; (status.books.high?.discards.evicted ?? 0) === 0; from += 10)
    status = fill(store, 10, from);
  expect(status.books.low?.discards).toEqual({});
});

test("when nothing may be evicted the batch waits, and what the hub takes makes room for it", async () => {
  const keep = { ...kept, whenFull: "keep" } as const;
  const { store } = openStore(temporaryFolder(), settings({ low: keep, high: keep }));
  let from = 0;
  const code = await codeOf(() => {
    for (; from < 10_000; from += 10) fill(store, 10, from);
  });
  expect(code).toBe("STORE_FULL");
  const before = store.status();
  expect(before.books.low?.discards).toEqual({});
  expect(imbalances(store.audit())).toEqual([]);
  // The acknowledgements count although the batch beside them does not fit.
  const acknowledged = messagesOf(store)
    .map(({ sequence }) => sequence)
    .slice(0, 1);
  const large = Array.from({ length: 100 }, (_, i) => reading(i, { text: "x".repeat(1_000) }));
  const nowMs = t0 + from * 1_000;
  expect(await codeOf(() => store.commit(commitOf(large, nowMs, { acknowledged })))).toBe("STORE_FULL");
  expect(store.status().outbox.entries).toBeLessThan(before.outbox.entries);
  drain(store);
  expect(await codeOf(() => fill(store, 10, from))).toBe("none");
});

test("texts of many sources leave room for all else, and each score for the next text", () => {
  const moods = Array.from({ length: 5 }, (_, n) => [
    `mood${n}`,
    { type: "sentiment", from: { source: "s", field: "say" } },
  ]);
  const sources = { s: jsonSource("s", { device: { field: "id" } }), ...Object.fromEntries(moods) };
  const { store } = openStore(temporaryFolder(), { maxBytes, snapshotEvery: 200 });
  const sentiment = { url: "http://sentiment:5000" };
  store.commit(commitOf([configuration(0, { sentiment, sources, store: { maxBytes } })], t0));
  for (let at = 1; at <= 300; at += 20) {
    const say = Array.from({ length: 20 }, (_, n) => reading(at + n, { id: "d", say: "w".repeat(2_100) }));
    store.commit(commitOf(say, t0 + at + 20));
  }
  const { texts, books } = store.status();
  expect(Object.values(texts).reduce((sum, { stored }) => sum + stored, 0)).toBe(maxBytes / 8);
  expect(books.mood4?.frameDiscards.queueFull).toBeGreaterThan(200);
  const status = store.commit(commitOf([scoreOf(1)], t0 + 400));
  expect(status.texts.mood0?.texts).toBe((texts.mood0?.texts ?? 0) - 1);
});

test("what makes room is written beyond the bound: scores, and a configuration without their source", async () => {
  const keep = { priority: 5, share: 0, whenFull: "keep" } as const;
  const { store } = openStore(temporaryFolder(), settings({ low: keep, high: keep, mood0: keep }));
  const sentiment = { url: "http://sentiment:5000" };
  const mood0 = { type: "sentiment", from: { source: "low", field: "say" } };
  const others = { low: jsonSource("low"), high: jsonSource("high") };
  const windows = { w: { sizeMs: 100 } };
  store.commit(commitOf([configuration(0, { sentiment, sources: { ...others, mood0 }, windows })], t0));
  store.commit(
    commitOf(
      [1, 2, 3].map((n) => reading(n, { say: `text ${n}` }, "low")),
      t0 + 10,
    ),
  );
  const full = () => {
    for (let from = 1; ; from++) fill(store, 1, from);
  };
  expect(await codeOf(full)).toBe("STORE_FULL");
  expect(store.commit(commitOf([scoreOf(1)], t0 + 1_000_000)).texts.mood0?.texts).toBe(2);
  const without = configuration(1_000_001, { sources: others, windows });
  expect(store.commit(commitOf([without], t0 + 1_000_001)).texts).toEqual({});
  expect(await codeOf(() => fill(store, 1, 1_001))).toBe("STORE_FULL");
  expect(imbalances(store.audit())).toEqual([]);
});

function scoreOf(number: number): JournalEntry {
  const bytes = JSON.stringify({ device: "d", time: t0 + number, score: 0.5 });
  return frame("mood0", t0 + 400, bytes, String(number));
}
