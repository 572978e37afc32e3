import { EventEmitter } from "node:events";
import { describe, expect, test } from "vitest";
import type { EmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { randomFrom } from "../../support/random.ts";
import { Arrivals } from "./arrivals.ts";
import { figuresOf } from "./process-figures.ts";
import { median, trendOf } from "./trend.ts";

describe("the trend of a process's memory", () => {
  test("a straight line has its slope and no spread", () => {
    const points = [0, 1, 2, 3, 4].map((x) => ({ x, y: 7 + 3 * x }));
    expect(trendOf(points)?.slope).toBeCloseTo(3);
    expect(trendOf(points)?.spread).toBeCloseTo(0);
  });

  test("noise around a level has a slope within its spread, also when neighbours are alike", () => {
    const random = randomFrom(3);
    let drift = 0;
    const points = Array.from({ length: 200 }, (_, x) => {
      drift = 0.9 * drift + random() - 0.5;
      return { x, y: 250 + drift };
    });
    const { slope, spread } = trendOf(points) ?? { slope: 1, spread: 0 };
    expect(Math.abs(slope)).toBeLessThan(spread);
    expect(spread).toBeLessThan(0.05);
  });

  test("two points are too few, and so are points at one time", () => {
    expect(trendOf([0, 1].map((x) => ({ x, y: x })))).toBeUndefined();
    expect(trendOf([1, 1, 1].map((x) => ({ x, y: x })))).toBeUndefined();
  });

  test("the median of an even number is between the middle two", () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([9, 1, 5])).toBe(5);
  });
});

describe("what arrives at the hub", () => {
  const window = (id: string, count: number, more = {}) => ({
    id,
    revision: 0,
    kind: "window",
    window: "second",
    count,
    ...more,
  });

  async function counted(...messages: object[][]) {
    // Arrivals take nothing of a hub but its messages.
    const hub = new EventEmitter();
    const arrivals = new Arrivals(hub as unknown as EmbeddedHub);
    for (const entries of messages) hub.emit("message", { body: Buffer.from(JSON.stringify(entries)) });
    return arrivals.counts;
  }

  test("a repeat counts once, a later revision in the place of the earlier", async () => {
    const first = window("a", 5);
    const counts = await counted([first], [first, window("b", 2)], [window("a", 6, { revision: 1 })]);
    expect(counts).toMatchObject({ readings: 8, windows: 2, repeats: 1, problems: [] });
  });

  test("thinned windows and evictions are counted; a repeat that differs is a problem", async () => {
    const gap = { id: "g", revision: 0, kind: "gap", count: 40, reason: "evicted" };
    const counts = await counted([window("a", 30, { thinned: 3 }), gap], [window("a", 31)]);
    expect(counts).toMatchObject({ readings: 30, thinned: 1, thinnedFrom: 3, evicted: 40 });
    expect(counts.problems).toHaveLength(1);
  });

  test("a window that does not account counts no readings", async () => {
    const counts = await counted([window("a", 5), window("b", 5, { window: "fifth" })]);
    expect(counts).toMatchObject({ readings: 5, windows: 2 });
  });

  test("a gap of another reason is a problem", async () => {
    const counts = await counted([{ id: "g", revision: 0, kind: "gap", count: 3, reason: "overrun" }]);
    expect(counts.problems).toHaveLength(1);
  });
});

test("the figures of a process are the kernel's", () => {
  const figures = figuresOf(process.pid);
  expect(figures.rssBytes / process.memoryUsage.rss()).toBeCloseTo(1, 0);
  const { user, system } = process.cpuUsage();
  expect(Math.abs(figures.cpuMs - (user + system) / 1_000)).toBeLessThan(500);
});
