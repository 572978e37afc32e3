/** Texts of files in sysfs in, values in their units out. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { ChannelNames } from "../../src/decode/channel-names.ts";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { pipelineOf } from "../config/pipelines.ts";

function decoderOf(files: JsonObject) {
  const config = pipelineOf({ sources: { chip: { type: "sysfs", chip: "c", files, device: "d" } } });
  const source = config.sources.chip;
  if (!source) throw new Error("there is a source");
  const decode = compileDecoder(source, new ChannelNames(config.channels));
  return {
    channels: source.channels,
    decode: (frame: unknown) => decode(Buffer.from(JSON.stringify(frame)), 0),
    bytes: (bytes: Uint8Array) => decode(bytes, 0),
  };
}

/** The one value of a frame for a file, with nothing but its path configured. */
function valueIn(path: string, frame: JsonObject, more: JsonObject = {}): unknown {
  const { decode, channels } = decoderOf({ v: { path, ...more } });
  const decoded = decode(frame);
  if ("discard" in decoded) return decoded.discard;
  return [decoded.readings[0]?.values[0]?.value, channels?.v?.unit];
}

test.each([
  ["temp1_input", "-12500", [-12.5, "°C"]],
  ["in0_input", "1102", [1.102, "V"]],
  ["curr2_input", "250", [0.25, "A"]],
  ["power1_average", "15000000", [15, "W"]],
  ["energy1_input", "2500000", [2.5, "J"]],
  ["humidity1_input", "45678", [45.678, "%"]],
  ["fan1_input", "1200", [1200, "rpm"]],
  ["pwm1", "128", [128, undefined]],
  ["temp1_label", "7", [7, undefined]],
  ["in_temp_input", "24187", [24.187, "°C"]],
  ["in_pressure_input", "101.325", [1013.25, "hPa"]],
  ["in_humidityrelative_input", "39750", [39.75, "%"]],
  ["in_illuminance0_input", "128", [128, "lx"]],
  ["device/temp1_input", "1000", [1, "°C"]],
])("%s that says %s has the unit of the kernel's documentation", (path, text, expected) => {
  expect(valueIn(path, { [path]: text })).toEqual(expected);
});

test("a raw number has its offset added, then its scale applied", () => {
  const frame = { in_temp_raw: "385", in_temp_offset: "-1.5", in_temp_scale: "62.500000" };
  expect(valueIn("in_temp_raw", frame)).toEqual([((385 - 1.5) * 62.5) / 1_000, "°C"]);
});

test("a scale of the channel itself wins over that of all channels of its kind", () => {
  const shared = { in_voltage0_raw: "100", in_voltage_scale: "2" };
  expect(valueIn("in_voltage0_raw", shared)).toEqual([0.2, "V"]);
  expect(valueIn("in_voltage0_raw", { ...shared, in_voltage0_scale: "3" })).toEqual([0.3, "V"]);
  const accel = { in_accel_x_raw: "100", in_accel_scale: "0.0095" };
  expect(valueIn("in_accel_x_raw", accel)).toEqual([0.95, "m/s²"]);
  const difference = { "in_voltage0-voltage1_raw": "100", "in_voltage-voltage_scale": "2" };
  expect(valueIn("in_voltage0-voltage1_raw", difference)).toEqual([0.2, "V"]);
});

test("a raw number of a known unit without a scale is no value, and one of no unit is as it is", () => {
  expect(valueIn("in_temp_raw", { in_temp_raw: "385" })).toBe("noChannels");
  expect(valueIn("in_proximity_raw", { in_proximity_raw: "385" })).toEqual([385, undefined]);
});

test("a configured scale, offset and unit take the place of the kernel's", () => {
  const more = { scale: 0.5, offset: -3, unit: "bar" };
  const frame = { in_temp_raw: "100", in_temp_scale: "62.5", in_temp_offset: "7" };
  expect(valueIn("in_temp_raw", frame, more)).toEqual([47, "bar"]);
  // A number of another scale is of another unit, which nobody but the configuration knows.
  expect(valueIn("temp1_input", { temp1_input: "100" }, { scale: 2 })).toEqual([200, undefined]);
});

test("a file that is missing from the frame does not stop the others", () => {
  const { decode } = decoderOf({ a: { path: "temp1_input" }, b: { path: "temp2_input" } });
  expect(decode({ temp2_input: "1000" })).toMatchObject({
    readings: [{ values: [{ channel: "b", value: 1 }] }],
  });
  expect(decode({})).toEqual({ discard: "noChannels" });
});

test.each(["", "N/A", "0x10", "1e3", "12 34", "NaN", "--1"])("a file that says %j is no number", (text) => {
  const { decode } = decoderOf({ a: { path: "temp1_input" }, b: { path: "temp2_input" } });
  expect(decode({ temp1_input: text, temp2_input: "1000" })).toMatchObject({
    readings: [{ values: [{ channel: "b", value: 1 }] }],
    notes: ["notANumber"],
  });
});

test("a scale that is no number makes no value of a good raw number", () => {
  const { decode } = decoderOf({ a: { path: "in_temp_raw" } });
  expect(decode({ in_temp_raw: "385", in_temp_scale: "x" })).toEqual({ discard: "noChannels" });
});

test("any bytes and any JSON give finite values or a discard, and never an error", () => {
  const { decode, bytes } = decoderOf({ a: { path: "in_temp_raw" }, b: { path: "temp1_input" } });
  const names = fc.constantFrom("in_temp_raw", "in_temp_scale", "in_temp_offset", "temp1_input", "x");
  const frames = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(names, fc.oneof(fc.string(), fc.double().map(String), fc.jsonValue())),
  );
  const check = (decoded: ReturnType<typeof decode>) => {
    if ("discard" in decoded) return;
    for (const { value } of decoded.readings.flatMap(({ values }) => values))
      expect(Number.isFinite(value)).toBe(true);
  };
  fc.assert(
    fc.property(frames, (frame) => check(decode(frame))),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (frame) => check(bytes(frame))));
});
