/** Sources that stamp their readings by a clock of their own, which may be off by any amount. */
import { describe, expect, test } from "vitest";
import { jsonSource } from "./config/pipelines.ts";
import { tick } from "./journal/batches.ts";
import { configuration, ownTime, reading, running, t0, told } from "./support/running-pipeline.ts";

const hour = 3_600_000;
const timedSource = { sources: { s: jsonSource("s", ownTime) } };
const withoutSource = { sources: { other: jsonSource("other") } };

/** A pipeline fed by a device whose clock is ahead of ours by that much; times are the device's. */
function device(aheadMs: number) {
  const { feed, account } = running();
  const wall = (at: number) => at - aheadMs;
  return {
    account,
    configure: (at: number, sections = timedSource as Parameters<typeof configuration>[1]) =>
      told(feed(configuration(wall(at), sections))),
    read: (at: number) => told(feed(reading(wall(at), { t: 1, ts: t0 + at }))),
    tick: (at: number) => told(feed(tick(t0 + wall(at)))),
  };
}

test.each([
  ["behind", -hour],
  ["ahead", 60_000],
])("a device whose clock is %s is not late after its source was off for a while", (_, aheadMs) => {
  const { configure, read, tick, account } = device(aheadMs);
  configure(-5_000);
  read(0);
  read(1_000);
  tick(2_000);
  configure(3_000, withoutSource);
  for (let at = 4_000; at < 60_000; at += 1_000) tick(at);
  configure(60_000);
  for (let at = 60_500; at < 70_000; at += 500) {
    read(at);
    tick(at + 1);
  }
  expect(account()?.ingested).toBe(21);
  expect(account()?.discards).toEqual({});
});

test("a source that is off has its windows closed all the same, in its own time", () => {
  const { configure, read, tick } = device(-hour);
  configure(-5_000);
  read(100);
  configure(200, withoutSource);
  expect(tick(999)).toEqual([]);
  expect(tick(1_000)).toMatchObject([{ windowStart: "2025-01-01T00:00:00.000Z", count: 1 }]);
});

describe.each([
  ["an hour behind", -hour],
  ["a minute ahead", 60_000],
])("with a clock %s, partial", (_, aheadMs) => {
  test("is the window that the first reading falls into, and no later one", () => {
    const { configure, read } = device(aheadMs);
    configure(-5_000);
    const entries = [300, 1_100, 2_100, 3_000].flatMap(read);
    expect(entries.map((e) => [e.windowStart.slice(17, 19), e.partial])).toEqual([
      ["00", "start"],
      ["01", undefined],
      ["02", undefined],
    ]);
  });

  test("is not the window that begins with the first reading", () => {
    const { configure, read } = device(aheadMs);
    configure(-5_000);
    const entries = [0, 1_000].flatMap(read);
    expect(entries.map((e) => e.partial)).toEqual([undefined]);
  });

  test("is judged anew when the definition changes, by the first reading after that", () => {
    const { configure, read } = device(aheadMs);
    configure(-5_000);
    for (const at of [0, 1_000, 2_000]) read(at);
    configure(2_400, { ...timedSource, windows: { w: { sizeMs: 2_000 } } });
    const entries = [2_500, 4_000, 6_000].flatMap(read);
    expect(entries.map((e) => [e.windowStart.slice(17, 19), e.partial])).toEqual([
      ["02", "configuration"],
      ["04", undefined],
    ]);
  });
});

test("a step of the wall clock is no silence: what the device sends afterwards is not late", () => {
  const { feed, account } = running();
  feed(configuration(-5_000, timedSource));
  feed(reading(0, { t: 1, ts: t0 }));
  // The first synchronisation of a box without a clock of its own: an hour forward, a second later.
  feed({ type: "tick", wallMs: t0 + hour, monotonicMs: t0 + 1_000 });
  for (let at = 1_000; at < 20_000; at += 1_000) feed(reading(at, { t: 1, ts: t0 + at }));
  expect(account()?.discards).toEqual({});
});
