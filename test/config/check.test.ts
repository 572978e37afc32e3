import { describe, expect, test } from "vitest";
import { checkConfig, checkTwinLayer, pipelineConfig } from "../../src/config/check.ts";
import { mergePatch } from "../../src/config/layers.ts";
import { ConfigError } from "../../src/core/errors.ts";
import type { JsonObject, JsonValue } from "../../src/core/json.ts";
import { jsonSource } from "./pipelines.ts";
import { good, paths, problemsOf } from "./problems.ts";

test("the smallest configuration gets its defaults", () => {
  const { config } = checkConfig(good);
  expect(config.sources).toEqual({});
  expect(config.store).toMatchObject({ path: "data", maxLossMs: 5_000, minCommitMs: 20 });
  expect(config.publish).toMatchObject({ maxDelayMs: 5_000, output: "readings" });
  expect(config.report).toMatchObject({ state: "on", freeRam: "on" });
});

test("the result is frozen, all the way down", () => {
  const { config } = checkConfig({
    ...good,
    sources: { s: jsonSource("s", { decode: { format: "csv", columns: ["t"] } }) },
  });
  const thawed: string[] = [];
  const walk = (value: unknown, path: string) => {
    if (typeof value !== "object" || value === null) return;
    if (!Object.isFrozen(value)) thawed.push(path);
    for (const [key, below] of Object.entries(value)) walk(below, `${path}.${key}`);
  };
  walk(config, "config");
  expect(thawed).toEqual([]);
  expect(config.sources.s).toMatchObject({ decode: { columns: ["t"] } });
});

test("what comes in is not changed and not frozen", () => {
  const input = { ...good, windows: { w: { sizeMs: 1_000 } } };
  checkConfig(input);
  expect(input).toEqual({ ...good, windows: { w: { sizeMs: 1_000 } } });
  expect(Object.isFrozen(input.windows)).toBe(false);
});

test("the hash is that of the meaning: order and written defaults do not count, values do", () => {
  const hash = (sections: JsonObject) => checkConfig({ ...good, ...sections }).hash;
  expect(hash({})).toBe(checkConfig({ hub: { type: "edge" }, gateway: { name: "box" } }).hash);
  expect(hash({ store: { maxLossMs: 5_000 } })).toBe(hash({}));
  expect(hash({ store: { maxLossMs: 5_001 } })).not.toBe(hash({}));
});

describe.each([
  ["windows", { a: { sizeMs: 1_000 }, b: { sizeMs: 1_000 } }],
  ["validate", { a: { channels: { t: { max: 5 } } }, b: { channels: { t: { max: 5 } } } }],
] as const)("the order of %s", (section, { a, b }) => {
  test("counts in the hash, because the first that matches counts", () => {
    const one = checkConfig({ ...good, [section]: { a, b } });
    const other = checkConfig({ ...good, [section]: { b, a } });
    expect(one.hash).not.toBe(other.hash);
    expect(pipelineConfig(one).hash).not.toBe(pipelineConfig(other).hash);
  });

  test("is the only one that does: keys within an entry may stand as they like", () => {
    const turned = Object.fromEntries(Object.entries({ state: "on", ...a }).reverse());
    const one = checkConfig({ ...good, [section]: { a: { state: "on", ...a } } });
    expect(checkConfig({ ...good, [section]: { a: turned } }).hash).toBe(one.hash);
  });
});

describe("problems", () => {
  test("all of the schema come at once, each with its path", () => {
    expect(
      paths({
        gatway: {},
        store: { maxLossMs: "5000", path: 7, nonsense: 1 },
        sources: {
          oven: { type: "serial", path: "/dev/a", device: "a\nb", decode: { format: "jsn" }, baudRate: 1 },
          room: { type: "telepathy" },
          hall: { path: "/dev/b" },
          cellar: { type: "serial" },
          "no spaces": jsonSource("x"),
        },
        windows: { w: { sizeMs: 1, aggregates: ["median"] } },
        validate: { v: { channels: { t: { min: 5, max: 4 } } } },
        hub: { type: "carrier-pigeon" },
      }),
    ).toEqual(
      [
        "gatway",
        "hub.type",
        "sources.cellar.decode",
        "sources.cellar.device",
        "sources.cellar.path",
        "sources.hall.type",
        "sources.no spaces",
        "sources.oven.baudRate",
        "sources.oven.decode.format",
        "sources.oven.device",
        "sources.room.type",
        "store.maxLossMs",
        "store.nonsense",
        "store.path",
        "validate.v.channels.t",
        "windows.w.aggregates.0",
        "windows.w.sizeMs",
      ].sort(),
    );
  });

  test.each([
    [{ gatway: {} }, "gatway", "gateway"],
    [{ store: { maxLosMs: 1 } }, "store.maxLosMs", "maxLossMs"],
    [{ store: { MAXLOSSMS: 1 } }, "store.MAXLOSSMS", "maxLossMs"],
    [{ sources: { s: jsonSource("s", { baudrate: 9_600 }) } }, "sources.s.baudrate", "baudRate"],
    [
      { sources: { s: jsonSource("s", { decode: { format: "csv", columms: ["a"], columns: ["a"] } }) } },
      "sources.s.decode.columms",
      "columns",
    ],
    [
      { windows: { w: { sizeMs: 1_000, allowedLateness: 0 } } },
      "windows.w.allowedLateness",
      "allowedLatenessMs",
    ],
    [
      { windows: { w: { sizeMs: 1_000, sources: ["oevn"] } }, sources: { oven: jsonSource("oven") } },
      "windows.w.sources.0",
      "oven",
    ],
  ] satisfies [JsonObject, string, string][])(
    "%j: at %s it is asked whether %s was meant",
    (sections, path, meant) => {
      const problem = problemsOf(sections).get(path);
      expect(problem?.hint).toContain("did you mean");
      expect(problem?.hint).toContain(meant);
    },
  );

  test("a key that resembles nothing lists what is known there", () => {
    const hint = problemsOf({ publish: { colour: "red" } }).get("publish.colour")?.hint;
    expect(hint).toContain("maxDelayMs");
    expect(hint).not.toContain("did you mean");
  });

  test("what is missing says so, and a hub says how", () => {
    const problems = problemsOf({}, {});
    expect([...problems.keys()].sort()).toEqual(["gateway", "hub"]);
    expect(problems.get("hub")?.hint).toBeDefined();
  });

  test.each([null, 5, "x", [], true])("%j in place of a section is a problem of that section", (value) => {
    expect(paths({ sources: value })).toEqual(["sources"]);
    expect(paths({ store: value })).toEqual(["store"]);
  });

  test("names that every object inherits are no names of entries and channels", () => {
    for (const name of ["constructor", "toString", "hasOwnProperty"]) {
      expect(paths({ sources: { [name]: jsonSource("x") } })).toEqual([`sources.${name}`]);
      expect(paths({ channels: { [name]: {} } })).toEqual([`channels.${name}`]);
      expect(paths({ calibrate: { c: { device: "d", channels: { [name]: {} } } } })).toEqual([
        `calibrate.c.channels.${name}`,
      ]);
    }
  });
});

describe("contradictions", () => {
  test("all of them come at once", () => {
    expect(
      paths({
        sources: {
          a: jsonSource("a"),
          b: { ...jsonSource("b"), path: "/dev/a" },
        },
        channels: { t: { aliases: ["x"] }, u: { aliases: ["y", "x"] } },
        calibrate: {
          one: { device: "d", channels: { t: {} } },
          two: { device: "d", channels: { u: {}, t: {} } },
        },
        windows: { w: { sizeMs: 1_000, sources: ["a", "gone"] } },
      }),
    ).toEqual(["calibrate.two.channels.t", "channels.u.aliases.1", "sources.b.path", "windows.w.sources.1"]);
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

  test("an origin is a scheme, a host and a port, or any", () => {
    const cors = (...origins: string[]) => ({ api: { cors: { origins } } });
    expect(paths(cors("https://a.example", "http://10.0.0.1:8080", "http://[::1]:3000", "*"))).toEqual([]);
    expect(paths(cors("https://a.example/", "a.example", "null"))).toEqual([
      "api.cors.origins.0",
      "api.cors.origins.1",
      "api.cors.origins.2",
    ]);
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

  test("entries that are off contradict nothing", () => {
    expect(
      paths({
        channels: { t: { aliases: ["x"] }, u: { state: "off", aliases: ["x"] } },
        calibrate: {
          one: { device: "d", channels: { t: {} } },
          two: { state: "off", device: "d", channels: { t: {} } },
        },
        windows: { w: { state: "off", sizeMs: 1_000, sources: ["gone"] } },
      }),
    ).toEqual([]);
  });

  test("one channel may list an alias twice, and a window may name a source that is off", () => {
    expect(paths({ channels: { t: { aliases: ["x", "x"] } } })).toEqual([]);
    expect(
      paths({
        sources: { s: jsonSource("s", { state: "off" }) },
        windows: { w: { sizeMs: 1_000, sources: ["s"] } },
      }),
    ).toEqual([]);
  });

  test("two devices may be calibrated alike", () => {
    const calibrate = { a: { device: "a", channels: { t: {} } }, b: { device: "b", channels: { t: {} } } };
    expect(paths({ calibrate })).toEqual([]);
  });
});

describe("sources that contradict themselves or each other", () => {
  const mqttSource = (more: JsonObject = {}): JsonObject => ({
    type: "mqtt",
    url: "mqtt://broker",
    topic: "a/+",
    decode: { format: "json" },
    device: { topicLevel: 1 },
    ...more,
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
});

test("WebSocket and proxies need the direct client", () => {
  const iothub = { type: "iothub", connectionString: { env: "X" } };
  const way = { transport: "websocket", proxy: "http://proxy:3128" };
  expect(paths({ hub: { ...iothub, ...way } })).toEqual([]);
  expect(paths({ hub: { ...iothub, ...way, client: "sdk" } })).toEqual(["hub.proxy", "hub.transport"]);
  expect(paths({ hub: { type: "edge", transport: "websocket", client: "sdk" } })).toEqual(["hub.transport"]);
  // A password would stand in the configuration.
  expect(paths({ hub: { ...iothub, proxy: "http://user:word@proxy:3128" } })).toEqual(["hub.proxy"]);
});

describe("bounds that depend on each other", () => {
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

  test("a window keeps at most a thousand of its size for late readings, on the border to the millisecond", () => {
    const sections = (allowedLatenessMs: number, state = "on"): JsonObject => ({
      windows: { w: { sizeMs: 1_000, allowedLatenessMs, state } },
    });
    expect(paths(sections(1_000_000))).toEqual([]);
    expect(paths(sections(1_000_001))).toEqual(["windows.w.allowedLatenessMs"]);
    expect(problemsOf(sections(1_000_001)).get("windows.w.allowedLatenessMs")?.hint).toBeDefined();
    expect(paths(sections(1_000_001, "off"))).toEqual([]);
  });
});

describe("the twin's layer", () => {
  test("must not touch store and api", () => {
    expect(
      checkTwinLayer({ store: {}, api: {}, hub: {}, windows: {} })
        .map((p) => p.path)
        .sort(),
    ).toEqual(["api", "store"]);
    expect(checkTwinLayer({ windows: {}, sources: {} })).toEqual([]);
    const sources = {
      a: { listen: "tcp://0.0.0.0:5000" },
      b: { connect: "tcp://a:1" },
      c: { mode: "666" },
      d: null,
    };
    expect(checkTwinLayer({ sources }).map((p) => p.path)).toEqual(["sources.a.listen", "sources.c.mode"]);
  });
});

describe("a key named __proto__", () => {
  const poison = '{"__proto__": {"polluted": true, "state": "off", "type": "edge", "sizeMs": 1}';
  const at: [string, string][] = [
    ["at the top", `${poison}, "gateway": {"name": "box"}, "hub": {"type": "edge"}}`],
    ["in a section", `{"gateway": {"name": "box"}, "hub": {"type": "edge"}, "store": ${poison}}}`],
    ["among sources", `{"gateway": {"name": "box"}, "hub": {"type": "edge"}, "sources": ${poison}}}`],
    ["among channels", `{"gateway": {"name": "box"}, "hub": {"type": "edge"}, "channels": ${poison}}}`],
    [
      "in a window",
      `{"gateway": {"name": "box"}, "hub": {"type": "edge"}, "windows": {"w": ${poison}, "sizeMs": 1000}}}`,
    ],
    [
      "among ranges",
      `{"gateway": {"name": "box"}, "hub": {"type": "edge"}, "validate": {"v": {"channels": ${poison}}}}}`,
    ],
    ["in the hub", `{"gateway": {"name": "box"}, "hub": ${poison}}}`],
    [
      "in the gateway",
      `{"gateway": {"name": "box", "x": 0}, "hub": {"type": "edge"}, "publish": ${poison}}}`,
    ],
  ];

  test.each(at)("%s is refused, or changes nothing", (_, text) => {
    const layer = mergePatch({}, JSON.parse(text));
    let config: unknown;
    try {
      ({ config } = checkConfig(layer));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
    }
    expect({}).not.toHaveProperty("polluted");
    const walk = (value: unknown) => {
      if (typeof value !== "object" || value === null) return;
      expect([Object.prototype, Array.prototype, null]).toContain(Object.getPrototypeOf(value));
      expect(Object.keys(value)).not.toContain("__proto__");
      for (const below of Object.values(value)) walk(below);
    };
    walk(config);
  });
});
