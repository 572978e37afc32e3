import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { mergePatch } from "../../src/config/layers.ts";
import { PermanentError, TransientError } from "../../src/core/errors.ts";
import type { JsonObject, JsonValue } from "../../src/core/json.ts";
import { difference, Reporter } from "../../src/twin/reporter.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";

function running(settings = { intervalMs: 300_000, minSpacingMs: 10_000 }) {
  const clock = new ManualClock();
  const state = { telling: { store: "ok" } as JsonObject, figures: { freeRam: 100 } as JsonObject };
  const reports: { readonly atMs: number; readonly patch: JsonObject }[] = [];
  let failure: Error | undefined;
  let attempts = 0;
  const log = recordingLog();
  const reporter = new Reporter(
    {
      properties: () => structuredClone(state),
      connected: async () => undefined,
      report: async (patch) => {
        attempts++;
        if (failure) throw failure;
        reports.push({ atMs: clock.monotonic(), patch });
      },
      clock,
      log,
    },
    settings,
  );
  reporter.start();
  return {
    clock,
    reporter,
    state,
    reports,
    log,
    attempts: () => attempts,
    patches: () => reports.map((r) => r.patch),
    fail: (error: Error | undefined) => {
      failure = error;
    },
  };
}

test("nothing is reported before a connection told what the hub holds", async () => {
  const { clock, reports, reporter } = running();
  await clock.advance(600_000);
  expect(reports).toEqual([]);
  reporter.synchronize({});
  await clock.advance(1_000);
  expect(reports).toHaveLength(1);
});

test("only differences to what the hub holds are sent, and what is gone is deleted", async () => {
  const { clock, patches, reporter } = running();
  reporter.synchronize({ store: "failing", freeRam: 100, old: { a: 1 } });
  await clock.advance(1_000);
  expect(patches()).toEqual([{ store: "ok", old: null }]);
});

test("figures alone wait for the interval", async () => {
  const { clock, patches, reporter, state, reports } = running();
  reporter.synchronize({});
  await clock.advance(1_000);
  state.figures = { freeRam: 50 };
  await clock.advance(290_000);
  expect(reports).toHaveLength(1);
  await clock.advance(15_000);
  expect(patches().slice(1)).toEqual([{ freeRam: 50 }]);
});

test("a change that tells something goes soon, with the figures of the moment", async () => {
  const { clock, patches, reporter, state } = running();
  reporter.synchronize({});
  await clock.advance(60_000);
  state.telling = { store: "failing" };
  state.figures = { freeRam: 40 };
  await clock.advance(2_000);
  expect(patches().slice(1)).toEqual([{ store: "failing", freeRam: 40 }]);
});

test("something that changes all the time is reported at the least spacing", async () => {
  const { clock, reports, reporter, state } = running();
  reporter.synchronize({});
  for (let i = 0; i < 120; i++) {
    state.telling = { store: `${i}` };
    await clock.advance(1_000);
  }
  for (const [i, { atMs }] of reports.entries()) {
    if (i > 0) expect(atMs - (reports[i - 1]?.atMs ?? 0)).toBeGreaterThanOrEqual(10_000);
  }
  expect(reports.length).toBeGreaterThan(8);
});

test("a new connection is no reason to break the spacing", async () => {
  const { clock, reports, reporter } = running();
  for (let i = 0; i < 30; i++) {
    reporter.synchronize({});
    await clock.advance(1_000);
  }
  expect(reports.length).toBeLessThanOrEqual(4);
});

test("a property that is switched off is deleted from the twin", async () => {
  const { clock, patches, reporter, state } = running();
  reporter.synchronize({});
  await clock.advance(1_000);
  state.figures = {};
  await clock.advance(400_000);
  expect(patches().slice(1)).toEqual([{ freeRam: null }]);
});

test("nothing new is nothing sent", async () => {
  const { clock, reports, reporter } = running();
  reporter.synchronize({});
  await clock.advance(3_600_000);
  expect(reports).toHaveLength(1);
});

test("a report that failed is made again, and nothing of it is taken as held", async () => {
  const { clock, patches, reporter, fail } = running();
  reporter.synchronize({});
  fail(new TransientError("HUB_LOST", "gone"));
  await clock.advance(30_000);
  fail(undefined);
  await clock.advance(30_000);
  expect(patches()).toEqual([{ store: "ok", freeRam: 100 }]);
});

test("a report that the hub refuses is logged once, and repeated at the interval or when something changes", async () => {
  const { clock, log, reporter, state, fail, patches, attempts } = running();
  reporter.synchronize({});
  fail(new PermanentError("HUB_REJECTED", "too large"));
  await clock.advance(1_000_000);
  expect(attempts()).toBe(4);
  state.telling = { store: "failing" };
  await clock.advance(20_000);
  expect(attempts()).toBe(5);
  expect(log.lines.filter((l) => l.level === "error")).toHaveLength(1);
  fail(undefined);
  await clock.advance(300_000);
  expect(patches()).toEqual([{ store: "failing", freeRam: 100 }]);
});

test("a look reports at once what waits, but not before the spacing is over", async () => {
  const { clock, reports, reporter, state } = running();
  reporter.synchronize({});
  await clock.advance(60_500);
  state.telling = { store: "failing" };
  reporter.look();
  await clock.advance(0);
  expect(reports).toHaveLength(2);
  state.telling = { store: "ok" };
  for (let i = 0; i < 10; i++) reporter.look();
  await clock.advance(0);
  expect(reports).toHaveLength(2);
});

test("other settings hold from the next look", async () => {
  const { clock, reports, reporter, state } = running();
  reporter.synchronize({});
  await clock.advance(1_000);
  reporter.configure({ intervalMs: 20_000, minSpacingMs: 1_000 });
  state.figures = { freeRam: 1 };
  await clock.advance(22_000);
  expect(reports).toHaveLength(2);
});

test("a stop ends it, and a stop without a connection too", async () => {
  const { clock, reporter, reports } = running();
  await clock.advance(1_000);
  await reporter.stop();
  await reporter.stop();
  reporter.synchronize({});
  await clock.advance(60_000);
  expect(reports).toEqual([]);
});

describe("difference", () => {
  test.each([
    ["nothing", {}, {}, {}],
    ["equal values, whatever the order of keys", { a: { x: 1, y: 2 } }, { a: { y: 2, x: 1 } }, {}],
    ["a value that goes", { a: 1, b: 2 }, { b: 2 }, { a: null }],
    ["a value that goes below", { a: { x: 1, y: 2 } }, { a: { y: 2 } }, { a: { x: null } }],
    ["an array, whole", { a: [1, 2] }, { a: [1] }, { a: [1] }],
    ["an object for a value", { a: 1 }, { a: { x: 1 } }, { a: { x: 1 } }],
    ["a value for an object", { a: { x: 1 } }, { a: 1 }, { a: 1 }],
    ["an empty object", {}, { a: {} }, { a: {} }],
  ] satisfies [string, JsonObject, JsonObject, JsonObject][])("%s", (_, from, to, patch) => {
    expect(difference(from, to)).toEqual(patch);
  });

  test("names that every object inherits are names like others", () => {
    expect(difference({ constructor: 1, toString: 2 } as unknown as JsonObject, {})).toEqual({
      constructor: null,
      toString: null,
    });
    expect(difference({}, { constructor: 1, valueOf: "x" } as unknown as JsonObject)).toEqual({
      constructor: 1,
      valueOf: "x",
    });
  });

  // A twin holds no null: it would mean that the property is not there.
  const { tree: value } = fc.letrec<{ tree: JsonValue; object: JsonObject }>((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      fc.constantFrom<JsonValue>(0, 1, "", "x", true, false),
      fc.array(fc.constantFrom<JsonValue>(1, 2), { maxLength: 2 }),
      tie("object"),
    ),
    object: fc.dictionary(fc.constantFrom("a", "b", "c", "d"), tie("tree"), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
  }));
  const object = fc.dictionary(fc.constantFrom("a", "b", "c", "d"), value, {
    maxKeys: 4,
    noNullPrototype: true,
  });

  test("any two: the patch applied with the twin's merge rule gives the second, and is empty when they are equal", () => {
    fc.assert(
      fc.property(object, object, (from, to) => {
        expect(mergePatch(from, difference(from, to))).toEqual(to);
        expect(difference(to, to)).toEqual({});
      }),
      { numRuns: 1_000 },
    );
  });
});
