import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { KnownChannel } from "../../src/core/reading.ts";
import { compileValidation } from "../../src/validate/validation.ts";
import { pipelineOf } from "../config/pipelines.ts";

/** Judges one value: its quality, and the reason where there is one. */
function judge(entries: JsonObject, device: string, channel: string, value: number): string {
  const validate = compileValidation(pipelineOf({ validate: entries }).validate);
  const measurement = validate({ device, timeMs: 5, values: [{ channel, value }] }, "source");
  expect(measurement).toMatchObject({ device, timeMs: 5, values: [{ channel, value }] });
  const [judged] = measurement.values;
  return judged?.reason ?? judged?.quality ?? "";
}

const climate = { climate: { channels: { t: { min: -40, max: 80 }, h: { min: 0 }, p: { max: 1600 } } } };

test.each([
  ["t", -40, "good"],
  ["t", 80, "good"],
  ["t", -40.000001, "belowMin"],
  ["t", 80.000001, "aboveMax"],
  ["h", 1e300, "good"],
  ["h", -1, "belowMin"],
  ["p", -1e300, "good"],
  ["p", 1601, "aboveMax"],
  ["co2", -1e300, "good"],
])("%s of %d is %s: the borders are good", (channel, value, expected) => {
  expect(judge(climate, "any", channel, value)).toBe(expected);
});

test.each([Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN])(
  "%d, as a calibration can give, is not finite, with a range and without",
  (value) => {
    expect(judge(climate, "any", "t", value)).toBe("notFinite");
    expect(judge(climate, "any", "co2", value)).toBe("notFinite");
  },
);

test("a bad value keeps its number and its quality says so", () => {
  const validate = compileValidation(pipelineOf({ validate: climate }).validate);
  expect(validate({ device: "d", timeMs: 5, values: [{ channel: "t", value: 999 }] }, "s")).toEqual({
    device: "d",
    timeMs: 5,
    values: [{ channel: "t", value: 999, quality: "bad", reason: "aboveMax" }],
  });
});

test("an entry of a device replaces the general one channel by channel, wherever it stands", () => {
  const oven = { device: "oven", channels: { t: { max: 400 } } };
  for (const entries of [
    { ...climate, oven },
    { oven, ...climate },
  ]) {
    expect(judge(entries, "oven", "t", 399)).toBe("good");
    // Replaced, not merged: the general lower border is gone for this device.
    expect(judge(entries, "oven", "t", -50)).toBe("good");
    expect(judge(entries, "oven", "t", 401)).toBe("aboveMax");
    expect(judge(entries, "oven", "h", -1)).toBe("belowMin");
    expect(judge(entries, "room", "t", 399)).toBe("aboveMax");
  }
});

test("of two entries for the same, the later one counts", () => {
  const entries = { a: { channels: { t: { max: 1 } } }, b: { channels: { t: { max: 2 } } } };
  expect(judge(entries, "any", "t", 2)).toBe("good");
  expect(judge(entries, "any", "t", 3)).toBe("aboveMax");
});

test("names that every object inherits have no range", () => {
  expect(judge(climate, "constructor", "__proto__", 1e9)).toBe("good");
});

test("what a driver says of its channels holds for its source only, and gives way to an entry for the device", () => {
  const known = new Map<string, Map<string, KnownChannel>>([
    ["room", new Map([["t", { min: 0, max: 50 }]])],
    ["hall", new Map([["t", { unit: "°C" }]])],
  ]);
  const judged = (entries: JsonObject, source: string, value: number) =>
    compileValidation(pipelineOf({ validate: entries }).validate, known)(
      { device: "any", timeMs: 5, values: [{ channel: "t", value }] },
      source,
    ).values[0]?.quality;
  expect(judged({}, "room", 51)).toBe("bad");
  expect(judged({}, "yard", 51)).toBe("good");
  expect(judged(climate, "room", 51)).toBe("bad");
  expect(judged(climate, "yard", 51)).toBe("good");
  // Of which only the unit is known.
  expect(judged(climate, "hall", 51)).toBe("good");
  expect(judged(climate, "hall", 1_000)).toBe("bad");
  expect(judged({ mine: { device: "any", channels: { t: { max: 60 } } } }, "room", 51)).toBe("good");
});
