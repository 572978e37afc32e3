/** What the direct method `writeRegister` takes, and what it answers for each outcome; the writing itself is in `gateway-modbus.test.ts`. */
import { expect, test } from "vitest";
import { RegisterWrites } from "../../src/api/register-writes.ts";
import type { JsonValue } from "../../src/core/json.ts";
import type { WriteOutcome } from "../../src/sources/register-write.ts";
import { recordingLog } from "../core/recording-log.ts";

function writes(outcome: WriteOutcome) {
  const asked: unknown[] = [];
  const log = recordingLog();
  const one = new RegisterWrites(async (...write) => {
    asked.push(write);
    return outcome;
  }, log);
  return { one, asked, log };
}
const request = { source: "oven", channel: "setpoint", value: 180.5 };

test.each([
  null,
  [],
  "setpoint",
  {},
  { source: "oven", channel: "setpoint" },
  { ...request, value: "180" },
  { ...request, value: null },
  { ...request, channel: 1 },
  { ...request, unit: 2 },
] satisfies JsonValue[])("%j is refused, and nothing is written", async (payload) => {
  const { one, asked } = writes({ kind: "written", value: 1 });
  expect(await one.answer(payload)).toMatchObject({ status: 400, payload: { message: expect.any(String) } });
  expect(asked).toEqual([]);
  expect(one.counts.written).toBe(0);
});

test("true and false are 1 and 0", async () => {
  const { one, asked } = writes({ kind: "written", value: 1 });
  await one.answer({ ...request, value: true });
  await one.answer({ ...request, value: false });
  expect(asked).toEqual([
    ["oven", "setpoint", 1],
    ["oven", "setpoint", 0],
  ]);
});

test.each([
  [{ kind: "written", value: 180.5 }, 200, request],
  [{ kind: "differs", value: 180.5, readBack: 20 }, 409, { value: 180.5, readBack: 20 }],
  [{ kind: "differs", value: 180.5, readBack: Number.NaN }, 409, { value: 180.5, readBack: null }],
  [{ kind: "refused", reason: "unknownSource", message: "m" }, 404, { message: "m" }],
  [{ kind: "refused", reason: "unknownChannel", message: "m" }, 404, { message: "m" }],
  [{ kind: "refused", reason: "notWritable", message: "m" }, 403, { message: "m" }],
  [{ kind: "refused", reason: "outOfRange", message: "m" }, 422, { message: "m" }],
  [
    { kind: "exception", code: 3, name: "illegal data value" },
    502,
    { exception: { code: 3, name: "illegal data value" } },
  ],
  [{ kind: "unsent", message: "m" }, 503, { message: "nothing was sent: m" }],
  [{ kind: "unknown", message: "m" }, 504, { message: "it may be in force, or not: m" }],
] satisfies [WriteOutcome, number, object][])(
  "%j is %d, counted and in the log",
  async (outcome, status, payload) => {
    const { one, log } = writes(outcome);
    expect(await one.answer(request)).toMatchObject({ status, payload });
    expect(one.counts[outcome.kind]).toBe(1);
    expect(JSON.stringify(log.lines)).toContain(`a register was to be set: ${outcome.kind}`);
  },
);
