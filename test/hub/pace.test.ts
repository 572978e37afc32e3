import { expect, test } from "vitest";
import { hubSchedules, Pace } from "../../src/hub/pace.ts";

/** The longest that the pause may be. */
const longest = (pace: Pace) => pace.pauseMs(1);

test("pauses double up to their longest, and begin anew behind a healthy minute", () => {
  const pace = new Pace(hubSchedules);
  const pauses = Array.from({ length: 9 }, () => {
    pace.ended("HUB_UNREACHABLE", undefined);
    return longest(pace);
  });
  expect(pauses).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  pace.ended("HUB_LOST", 60_000);
  expect(longest(pace)).toBe(500);
});

test("jitter is full: a pause is anything from nothing to its longest", () => {
  const pace = new Pace(hubSchedules);
  pace.ended("HUB_UNREACHABLE", undefined);
  expect([pace.pauseMs(0), pace.pauseMs(0.5), pace.pauseMs(1)]).toEqual([0, 250, 500]);
});

test("a busy hub gets longer pauses, which end with its being busy", () => {
  const pace = new Pace(hubSchedules);
  pace.ended("HUB_UNREACHABLE", undefined);
  const pauses = Array.from({ length: 6 }, () => {
    pace.ended("HUB_BUSY", undefined);
    return longest(pace);
  });
  expect(pauses).toEqual([10_000, 20_000, 40_000, 80_000, 160_000, 300_000]);
  pace.ended("HUB_UNREACHABLE", undefined);
  expect(longest(pace)).toBe(500);
});

test("eight connections in a row that the hub ends before they are healthy are a takeover; others are none", () => {
  type End = readonly [code: "HUB_LOST" | "HUB_TIMEOUT" | "HUB_UNREACHABLE", stoodMs?: number];
  const ends = (...list: End[]) => {
    const pace = new Pace(hubSchedules);
    for (const [code, stoodMs] of list) pace.ended(code, stoodMs);
    return pace.isTakenOver;
  };
  const short = (times: number) => Array.from({ length: times }, (): End => ["HUB_LOST", 50_000]);
  expect(ends(...short(7))).toBe(false);
  expect(ends(...short(8))).toBe(true);
  // An attempt in between that brings no connection changes nothing; a connection that lasts does.
  expect(ends(...short(5), ["HUB_UNREACHABLE"], ...short(3))).toBe(true);
  expect(ends(...short(7), ["HUB_LOST", 60_000], ...short(7))).toBe(false);
  expect(ends(...short(7), ["HUB_TIMEOUT", 1_000], ...short(7))).toBe(false);
});

test("a takeover has pauses of two minutes at most, and is over when a connection outlived the other's longest", () => {
  const pace = new Pace(hubSchedules);
  for (let i = 0; i < 8; i++) pace.ended("HUB_LOST", 100);
  expect(longest(pace)).toBe(60_000);
  pace.ended("HUB_LOST", 80_000);
  expect([pace.isTakenOver, longest(pace)]).toEqual([true, 120_000]);
  pace.ended("HUB_LOST", 120_000);
  expect([pace.isTakenOver, longest(pace)]).toEqual([true, 120_000]);
  pace.ended("HUB_UNREACHABLE", undefined);
  pace.ended("HUB_BUSY", undefined);
  expect(pace.isTakenOver).toBe(true);
  pace.ended("HUB_LOST", 180_000);
  expect([pace.isTakenOver, longest(pace)]).toEqual([false, 500]);
});

test("a takeover is over, too, when a connection ended otherwise than by the hub's hand", () => {
  const pace = new Pace(hubSchedules);
  for (let i = 0; i < 8; i++) pace.ended("HUB_LOST", 100);
  pace.ended("HUB_TIMEOUT", 2_000);
  expect([pace.isTakenOver, longest(pace)]).toEqual([false, 500]);
  // And seven more that the hub cuts short are none yet.
  for (let i = 0; i < 7; i++) pace.ended("HUB_LOST", 100);
  expect(pace.isTakenOver).toBe(false);
});

test("connections that end at a message known for it are no takeover, and show that there is none", () => {
  const pace = new Pace(hubSchedules);
  for (let i = 0; i < 20; i++) pace.ended("HUB_LOST", 1_000, true);
  expect(pace.isTakenOver).toBe(false);
  for (let i = 0; i < 8; i++) pace.ended("HUB_LOST", 1_000);
  expect(pace.isTakenOver).toBe(true);
  pace.ended("HUB_LOST", 1_000, true);
  expect([pace.isTakenOver, longest(pace)]).toEqual([false, 500]);
});
