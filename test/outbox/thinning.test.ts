import fc from "fast-check";
import { expect, test } from "vitest";
import type { WindowEntryBody } from "../../src/outbox/entry-schema.ts";
import { messageBody } from "../../src/outbox/entry-schema.ts";
import { merged, thinningKey } from "../../src/outbox/thinning.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { batchOf, tick } from "../journal/batches.ts";
import { configuration, reading, t0 } from "../support/running-pipeline.ts";

/** Entries of windows of `sizeMs`, made by the real stages from the same readings. */
function entriesOf(readings: readonly { at: number; t: number }[], sizeMs: number): WindowEntryBody[] {
  const pipeline = new Pipeline("store");
  const sections = {
    windows: { w: { sizeMs } },
    validate: { v: { channels: { t: { max: 90 } } } },
    alarms: { state: "off" },
  };
  const { entries } = pipeline.apply(
    batchOf([
      configuration(0, sections),
      ...readings.map(({ at, t }) => reading(at, { t })),
      tick(t0 + 100_000),
    ]),
  );
  return entries.map((entry) => JSON.parse(entry.body));
}

test("what is merged says what one window over the same readings would have said", () => {
  const readings = fc
    .array(fc.record({ at: fc.integer({ min: 0, max: 9_999 }), t: fc.integer({ min: 0, max: 100 }) }), {
      minLength: 2,
      maxLength: 60,
    })
    .map((list) => list.sort((a, b) => a.at - b.at));
  fc.assert(
    fc.property(readings, (list) => {
      const parts = entriesOf(list, 1_000);
      const [whole] = entriesOf(list, 10_000);
      fc.pre(parts.length > 1 && whole !== undefined);
      const one = merged("store", parts);
      expect(messageBody.safeParse([one]).success).toBe(true);
      expect(one).toMatchObject({ count: whole?.count, bad: whole?.bad, thinned: parts.length });
      const { mean, stddev, sum, ...rest } = whole?.channels.t ?? { bad: -1 };
      expect(one.channels.t).toMatchObject(rest);
      if (mean !== undefined) {
        expect(one.channels.t?.mean).toBeCloseTo(mean, 9);
        expect(one.channels.t?.sum).toBeCloseTo(sum ?? Number.NaN, 9);
      }
      if (stddev !== undefined) expect(one.channels.t?.stddev).toBeCloseTo(stddev, 6);
      else expect(one.channels.t?.stddev).toBeUndefined();
    }),
    { numRuns: 200 },
  );
});

test("what cannot be merged exactly is left out", () => {
  const parts = entriesOf(
    [
      { at: 0, t: 1 },
      { at: 1_000, t: 5 },
    ],
    1_000,
  ).map((body) => ({ ...body, channels: { t: { mean: body.channels.t?.mean ?? 0, max: 5, bad: 0 } } }));
  expect(merged("store", parts).channels.t).toEqual({ max: 5, bad: 0 });
});

test("windows of another unit or another size are not merged", () => {
  const [body] = entriesOf([{ at: 0, t: 1 }], 1_000);
  const [longer] = entriesOf([{ at: 0, t: 1 }], 10_000);
  const fahrenheit = body && { ...body, channels: { t: { ...body.channels.t, bad: 0, unit: "°F" } } };
  expect(body && thinningKey(body)).not.toBe(longer && thinningKey(longer));
  expect(body && thinningKey(body)).not.toBe(fahrenheit && thinningKey(fahrenheit));
});

test("a revision is never merged: its window may have been told before", () => {
  const [body] = entriesOf([{ at: 0, t: 1 }], 1_000);
  expect(body && thinningKey(body)).toBeDefined();
  expect(body && thinningKey({ ...body, revision: 1 })).toBeUndefined();
});
