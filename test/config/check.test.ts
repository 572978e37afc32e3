import { describe, expect, test } from "vitest";
import { checkConfig, checkTwinLayer, pipelineConfig } from "../../src/config/check.ts";
import { mergePatch } from "../../src/config/layers.ts";
import { ConfigError } from "../../src/core/errors.ts";
import type { JsonObject } from "../../src/core/json.ts";
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

  test("an origin is a scheme, a host and a port, or any", () => {
    const cors = (...origins: string[]) => ({ api: { cors: { origins } } });
    expect(paths(cors("https://a.example", "http://10.0.0.1:8080", "http://[::1]:3000", "*"))).toEqual([]);
    expect(paths(cors("https://a.example/", "a.example", "null"))).toEqual([
      "api.cors.origins.0",
      "api.cors.origins.1",
      "api.cors.origins.2",
    ]);
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

test.each(["http://cam:99999/x.jpg", "http://[x/", "http://a b/"])(
  "%s is refused wherever a URL stands",
  (url) => {
    const camera = { type: "imageUrl", device: "d", model: "zoo", intervalMs: 1_000, url };
    const broker = `mqtt${url.slice("http".length)}`;
    const hub = { type: "iothub", connectionString: { env: "A" } };
    const places: [string, JsonObject][] = [
      ["sources.s.url", { models: { zoo: { file: "/m.onnx" } }, sources: { s: camera } }],
      ["sources.s.url", { sources: { s: jsonSource("s", { type: "mqtt", url: broker, topic: "t" }) } }],
      ["sentiment.url", { sentiment: { url } }],
      ["models.zoo.url", { models: { zoo: { url: `${url}/`, sha256: "0".repeat(64) } } }],
      ["hub.url", { hub: { type: "mqtt", url: broker } }],
      ["hub.proxy", { hub: { ...hub, proxy: url.replace("x.jpg", "") } }],
    ];
    for (const [path, sections] of places)
      expect([path, problemsOf(sections).get(path)?.message]).toEqual([path, "is no URL"]);
  },
);
