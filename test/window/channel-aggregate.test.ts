import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aggregateNames } from "../../src/config/field-schema.ts";
import type { MeasuredValue } from "../../src/core/reading.ts";
import { addValue, aggregateNumbers, emptyAggregate } from "../../src/window/channel-aggregate.ts";

interface Timed {
  readonly timeMs: number;
  readonly value: number;
}
const good = (value: number): MeasuredValue => ({ channel: "t", value, quality: "good", reason: undefined });

function aggregate(values: readonly Timed[]) {
  const running = emptyAggregate();
  for (const { timeMs, value } of values) addValue(running, timeMs, good(value));
  return aggregateNumbers(running, aggregateNames);
}
const inOrder = (...values: number[]) => values.map((value, timeMs) => ({ timeMs, value }));

test("without a good value there is only the count", () => {
  const running = emptyAggregate();
  addValue(running, 1, { channel: "t", value: 999, quality: "bad", reason: "aboveMax" });
  expect(aggregateNumbers(running, aggregateNames)).toEqual({ count: 0 });
  expect(running).toMatchObject({ bad: 1, reasons: { aboveMax: 1 } });
});

test("one value has no deviation", () => {
  expect(aggregate(inOrder(5))).toEqual({ mean: 5, min: 5, max: 5, sum: 5, count: 1, first: 5, last: 5 });
});

test("the deviation is that of a sample: n − 1", () => {
  expect(aggregate(inOrder(2, 4, 4, 4, 5, 5, 7, 9)).stddev).toBeCloseTo(Math.sqrt(32 / 7), 12);
});

test("a small deviation of large numbers does not cancel out", () => {
  expect(aggregate(inOrder(1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16)).stddev).toBeCloseTo(Math.sqrt(30), 6);
});

test("bad values enter no number", () => {
  const running = emptyAggregate();
  addValue(running, 1, good(1));
  addValue(running, 2, { channel: "t", value: 999, quality: "bad", reason: "aboveMax" });
  addValue(running, 3, { channel: "t", value: -999, quality: "bad", reason: "belowMin" });
  addValue(running, 4, good(3));
  expect(aggregateNumbers(running, aggregateNames)).toMatchObject({
    count: 2,
    min: 1,
    max: 3,
    sum: 4,
    last: 3,
  });
  expect(running.reasons).toEqual({ aboveMax: 1, belowMin: 1 });
});

describe("first and last", () => {
  test("go by the readings' own time, not by arrival", () => {
    const values = [
      { timeMs: 20, value: 2 },
      { timeMs: 10, value: 1 },
      { timeMs: 30, value: 3 },
      { timeMs: 25, value: 4 },
    ];
    expect(aggregate(values)).toMatchObject({ first: 1, last: 3 });
  });

  test("readings of equal time keep their order of arrival", () => {
    const values = [1, 2, 3].map((value) => ({ timeMs: 10, value }));
    expect(aggregate(values)).toMatchObject({ first: 1, last: 3 });
  });
});

test("numbers beyond double precision are left out, never Infinity or null", () => {
  const numbers = aggregate(inOrder(1.5e308, 1.5e308));
  expect(numbers).toMatchObject({ count: 2, min: 1.5e308, max: 1.5e308 });
  expect(Object.values(numbers).every(Number.isFinite)).toBe(true);
});

test("only the aggregates asked for, in their order", () => {
  const running = emptyAggregate();
  addValue(running, 1, good(1));
  expect(Object.keys(aggregateNumbers(running, ["max", "count"]))).toEqual(["max", "count"]);
});

test("any values: the same numbers as a recomputation from all of them", () => {
  const value = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  const timed = fc.record({ timeMs: fc.nat(20), value });
  fc.assert(
    fc.property(fc.array(timed, { minLength: 1, maxLength: 50 }), (values) => {
      const numbers = aggregate(values);
      const all = values.map((v) => v.value);
      let sum = 0;
      for (const one of all) sum += one;
      const mean = sum / all.length;
      const byTime = [...values].sort((a, b) => a.timeMs - b.timeMs);
      expect(numbers).toMatchObject({
        count: all.length,
        sum,
        mean,
        min: Math.min(...all),
        max: Math.max(...all),
        first: byTime[0]?.value,
        last: byTime.at(-1)?.value,
      });
      if (all.length < 2) return;
      let squares = 0;
      for (const one of all) squares += (one - mean) ** 2;
      const deviation = Math.sqrt(squares / (all.length - 1));
      const scale = Math.max(...all.map(Math.abs), 1e-9);
      expect(Math.abs((numbers.stddev ?? Number.NaN) - deviation)).toBeLessThan(1e-9 * scale);
    }),
    { numRuns: 1_000 },
  );
});
