import fc from "fast-check";
import { expect, test } from "vitest";
import { mostProbable, softmax } from "../../src/infer/softmax.ts";

test("scores of any size give probabilities that sum to 1 in each row, in the order of the scores", () => {
  const score = fc.float({ min: Math.fround(-1e6), max: Math.fround(1e6), noNaN: true });
  fc.assert(
    fc.property(fc.array(fc.array(score, { minLength: 4, maxLength: 4 }), { minLength: 1 }), (rows) => {
      const probabilities = softmax(Float32Array.from(rows.flat()), 4);
      for (const [i, row] of rows.entries()) {
        const found = probabilities.subarray(i * 4, i * 4 + 4);
        expect(found.reduce((a, b) => a + b)).toBeCloseTo(1, 5);
        for (const [a, scoreA] of row.entries())
          for (const [b, scoreB] of row.entries())
            if (scoreA > scoreB) expect(found[a]).toBeGreaterThanOrEqual(found[b] ?? Number.NaN);
      }
    }),
  );
});

test("what exp alone could not hold is told right", () => {
  expect([...softmax(Float32Array.of(10_000, 10_000, 0), 3)]).toEqual([0.5, 0.5, 0]);
  expect([...softmax(Float32Array.of(-10_000, -10_000), 2)]).toEqual([0.5, 0.5]);
  const [a, b] = softmax(Float32Array.of(1, 2), 2);
  expect(a).toBeCloseTo(1 / (1 + Math.E), 6);
  expect(b).toBeCloseTo(Math.E / (1 + Math.E), 6);
});

test("the most probable come first, the first of equals first", () => {
  const ranked = mostProbable(Float32Array.of(0.1, 0.4, 0.1, 0.4), 3);
  expect(ranked.map(({ index }) => index)).toEqual([1, 3, 0]);
});
