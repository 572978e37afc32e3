import { expect, test } from "vitest";
import { compileCalibration } from "../../src/calibrate/calibration.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { pipelineOf } from "../config/pipelines.ts";

const calibrate = (entries: JsonObject) => compileCalibration(pipelineOf({ calibrate: entries }).calibrate);
const reading = (device: string, ...values: [string, number][]) => ({
  device,
  timeMs: 5,
  values: values.map(([channel, value]) => ({ channel, value })),
});

test("a value is multiplied by the slope, then the intercept is added", () => {
  const oven = calibrate({ a: { device: "oven", channels: { t: { slope: 2, intercept: -0.5 } } } });
  expect(oven(reading("oven", ["t", 10], ["h", 40]))).toEqual(reading("oven", ["t", 19.5], ["h", 40]));
});

test("slope and intercept default to what changes nothing", () => {
  const oven = calibrate({ a: { device: "oven", channels: { t: { intercept: 1 }, h: { slope: 3 } } } });
  expect(oven(reading("oven", ["t", 10], ["h", 10]))).toEqual(reading("oven", ["t", 11], ["h", 30]));
});

test("another device passes unchanged", () => {
  const oven = calibrate({ a: { device: "oven", channels: { t: { slope: 2 } } } });
  const other = reading("room", ["t", 10]);
  expect(oven(other)).toEqual(reading("room", ["t", 10]));
});

test("two entries of one device calibrate different channels", () => {
  const oven = calibrate({
    a: { device: "oven", channels: { t: { slope: 2 } } },
    b: { device: "oven", channels: { h: { slope: 3 } } },
  });
  expect(oven(reading("oven", ["t", 1], ["h", 1]))).toEqual(reading("oven", ["t", 2], ["h", 3]));
});

test("an entry that is off calibrates nothing", () => {
  const off = calibrate({ a: { state: "off", device: "oven", channels: { t: { slope: 2 } } } });
  expect(off(reading("oven", ["t", 1]))).toEqual(reading("oven", ["t", 1]));
});

test("devices and channels with names that every object inherits have no entry", () => {
  const oven = calibrate({ a: { device: "oven", channels: { t: { slope: 2 } } } });
  expect(oven(reading("constructor", ["t", 1]))).toEqual(reading("constructor", ["t", 1]));
  expect(oven(reading("oven", ["__proto__", 1]))).toEqual(reading("oven", ["__proto__", 1]));
});

test("the reading that came in is left as it was", () => {
  const oven = calibrate({ a: { device: "oven", channels: { t: { slope: 2 } } } });
  const before = reading("oven", ["t", 10]);
  oven(before);
  expect(before).toEqual(reading("oven", ["t", 10]));
});
