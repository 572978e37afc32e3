import { describe, expect, test } from "vitest";
import type { JsonObject, JsonValue } from "../../src/core/json.ts";
import { jsonSource } from "./pipelines.ts";
import { paths, problemsOf } from "./problems.ts";

describe("sources that contradict themselves or each other", () => {
  const mqttSource = (more: JsonObject = {}): JsonObject => ({
    type: "mqtt",
    url: "mqtt://broker",
    topic: "a/+",
    decode: { format: "json" },
    device: { topicLevel: 1 },
    ...more,
  });

  test("two sources may name one port when one of them is off", () => {
    const twice = (state: string): JsonObject => ({
      sources: { a: jsonSource("a"), b: { ...jsonSource("b"), path: "/dev/a", state } },
    });
    expect(paths(twice("off"))).toEqual([]);
    expect(problemsOf(twice("on")).get("sources.b.path")?.hint).toBeDefined();
  });

  test("two sources may not read one chip, and a chip is at an address that it can have", () => {
    const chip = (more: JsonObject = {}) => ({ type: "i2c", driver: "bme280", device: "d", ...more });
    expect(paths({ sources: { a: chip(), b: chip({ address: "0x77" }), c: chip({ bus: 0 }) } })).toEqual([]);
    // The default, as a number and as a text.
    expect(paths({ sources: { a: chip(), b: chip({ address: 118 }) } })).toEqual(["sources.b.address"]);
    expect(paths({ sources: { a: chip(), b: chip({ address: "0x76" }) } })).toEqual(["sources.b.address"]);
    expect(
      problemsOf({ sources: { a: chip({ address: "0x40" }) } }).get("sources.a.address")?.hint,
    ).toContain("0x76");
    expect(paths({ sources: { a: chip({ options: { oversampling: 3 } }) } })).toEqual([
      "sources.a.options.oversampling",
    ]);
    expect(paths({ sources: { a: chip({ options: { gain: 3 } }) } })).toEqual(["sources.a.options.gain"]);
  });

  test("what names a device, a time or a channel must be there to be read", () => {
    const yard = (more: JsonObject) => ({
      sources: { yard: { type: "mqtt", url: "mqtt://b", topic: "a/#", device: "d", ...more } },
    });
    const value = { format: "value" };
    expect(paths(yard({ decode: value }))).toEqual(["sources.yard.decode.channel"]);
    expect(paths(yard({ decode: { ...value, channel: "t" } }))).toEqual([]);
    const device = { template: "a/{device}/{channel}" };
    expect(paths(yard({ decode: value, device }))).toEqual([]);
    // What was captured has its topic, too.
    const replay = { type: "replay", path: "/c", decode: value, device };
    expect(paths({ sources: { replay } })).toEqual([]);
    expect(paths(yard({ decode: value, device: { template: "a/{device}/+" } }))).toEqual([
      "sources.yard.decode.channel",
    ]);
    const fields = { "{channel}": "$.v", at: "$.t" };
    expect(paths(yard({ decode: { format: "json", fields }, device }))).toEqual([]);
    expect(paths(yard({ decode: { format: "json", fields } }))).toEqual([
      "sources.yard.decode.fields.{channel}",
    ]);
    const mapped = { format: "json", fields: { t: "$.t" }, time: { field: "at" } };
    expect(paths(yard({ decode: mapped, device: { field: "id" } }))).toEqual([
      "sources.yard.decode.time.field",
      "sources.yard.device.field",
    ]);
    expect(paths(yard({ decode: { format: "json", fields: { t: "$..t" } } }))).toEqual([
      "sources.yard.decode.fields.t",
    ]);
  });

  test.each([
    "a/+/b",
    "a/{device}/{device}",
    "{device}{channel}",
    "a/{device}/#/b",
    "a/{device}/x+",
    "a/{device",
    "{device}/{other}",
  ])("%s is no template of a topic", (template) => {
    const decode = { format: "json" };
    const yard = { type: "mqtt", url: "mqtt://b", topic: "a/#", device: { template }, decode };
    expect(paths({ sources: { yard } })).toContainEqual(expect.stringContaining("sources.yard.device"));
  });

  test("a chip of a map of registers may be at any address, and has to be at one", () => {
    const chip = (address?: JsonValue, options: JsonObject = { registers: { t: { register: "0x05" } } }) => ({
      type: "i2c",
      driver: "i2c-register",
      device: "d",
      ...(address === undefined ? {} : { address }),
      options,
    });
    expect(paths({ sources: { a: chip(3), b: chip("0x77"), c: chip("0x0f") } })).toEqual([]);
    for (const address of [undefined, 2, "0x02", 0x78, "0x78", "76"])
      expect(paths({ sources: { a: chip(address) } })).toEqual(["sources.a.address"]);
    const room = { type: "i2c", driver: "bme280", device: "d" };
    expect(paths({ sources: { a: chip("0x76"), room } })).toEqual(["sources.room.address"]);
    expect(paths({ sources: { a: chip(3, {}) } })).toEqual(["sources.a.options.registers"]);
    expect(paths({ sources: { a: chip(3, { registers: {} }) } })).toEqual(["sources.a.options.registers"]);
  });

  test("what a driver's options contradict among themselves is told with its path", () => {
    const meter = (options: JsonObject) => ({ type: "i2c", driver: "ina219", device: "d", options });
    expect(paths({ sources: { a: meter({}), b: { ...meter({}), address: "0x41" } } })).toEqual([]);
    expect(paths({ sources: { a: meter({ shuntOhms: 0.1, maxAmps: 5 }) } })).toEqual([
      "sources.a.options.maxAmps",
    ]);
    expect(paths({ sources: { a: { ...meter({ maxAmps: 5 }), state: "off" } } })).toEqual([]);
  });

  test("two sources may not read one thermometer, and an id is that of a thermometer", () => {
    const wire = (id: string, more: JsonObject = {}) => ({ type: "oneWire", id, device: "d", ...more });
    const id = "28-0316a2795f3d";
    expect(paths({ sources: { a: wire(id), b: wire("10-0316a2795f3d") } })).toEqual([]);
    expect(paths({ sources: { a: wire(id), b: wire(id) } })).toEqual(["sources.b.id"]);
    expect(paths({ sources: { a: wire(id), b: wire(id, { root: "/mnt/w1" }) } })).toEqual([]);
    for (const wrong of ["29-0316a2795f3d", "28-0316A2795F3D", "28-1", "../28-0316a2795f3d"])
      expect(paths({ sources: { a: wire(wrong) } })).toEqual(["sources.a.id"]);
  });

  test("a source of pictures has a model that is on, tells something, and has its folder for itself", () => {
    const camera = (more: JsonObject = {}) => ({
      type: "imageFolder",
      folder: "/d",
      model: "zoo",
      device: "c",
      ...more,
    });
    const of = (sources: JsonObject, zoo: JsonObject = { file: "/m.onnx" }) =>
      paths({ models: { zoo, other: { file: "/o.onnx" } }, sources });
    expect(of({ a: camera(), b: camera({ folder: "/e" }) })).toEqual([]);
    expect(of({ a: camera({ model: "zo" }) })).toEqual(["sources.a.model"]);
    expect(of({ a: camera() }, { file: "/m.onnx", state: "off" })).toEqual(["sources.a.model"]);
    expect(of({ a: camera({ model: "zo", state: "off" }) })).toEqual([]);
    expect(of({ a: camera({ top: 0 }) })).toEqual(["sources.a.top"]);
    expect(of({ a: camera({ top: 0, labels: ["person"] }) })).toEqual([]);
    const upload = { hosts: ["blobs.example", "127.0.0.1:10000"] };
    expect(of({ a: camera({ keep: {}, upload }) })).toEqual([]);
    expect(of({ a: camera({ upload }) })).toEqual(["sources.a.upload"]);
    expect(of({ a: camera({ keep: {}, upload: { hosts: ["https://blobs.example"] } }) })).toEqual([
      "sources.a.upload.hosts.0",
    ]);
    expect(of({ a: camera(), b: camera({ folder: "/x/../d/" }) })).toEqual(["sources.b.folder"]);
    const url = { type: "imageUrl", url: "https://cam/s.jpg", model: "zoo", device: "c" };
    expect(of({ a: url, b: url })).toEqual([]);
    expect(of({ a: { ...url, model: "zo" } })).toEqual(["sources.a.model"]);
    for (const wrong of ["ftp://cam/s.jpg", "http://me:secret@cam/s.jpg", "cam/s.jpg"])
      expect(of({ a: { ...url, url: wrong } })).toEqual(["sources.a.url"]);
  });

  test("a condition for pictures is of alarms, and of a device or a source that is there", () => {
    const camera = { type: "imageUrl", url: "http://cam/s.jpg", model: "zoo", device: "c" };
    const of = (when: JsonObject, alarms: JsonObject = {}) =>
      paths({ models: { zoo: { file: "/m.onnx" } }, alarms, sources: { a: { ...camera, when } } });
    expect(of({ device: "oven-1", channel: "temperature", alarm: "bad" })).toEqual([]);
    expect(of({ source: "a" })).toEqual([]);
    expect(of({ source: "b" })).toEqual(["sources.a.when.source"]);
    expect(of({ channel: "temperature" })).toEqual(["sources.a.when"]);
    expect(of({ device: "oven-1" }, { state: "off" })).toEqual(["sources.a.when"]);
  });

  test("pictures that are moved go elsewhere", () => {
    const moved = (more: JsonObject) => {
      const a = { type: "imageFolder", folder: "/d", model: "zoo", device: "c", ...more };
      return paths({ models: { zoo: { file: "/m.onnx" } }, sources: { a } });
    };
    expect(moved({ afterwards: "move", moveTo: "/d/done" })).toEqual([]);
    for (const moveTo of ["/d", "/d/", "/d/rejected", "/d/x/../rejected/y"])
      expect(moved({ afterwards: "move", moveTo })).toEqual(["sources.a.moveTo"]);
    expect(moved({ afterwards: "move" })).toEqual(["sources.a.moveTo"]);
    expect(moved({ moveTo: "/e" })).toEqual(["sources.a.moveTo"]);
  });

  test("a replay decodes as its capture's source did, and its frames fit into the queue", () => {
    const replay = (decode: JsonObject, more: JsonObject = {}) => ({
      a: { type: "replay", path: "c.jsonl", decode, device: "d", ...more },
    });
    const chip = { format: "driver", driver: "bme280" };
    expect(paths({ sources: replay(chip) })).toEqual([]);
    expect(paths({ sources: replay({ ...chip, driver: "ds18b20" }) })).toEqual([]);
    expect(paths({ sources: replay({ ...chip, driver: "none" }) })).toEqual(["sources.a.decode.driver"]);
    expect(paths({ sources: replay({ ...chip, options: { oversampling: 3 } }) })).toEqual([
      "sources.a.decode.options.oversampling",
    ]);
    // What was asked for has no time of its own.
    expect(paths({ sources: replay(chip, { dedupe: { by: "timestamp" } }) })).toEqual([
      "sources.a.dedupe.by",
    ]);
    const store = { maxQueueBytes: 70_000 };
    expect(paths({ sources: replay(chip), store })).toEqual(["sources.a.maxFrameBytes"]);
  });

  test("a source of type http needs the API, unless it is off", () => {
    const yard = { type: "http", decode: { format: "json" }, device: "d" };
    const api = { state: "off" };
    expect(paths({ sources: { yard }, api })).toEqual(["sources.yard.type"]);
    expect(paths({ sources: { yard: { ...yard, state: "off" } }, api })).toEqual([]);
    expect(paths({ sources: { yard } })).toEqual([]);
  });

  test("a payload must fit twice into the queue: one that never fits would be waited for for ever", () => {
    const sections = (maxPayloadBytes: number): JsonObject => ({
      store: { maxQueueBytes: 100_000 },
      sources: { m: mqttSource({ maxPayloadBytes }) },
    });
    expect(paths(sections(50_000))).toEqual([]);
    expect(paths(sections(50_001))).toEqual(["sources.m.maxPayloadBytes"]);
  });

  test("so must what is read from many files of the kernel", () => {
    const sections = (count: number): JsonObject => ({
      store: { maxQueueBytes: 65_536 },
      sources: {
        s: {
          type: "sysfs",
          chip: "nct6775",
          files: Object.fromEntries(
            Array.from({ length: count }, (_, i) => [`t${i}`, { path: `temp${i}_input` }]),
          ),
          device: "d",
        },
      },
    });
    expect(paths(sections(26))).toEqual([]);
    expect(paths(sections(28))).toEqual(["sources.s.files"]);
  });

  test("an input goes to one source, and only a hub that has inputs brings messages", () => {
    const line = (more: JsonObject = {}): JsonObject => ({
      type: "hub",
      input: "line",
      decode: { format: "json" },
      device: { property: "$.cmid" },
      ...more,
    });
    const { input: _, ...rest } = line();
    const edge = { type: "edge" };
    expect(paths({ hub: edge, sources: { a: line(), b: line({ input: "other" }), rest } })).toEqual([]);
    expect(paths({ hub: edge, sources: { a: line(), b: line() } })).toEqual(["sources.b.input"]);
    expect(paths({ hub: edge, sources: { rest, b: rest } })).toEqual(["sources.b.input"]);
    expect(paths({ hub: edge, sources: { a: line({ input: "a/b" }) } })).toEqual(["sources.a.input"]);
    const mqtt = { type: "mqtt", url: "mqtt://broker" };
    expect(paths({ hub: mqtt, sources: { a: line() } })).toEqual(["sources.a.type"]);
  });

  test("two connections of one client id at one broker would throw each other out", () => {
    const two = (a: JsonObject, b: JsonObject, hub: JsonObject = { type: "edge" }) =>
      paths({ hub, sources: { a: mqttSource(a), b: mqttSource(b) } });
    expect(two({}, {})).toEqual([]);
    expect(two({ clientId: "x" }, { clientId: "x" })).toEqual(["sources.b.clientId"]);
    expect(two({ clientId: "headgate-box-b" }, {})).toEqual(["sources.b.clientId"]);
    expect(two({ clientId: "x" }, { clientId: "x", url: "mqtt://other" })).toEqual([]);
    expect(two({ clientId: "x" }, { clientId: "x", state: "off" })).toEqual([]);
    const hub = { type: "mqtt", url: "mqtt://broker" };
    expect(two({ clientId: "headgate-box" }, {}, hub)).toEqual(["sources.a.clientId"]);
  });

  test("repeats cannot be told by a time that readings do not have", () => {
    const dedupe = { by: "timestamp" };
    expect(paths({ sources: { s: jsonSource("s", { dedupe }) } })).toEqual(["sources.s.dedupe.by"]);
    const decode = { format: "json", time: { field: "t" } };
    expect(paths({ sources: { s: jsonSource("s", { dedupe, decode }) } })).toEqual([]);
  });

  test("a line must fit twice into the queue, on the border to the byte", () => {
    const sections = (maxBytes: number, state = "on"): JsonObject => ({
      store: { maxQueueBytes: 100_000 },
      sources: { s: jsonSource("s", { framing: { kind: "lines", maxBytes }, state }) },
    });
    expect(paths(sections(50_000))).toEqual([]);
    expect(paths(sections(50_001))).toEqual(["sources.s.framing.maxBytes"]);
    expect(problemsOf(sections(50_001)).get("sources.s.framing.maxBytes")?.hint).toBeDefined();
    expect(paths(sections(50_001, "off"))).toEqual([]);
  });

  test("of a small store, a line must fit twice into the eighth that may wait", () => {
    const sections = (maxBytes: number): JsonObject => ({
      store: { maxBytes: 4_194_304 },
      sources: { s: jsonSource("s", { framing: { kind: "lines", maxBytes } }) },
    });
    expect(paths(sections(262_144))).toEqual([]);
    expect(paths(sections(262_145))).toEqual(["sources.s.framing.maxBytes"]);
    expect(problemsOf(sections(262_145)).get("sources.s.framing.maxBytes")?.hint).toContain("store.maxBytes");
  });
});
