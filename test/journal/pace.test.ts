import { expect, test } from "vitest";
import { Pace } from "../../src/journal/pace.ts";

const spacingMs = 20;

/** So many commits, one after the other, while input comes in every `everyMs`; returns the time behind them. */
function commits(pace: Pace, count: number, everyMs: number, fromMs = 0): number {
  let nowMs = fromMs;
  for (let i = 0; i < count; i++) {
    nowMs += spacingMs;
    pace.arrived(nowMs - (nowMs % everyMs));
    pace.committing(nowMs);
  }
  return nowMs;
}

test("at first a commit comes as early as it may", () => {
  const pace = new Pace();
  commits(pace, 10, 1);
  pace.arrived(205);
  expect(pace.dueMs(200, spacingMs)).toBe(220);
});

test("while input streams in, a commit waits for a pause, and not for ever", () => {
  const pace = new Pace();
  const nowMs = commits(pace, 60, 1);
  pace.arrived(nowMs + 1);
  expect(pace.dueMs(nowMs, spacingMs)).toBe(nowMs + 20);
  pace.arrived(nowMs + 19);
  expect(pace.dueMs(nowMs, spacingMs)).toBe(nowMs + 34);
  pace.arrived(nowMs + 49);
  expect(pace.dueMs(nowMs, spacingMs)).toBe(nowMs + 50);
});

test("a broker that falls silent until it is answered is put off seldom", () => {
  const pace = new Pace();
  let nowMs = 0;
  let early = 0;
  for (let i = 0; i < 1_000; i++) {
    // It sends what it may at once, and nothing more.
    pace.arrived(nowMs + spacingMs - 1);
    const dueMs = pace.dueMs(nowMs, spacingMs);
    if (dueMs === nowMs + spacingMs) early++;
    nowMs = dueMs;
    pace.committing(nowMs);
  }
  expect(early).toBeGreaterThan(950);
});
