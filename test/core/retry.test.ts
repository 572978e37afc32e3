import { expect, test } from "vitest";
import { backoffMs, reconnectSchedule } from "../../src/core/retry.ts";

const schedule = { baseMs: 100, maxMs: 1_000, healthyMs: 0 };

test("the bound doubles with each attempt up to the greatest, and the delay is anywhere below it", () => {
  expect([0, 1, 2, 3, 4, 5].map((attempt) => backoffMs(schedule, attempt, 1))).toEqual([
    100, 200, 400, 800, 1_000, 1_000,
  ]);
  expect(backoffMs(schedule, 3, 0)).toBe(0);
  expect(backoffMs(schedule, 3, 0.5)).toBe(400);
});

test("however many attempts, the delay stays a number within the schedule", () => {
  for (const attempt of [31, 1_000, 1e9])
    expect(backoffMs(reconnectSchedule, attempt, 1)).toBe(reconnectSchedule.maxMs);
});
