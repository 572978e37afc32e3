import fc from "fast-check";
import type { JsonObject } from "../../src/core/json.ts";
import { jsonSource } from "../config/pipelines.ts";
import { ownTime, t0 } from "./running-pipeline.ts";
import { SteppingBox } from "./stepping-box.ts";

const hour = 3_600_000;
const year = 365 * 24 * hour;
/** What can happen to a box and its clock, in numbers that fast-check shrinks. */
const steps = fc.constantFrom(-3_000, 3_000, -hour, hour, 5 * year, -5 * year, 0, 0, 1_234, -777);
const event = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("s" as const), by: fc.integer({ min: 1, max: 900 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("own" as const), by: fc.integer({ min: 1, max: 900 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("tick" as const), by: fc.integer({ min: 1, max: 900 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("step" as const), to: steps }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("odd" as const),
      by: fc.integer({ min: 1, max: 900 }),
      ms: fc.integer({ min: -9_000, max: -300 }),
    }),
  },
);
const boots = fc.oneof(
  { weight: 12, arbitrary: event },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("boot" as const),
      down: fc.integer({ min: 1_000, max: 90_000 }),
      to: steps,
      synced: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("clock" as const),
      quality: fc.constantFrom("synced" as const, "unsynced" as const, "holdover" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("configure" as const), which: fc.nat(1) }) },
);
export type ClockEvent = typeof boots extends fc.Arbitrary<infer E> ? E : never;
/** Steps alone; and steps, boots, changes of the clock's quality and of the configuration. */
export const stepEvents = fc.array(event, { maxLength: 80 });
export const anyEvents = fc.array(boots, { maxLength: 80 });

export const sizes = { w: 1_000, x: 2_500, y: 60_000 };
const all: JsonObject = {
  sources: { s: jsonSource("s"), own: jsonSource("own", ownTime) },
  windows: Object.fromEntries(Object.entries(sizes).map(([name, sizeMs]) => [name, { sizeMs }])),
  clock: { maxHoldMs: 5_000 },
};
const other: JsonObject = {
  ...all,
  windows: { w: { sizeMs: 1_500, allowedLatenessMs: 1_000 }, x: { sizeMs: 2_500 } },
};

/** The journal of the events. Readings of `s` count up from 0; `at` has the true time of each. */
export function journalOf(events: readonly ClockEvent[]) {
  const box = new SteppingBox();
  const entries = [box.clock("synced"), box.configuration(all)];
  const at: number[] = [];
  /** How wrong the wall clock was, from when on. */
  const wrong = [{ fromMs: Number.NEGATIVE_INFINITY, ms: 0 }];
  for (const one of events) {
    if ("by" in one) box.pass(one.by);
    if (one.do === "s") entries.push(box.frame({ t: at.push(box.nowMs) - 1 }));
    // One alone: two that are odd alike would be a step.
    else if (one.do === "odd")
      entries.push(box.frame({ t: at.push(box.nowMs) - 1 }, "s", one.ms), box.tick());
    else if (one.do === "own") entries.push(box.frame({ t: 1, ts: t0 + box.nowMs }, "own"));
    else if (one.do === "tick") entries.push(box.tick());
    else if (one.do === "clock") entries.push(box.clock(one.quality));
    else if (one.do === "configure") entries.push(box.configuration(one.which === 0 ? all : other));
    else if (one.do === "boot") {
      box.boot(one.down, one.to);
      entries.push(box.clock(one.synced ? "synced" : "unsynced"));
    } else box.wrongMs = one.to;
    if ("to" in one) wrong.push({ fromMs: box.nowMs, ms: one.to });
  }
  box.pass(200_000);
  entries.push(box.tick());
  return { entries, at, wrong };
}
