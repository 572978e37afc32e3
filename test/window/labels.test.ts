import fc from "fast-check";
import { expect, test } from "vitest";
import { endAt, type LabelSchedule, labelsAt, relabeled } from "../../src/window/labels.ts";

const start: LabelSchedule = { now: { offsetMs: 0, epoch: 0, fromMs: 0, reason: "start" } };
const before = { agreedMs: 30_000, begunUntilMs: Number.NEGATIVE_INFINITY };

test("new labels hold from the end of the window on, whole multiples of the size by what is told", () => {
  const stepped = relabeled(start, -3_000, before, 60_000);
  expect([29_999, 31_000, 59_999].map((ms) => endAt(stepped, ms, 60_000))).toEqual([60_000, 60_000, 60_000]);
  expect([60_000, 62_999, 63_000].map((ms) => endAt(stepped, ms, 60_000))).toEqual([63_000, 63_000, 123_000]);
  expect(labelsAt(stepped, 60_000)).toEqual({ offsetMs: -3_000, epoch: 1, fromMs: 60_000, reason: "clock" });
});

test("windows begun before the step was known keep theirs", () => {
  const stepped = relabeled(start, -3_000, { agreedMs: 30_000, begunUntilMs: 120_000 }, 60_000);
  expect([labelsAt(stepped, 119_999).epoch, labelsAt(stepped, 120_000).epoch]).toEqual([0, 1]);
});

test("a step there and back leaves no trace, and a further one no more than itself", () => {
  const away = relabeled(start, 3_600_000, before, 60_000);
  expect(relabeled(away, 2, before, 60_000)).toEqual(start);
  expect(relabeled(away, 7_000, before, 60_000).next).toMatchObject({ offsetMs: 7_000, epoch: 1 });
});

test("any steps leave windows without gap and overlap in steady time, and no label twice in an epoch", () => {
  const step = fc.record({
    by: fc.integer({ min: 1, max: 5_000 }),
    to: fc.oneof(fc.integer({ min: -9_000, max: 9_000 }), fc.constantFrom(0, 3_600_000, -3_600_000)),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), fc.constantFrom(700, 1_000, 60_000), (steps, sizeMs) => {
      let schedule = start;
      let nowMs = 0;
      let endMs = Number.NEGATIVE_INFINITY;
      const told = new Set<string>();
      for (const { by, to } of steps) {
        const agreedMs = nowMs;
        for (const untilMs = nowMs + by; nowMs < untilMs; nowMs += 50) {
          const closesMs = endAt(schedule, nowMs, sizeMs);
          const { offsetMs, epoch } = labelsAt(schedule, nowMs);
          expect(Math.abs((closesMs + offsetMs) % sizeMs)).toBe(0);
          expect(closesMs).toBeGreaterThan(nowMs);
          // Within a window it stays as it is; the next begins where it ended.
          if (nowMs < endMs) expect(closesMs).toBe(endMs);
          else {
            const label = `${epoch} ${closesMs + offsetMs}`;
            expect(told.has(label)).toBe(false);
            told.add(label);
          }
          endMs = closesMs;
        }
        schedule = relabeled(schedule, to, { agreedMs, begunUntilMs: endMs }, sizeMs);
      }
    }),
    { numRuns: 300 },
  );
});
