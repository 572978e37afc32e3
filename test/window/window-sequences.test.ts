import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aggregateNames } from "../../src/config/field-schema.ts";
import type { Entry } from "../../src/core/entry.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { Windows } from "../../src/window/windows.ts";
import { pipelineOf } from "../config/pipelines.ts";
import { type Body, baseContext, bodyOf, origin, t0 } from "./running-windows.ts";

/** What a test can do to windows, in the numbers fast-check shrinks. */
type Step =
  | {
      readonly do: "add";
      readonly device: string;
      readonly at: number;
      readonly value: number;
      readonly bad: boolean;
    }
  | { readonly do: "advance"; readonly by: number }
  | { readonly do: "configure"; readonly which: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("add" as const),
      device: fc.constantFrom("a", "b"),
      /** Relative to the watermark, so that late readings are as frequent as early ones. */
      at: fc.integer({ min: -3_000, max: 1_500 }),
      value: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
      bad: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("advance" as const), by: fc.integer({ min: 0, max: 1_200 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("configure" as const), which: fc.nat(3) }) },
);
const definitions: JsonObject[] = [
  { w: { sizeMs: 1_000, allowedLatenessMs: 1_500 }, x: { sizeMs: 400, devices: ["a"] } },
  { x: { sizeMs: 400, devices: ["a"] }, w: { sizeMs: 1_000 } },
  { w: { sizeMs: 700, allowedLatenessMs: 300 } },
  { w: { sizeMs: 1_000, allowedLatenessMs: 1_500 } },
];

describe("any sequence of readings, watermarks and reconfigurations", () => {
  const run = (steps: readonly Step[]) => {
    const windows = new Windows();
    let current = Object.entries(pipelineOf({ windows: definitions[0] ?? {} }).windows);
    const config = () => current.map(([name, w]) => ({ name, ...w }));
    /** Good and bad values in order of arrival, by window, device and start; cleared when the definition changes. */
    const arrived = new Map<string, { timeMs: number; value: number; bad: boolean }[]>();
    const told: { body: Body; expected: readonly { timeMs: number; value: number; bad: boolean }[] }[] = [];
    const counts = { accepted: 0, discarded: 0, accounted: 0 };
    const keyOf = (window: string, device: string, startMs: number) => `${window} ${device} ${startMs}`;
    const collect = (entries: readonly Entry[]) => {
      for (const entry of entries) {
        const body = bodyOf(entry);
        const startMs = Date.parse(body.windowStart);
        told.push({ body, expected: [...(arrived.get(keyOf(body.window, body.device, startMs)) ?? [])] });
        counts.accounted += entry.accounts.s ?? 0;
      }
    };
    let watermark = 0;
    let clock = 0;
    let generation = 1;
    const start = { generation, sinceMs: t0 - 3_600_000, reason: "start", offsetMs: 0 } as const;
    windows.configure(Object.fromEntries(current), start, baseContext);
    windows.advance("s", t0, t0, baseContext);
    for (const one of steps) {
      clock++;
      if (one.do === "advance") {
        watermark += one.by;
        collect(windows.advance("s", t0 + watermark, t0 + watermark, baseContext));
      } else if (one.do === "configure") {
        const next = pipelineOf({ windows: definitions[one.which] ?? {} }).windows;
        const inForce = {
          generation: ++generation,
          sinceMs: t0 + watermark,
          reason: "configuration",
          offsetMs: 0,
        } as const;
        collect(windows.configure(next, inForce, baseContext));
        for (const [name, w] of current) {
          if (JSON.stringify(next[name]) === JSON.stringify(w)) continue;
          for (const key of [...arrived.keys()]) if (key.startsWith(`${name} `)) arrived.delete(key);
        }
        current = Object.entries(next);
      } else {
        const timeMs = t0 + watermark + one.at;
        const value = {
          channel: "t",
          value: one.value,
          quality: one.bad ? "bad" : "good",
          reason: one.bad ? "aboveMax" : undefined,
        } as const;
        const placement = windows.add(
          "s",
          { device: one.device, timeMs, values: [value] },
          origin("synced", `h${clock}`),
        );
        let first = true;
        for (const { name, sizeMs, allowedLatenessMs, devices } of config()) {
          if (devices && !devices.includes(one.device)) continue;
          const startMs = Math.floor(timeMs / sizeMs) * sizeMs;
          const late = startMs + sizeMs + allowedLatenessMs <= t0 + watermark;
          if (first) expect(placement.discard).toBe(late ? "late" : undefined);
          else expect(placement.notes.includes(`late:${name}`)).toBe(late);
          first = false;
          if (late) continue;
          const key = keyOf(name, one.device, startMs);
          arrived.set(key, [...(arrived.get(key) ?? []), { timeMs, value: one.value, bad: one.bad }]);
        }
        if (placement.discard === undefined) counts.accepted++;
        else counts.discarded++;
      }
      expect(counts.accounted + (windows.held().s ?? 0)).toBe(counts.accepted);
    }
    const inForce = {
      generation: ++generation,
      sinceMs: t0 + watermark,
      reason: "configuration",
      offsetMs: 0,
    } as const;
    collect(windows.configure({}, inForce, baseContext));
    expect([windows.openCount, counts.accounted]).toEqual([0, counts.accepted]);
    return told;
  };

  test("each entry tells what a recomputation from the readings that arrived tells", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        for (const { body, expected } of run(steps)) {
          const good = expected.filter((v) => !v.bad);
          expect([body.count, body.bad]).toEqual([expected.length, expected.length - good.length]);
          let sum = 0;
          for (const { value } of good) sum += value;
          const channel = body.channels.t ?? {};
          expect(channel.count).toBe(good.length);
          if (good.length === 0) continue;
          const all = good.map((v) => v.value);
          const byTime = [...good].sort((a, b) => a.timeMs - b.timeMs);
          // JSON has no -0.
          const plain = (number: number | undefined) => (number === 0 ? 0 : number);
          expect(channel).toMatchObject({
            sum: plain(sum),
            mean: plain(sum / good.length),
            min: plain(Math.min(...all)),
            max: plain(Math.max(...all)),
            first: plain(byTime[0]?.value),
            last: plain(byTime.at(-1)?.value),
          });
          expect(
            Object.keys(channel).filter((k) => k !== "unit" && k !== "bad" && k !== "reasons").length,
          ).toBe(good.length > 1 ? aggregateNames.length : aggregateNames.length - 1);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("no id and revision is told twice, and revisions of an id count from 0 without a gap", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const next = new Map<string, number>();
        const place = new Map<string, string>();
        for (const { body } of run(steps)) {
          expect(body.revision).toBe(next.get(body.id) ?? 0);
          next.set(body.id, body.revision + 1);
          const here = `${body.window} ${body.device} ${body.windowStart} ${body.windowEnd}`;
          expect(place.get(body.id) ?? here).toBe(here);
          place.set(body.id, here);
        }
      }),
      { numRuns: 300 },
    );
  });
});
