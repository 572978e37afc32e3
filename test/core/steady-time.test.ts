import { describe, expect, test } from "vitest";
import { SteadyTime } from "../../src/core/steady-time.ts";

const t0 = Date.UTC(2025, 0, 1);
/** Steady time that began at `t0`, monotonic 1,000. */
function begun() {
  const steady = new SteadyTime();
  steady.begin({ wallMs: t0, monotonicMs: 1_000 });
  const see = (passedMs: number, wrongMs: number) =>
    steady.see({ wallMs: t0 + passedMs + wrongMs, monotonicMs: 1_000 + passedMs });
  return { steady, see };
}

test("steady time is wall time at first, whole ms, and goes on with the monotonic clock alone", () => {
  const { steady, see } = begun();
  expect(steady.at(1_000)).toBe(t0);
  expect(steady.at(1_000.9)).toBe(t0);
  see(500, 3_600_000);
  see(600, 3_600_000);
  expect(steady.at(2_000)).toBe(t0 + 1_000);
});

describe("a step", () => {
  test("is told when a second stamp confirms it, with the last time at which the clocks agreed", () => {
    const { steady, see } = begun();
    expect([see(100, 0), see(200, -3_000)]).toEqual([undefined, undefined]);
    expect(see(300, -3_001)).toEqual({ offsetMs: -3_001, agreedMs: t0 + 100 });
    expect(steady.offsetMs).toBe(-3_001);
    expect([see(400, -3_000), see(500, -3_000)]).toEqual([undefined, undefined]);
  });

  test("is none when the second stamp is as before", () => {
    const { see } = begun();
    expect([see(100, -3_000), see(200, 0), see(300, -3_000), see(400, 0)]).toEqual(Array(4).fill(undefined));
  });

  test("is none within the time between reading two clocks", () => {
    const { see } = begun();
    expect([see(100, 250), see(200, 250), see(300, -250), see(400, -250)]).toEqual(Array(4).fill(undefined));
  });

  test("behind a stamp that neither confirms nor denies it came after that stamp", () => {
    const { see } = begun();
    expect([see(100, 0), see(200, -3_000), see(300, 9_000)]).toEqual(Array(3).fill(undefined));
    expect(see(400, 9_000)).toEqual({ offsetMs: 9_000, agreedMs: t0 + 200 });
  });
});

test("a boot goes on where the wall clock says, and keeps what it stepped before", () => {
  const { steady, see } = begun();
  see(100, -3_000);
  see(200, -3_000);
  steady.begin({ wallMs: t0 + 60_000 - 3_000, monotonicMs: 5 });
  expect([steady.at(5), steady.offsetMs]).toEqual([t0 + 60_000, -3_000]);
  expect(steady.unsteppedMs(t0 + 60_000)).toBe(t0 + 57_000);
  steady.beginAnew({ wallMs: t0, monotonicMs: 5 });
  expect([steady.at(5), steady.offsetMs]).toEqual([t0, 0]);
});
