import { expect, test } from "vitest";
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { jsonSource } from "./pipelines.ts";
import { good, problemsOf } from "./problems.ts";

const window = { from: "window", source: "s", window: "minute", features: ["t.mean", "t.max"] };
const series = { from: "values", source: "s", channels: ["x", "y"], last: 8 };
const model = (inputs: JsonObject, more: JsonObject = {}): JsonObject => ({
  type: "model",
  model: "any",
  inputs,
  outputs: { score: {} },
  ...more,
});
const sections = (sources: JsonObject, more: JsonObject = {}): JsonObject => ({
  models: { any: { file: "/any.onnx" } },
  windows: { minute: { sizeMs: 60_000 } },
  sources: { s: jsonSource("s"), ...sources },
  ...more,
});
const told = (sources: JsonObject, more: JsonObject = {}) =>
  [...problemsOf(sections(sources, more))].map(([path, { message }]) => `${path}: ${message}`);

test("what a source feeds its model with goes into the pipeline, and nothing does where there is no such source", () => {
  const { feeds, sources } = pipelineConfig(
    checkConfig({ ...good, ...sections({ m: model(window), off: model(window, { state: "off" }) }) }),
  );
  expect(feeds).toEqual({ m: { inputs: window, missing: "skip" } });
  expect(sources.m).toMatchObject({ decode: { format: "model" }, channels: { score: {} }, idleMs: 30_000 });
  expect(pipelineConfig(checkConfig({ ...good, ...sections({}) }))).not.toHaveProperty("feeds");
});

test("results have times of receipt, or the devices' own, as the readings have at the begin of the way", () => {
  const timed = jsonSource("s", { decode: { format: "json", time: { field: "ts" } } });
  const timeOf = (s: JsonObject) => {
    const chain = { s, a: model(series), b: model({ ...series, source: "a" }) };
    const { sources } = pipelineConfig(checkConfig({ ...good, ...sections(chain) }));
    return [sources.a?.decode.time?.field, sources.b?.decode.time?.field];
  };
  expect(timeOf(jsonSource("s"))).toEqual([undefined, undefined]);
  expect(timeOf(timed)).toEqual(["$time", "$time"]);
});

test("entries that a source names have to be there, and on", () => {
  expect(told({ m: model({ ...window, source: "t", window: "hour" }, { model: "none" }) })).toEqual([
    "sources.m.model: there is no model none",
    "sources.m.inputs.source: there is no source t",
    "sources.m.inputs.window: there is no window hour",
  ]);
  const off = {
    models: { any: { file: "/any.onnx", state: "off" } },
    windows: { minute: { sizeMs: 60_000, state: "off" } },
  };
  expect(told({ m: model(window), s: jsonSource("s", { state: "off" }) }, off)).toEqual([
    "sources.m.model: model any is off",
    "sources.m.inputs.source: source s is off",
    "sources.m.inputs.window: window minute is off",
  ]);
});

test("a window that takes nothing of the source, or of the device, would never feed a model", () => {
  const more = { windows: { minute: { sizeMs: 60_000, sources: ["other"], devices: ["d"] } } };
  expect(told({ other: jsonSource("other"), m: model({ ...window, device: "e" }) }, more)).toEqual([
    "sources.m.inputs.window: window minute takes no readings of source s",
    "sources.m.inputs.device: window minute takes no readings of device e",
  ]);
});

test("numbers, shape and normalisation have to agree", () => {
  const normalisation = { mean: [0], deviation: [1, 1, 1] };
  expect(told({ m: model(window, { shape: [1, 3], normalisation }) })).toEqual([
    "sources.m.shape: [1,3] takes 3 numbers, and the inputs are 2",
    "sources.m.normalisation.mean: has 1 numbers for 2 features",
    "sources.m.normalisation.deviation: has 3 numbers for 2 features",
  ]);
  expect(told({ m: model({ ...series, last: 8_193 }) })).toEqual([
    "sources.m.inputs.last: 2 channels of 8193 readings are more than 16384 numbers",
  ]);
  expect(
    told({ m: model(series, { shape: [1, 16], normalisation: { mean: [0, 0], deviation: [1, 1] } }) }),
  ).toEqual([]);
});

test("a source feeds itself neither directly nor through others; who is fed by a loop is not blamed", () => {
  const from = (source: string) => model({ ...series, source });
  expect(told({ a: from("a") })).toEqual(["sources.a.inputs.source: the source would feed itself: a → a"]);
  expect(told({ a: from("c"), b: from("a"), c: from("b"), d: from("c") })).toEqual([
    "sources.a.inputs.source: the source would feed itself: a → b → c → a",
    "sources.b.inputs.source: the source would feed itself: b → c → a → b",
    "sources.c.inputs.source: the source would feed itself: c → a → b → c",
  ]);
  expect(told({ a: from("s"), b: from("a"), c: from("b") })).toEqual([]);
});

test("what cannot be meant is told with its path", () => {
  const at = (more: JsonObject, inputs: JsonObject = window) => [
    ...problemsOf(sections({ m: model(inputs, more) })).keys(),
  ];
  expect(at({}, { ...window, features: ["t.middle", "mean", "a b.mean"] })).toEqual([
    "sources.m.inputs.features.0",
    "sources.m.inputs.features.1",
    "sources.m.inputs.features.2",
  ]);
  expect(at({}, { ...series, channels: ["x", "x"] })).toEqual(["sources.m.inputs.channels"]);
  expect(at({}, { ...series, from: "events" })).toEqual(["sources.m.inputs.from"]);
  expect(at({ outputs: {} })).toEqual(["sources.m.outputs"]);
  expect(at({ outputs: { score: { min: 2, max: 1 } } })).toEqual(["sources.m.outputs.score"]);
  expect(at({ outputs: { score: { index: -1 } } })).toEqual(["sources.m.outputs.score.index"]);
  expect(at({ normalisation: { mean: [0, 0], deviation: [1, 0] } })).toEqual([
    "sources.m.normalisation.deviation.1",
  ]);
  expect(at({ missing: "zero" })).toEqual(["sources.m.missing"]);
});

test("a run has to find room in a small store, which sources share", () => {
  const wide = model({ ...series, last: 1_000 });
  const small = { store: { maxBytes: 4_194_304 } };
  expect(told({ m: wide }, small)).toEqual([]);
  expect(told({ m: wide, n: model(window) }, small)).toEqual([
    "sources.m.inputs: store.maxBytes (4194304) has room for runs of 1310 numbers, and these are 2000",
  ]);
  expect(told({ m: wide, n: model(window) })).toEqual([]);
});
