/** Values that stand deeper in JSON, payloads that are one value, and names that the topic gives. */
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { ChannelNames } from "../../src/decode/channel-names.ts";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";
import { decoder, notes, now, values } from "./decoders.ts";

/** What a message of a topic gives, by a source of type `mqtt`. */
function message(decode: JsonObject, device: string | JsonObject, topic: string, text: string) {
  const yard = { type: "mqtt", url: "mqtt://broker", topic: "#", device, decode };
  const { sources, channels } = pipelineOf({ sources: { yard } });
  if (!sources.yard) throw new Error("the configuration lost its source");
  return compileDecoder(sources.yard, new ChannelNames(channels))(Buffer.from(text), now, topic);
}

test("paths lead to values and to the device; the rest is not read", () => {
  const fields = { id: "$.meta.id", temperature: "$.data.values[0]", power: "$['ENERGY']['Power (W)']" };
  const decode = decoder({ format: "json", fields }, { device: { field: "id" } });
  const decoded = decode.text(
    '{"meta":{"id":"kiln"},"data":{"values":[21.5,3]},"ENERGY":{"Power (W)":"7"},"humidity":40}',
  );
  expect(decoded).toMatchObject({ readings: [{ device: "kiln" }] });
  expect(values(decoded)).toEqual({ temperature: 21.5, power: 7 });
});

test("a value that is not there is absent, and one that is no number is a note", () => {
  const decode = decoder({ format: "json", fields: { t: "$.a.t", h: "$.a.h" } });
  expect(values(decode.text('{"a":{"t":1}}'))).toEqual({ t: 1 });
  expect(notes(decode.text('{"a":{"t":1,"h":{"x":2}}}'))).toEqual(["notANumber"]);
  expect(decode.text("{}")).toEqual({ discard: "noChannels" });
  expect(decode.text("5")).toEqual({ discard: "noChannels" });
  expect(decode.text("{torn")).toEqual({ discard: "malformed" });
});

test("items leads to the list of readings, each with its own time", () => {
  const decode = decoder({
    format: "json",
    items: "$.batch",
    fields: { t: "$.v.t", at: "$.ts" },
    time: { field: "at" },
  });
  expect(decode.text(`{"batch":[{"ts":${now - 1},"v":{"t":1}},{"ts":${now},"v":{"t":2}}]}`)).toMatchObject({
    readings: [
      { timeMs: now - 1, values: [{ channel: "t", value: 1 }] },
      { timeMs: now, values: [{ channel: "t", value: 2 }] },
    ],
  });
  expect(decode.text("{}")).toEqual({ discard: "noTime" });
});

test("items without fields takes the members of each", () => {
  const decode = decoder({ format: "json", items: "$.payload" });
  expect(values(decode.text('{"payload":{"t":1},"t":9}'))).toEqual({ t: 1 });
  expect(decode.text('{"t":9}')).toEqual({ discard: "malformed" });
});

test.each([
  ["21.5", { temperature: 21.5 }],
  [" -3e2\r\n", { temperature: -300 }],
  ["ON", { temperature: 1 }],
  ["constructor", "noChannels"],
  ["0x10", "noChannels"],
  ["{}", "noChannels"],
  ["\0", "nul"],
  ["", "empty"],
])("a payload that is the value: %j", (text, expected) => {
  const decode = { format: "value", channel: "temperature", words: { ON: 1 } };
  expect(values(message(decode, "kiln", "any", text))).toEqual(expected);
});

test("the topic names device and channel; another topic is a discard", () => {
  const device = { template: "home/{device}/{channel}" };
  const value = { format: "value" };
  expect(message(value, device, "home/kiln/temperature", "21.5")).toMatchObject({
    readings: [{ device: "kiln", values: [{ channel: "temperature", value: 21.5 }] }],
  });
  expect(message(value, device, "home/kiln/temperature/raw", "21.5")).toEqual({ discard: "otherTopic" });
  expect(message(value, device, "home/kiln/bad\u0007name", "21.5")).toEqual({ discard: "noChannels" });
  const fields = { "{channel}": "$.value", ignored: "$.none" };
  expect(values(message({ format: "json", fields }, device, "home/kiln/co2", '{"value":612}'))).toEqual({
    co2: 612,
  });
});

test("a mapped source of another type needs no topic", () => {
  const { sources } = pipelineOf({
    sources: { s: jsonSource("s", { decode: { format: "value", channel: "t" } }) },
  });
  expect(sources.s?.decode).toMatchObject({ format: "value", channel: "t" });
});
