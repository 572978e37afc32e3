import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import { defaultLayer, environmentLayer, mergePatch } from "../../src/config/layers.ts";
import type { JsonObject, JsonValue } from "../../src/core/json.ts";

describe("merging a patch", () => {
  test.each([
    ["objects merge", { a: { x: 1, y: 2 } }, { a: { y: 3 } }, { a: { x: 1, y: 3 } }],
    ["null removes", { a: 1, b: 2 }, { a: null }, { b: 2 }],
    ["null below removes there", { a: { x: 1, y: 2 } }, { a: { x: null } }, { a: { y: 2 } }],
    ["null of what is not there is nothing", {}, { a: null, b: { c: null } }, { b: {} }],
    ["an array replaces", { a: [1, 2, 3] }, { a: [4] }, { a: [4] }],
    ["a value replaces an object", { a: { x: 1 } }, { a: 5 }, { a: 5 }],
    ["an object replaces a value", { a: 5 }, { a: { x: 1 } }, { a: { x: 1 } }],
    ["an empty patch changes nothing", { a: { x: 1 } }, {}, { a: { x: 1 } }],
  ] satisfies [string, JsonObject, JsonObject, JsonObject][])("%s", (_, base, patch, expected) => {
    expect(mergePatch(base, patch)).toEqual(expected);
  });

  test("leaves both as they were", () => {
    const base = { a: { x: 1 } };
    const patch = { a: { x: null, y: { z: 2 } } };
    mergePatch(base, patch);
    expect([base, patch]).toEqual([{ a: { x: 1 } }, { a: { x: null, y: { z: 2 } } }]);
  });

  test("a key named __proto__ stays a key, to be refused by name", () => {
    const merged = mergePatch({ a: 1 }, JSON.parse('{"__proto__": {"polluted": true}}'));
    expect(Object.keys(merged)).toEqual(["a", "__proto__"]);
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect({}).not.toHaveProperty("polluted");
  });

  test("any patch leaves no null behind, and a second time changes nothing", () => {
    const { object } = fc.letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
      value: fc.oneof({ depthSize: "small" }, fc.constantFrom<JsonValue>(null, 0, "x", true), tie("object")),
      object: fc.dictionary(fc.constantFrom("a", "b", "__proto__", "constructor"), tie("value"), {
        noNullPrototype: true,
      }),
    }));
    const holdsNull = (value: JsonValue): boolean =>
      value === null || (typeof value === "object" && Object.values(value).some(holdsNull));
    fc.assert(
      fc.property(object, object, (base, patch) => {
        const once = mergePatch(mergePatch({}, base), patch);
        expect(holdsNull(once)).toBe(false);
        expect(mergePatch(once, patch)).toEqual(once);
      }),
    );
  });
});

describe("the environment's layer", () => {
  test("takes its own names only; a value that is JSON is taken as such, else as text", () => {
    expect(
      environmentLayer({
        PATH: "/bin",
        HEADGATE_store__path: "no",
        HEADGATE__store__path: "/data",
        HEADGATE__store__maxLossMs: "200",
        HEADGATE__windows__w__aggregates: '["mean"]',
        HEADGATE__gateway__name: '"4711"',
        HEADGATE__report__freeRam: "off",
      }),
    ).toEqual({
      store: { path: "/data", maxLossMs: 200 },
      windows: { w: { aggregates: ["mean"] } },
      gateway: { name: "4711" },
      report: { freeRam: "off" },
    });
  });

  test("a whole section and a part of it meet in order of their names", () => {
    expect(
      environmentLayer({
        HEADGATE__store__maxLossMs: "200",
        HEADGATE__store: '{"path": "x", "maxLossMs": 1}',
      }),
    ).toEqual({ store: { path: "x", maxLossMs: 200 } });
  });

  test("an empty value is empty text", () => {
    expect(environmentLayer({ HEADGATE__store__path: "" })).toEqual({ store: { path: "" } });
  });

  test("no name of a variable reaches a prototype", () => {
    environmentLayer({ HEADGATE____proto____polluted: "1", HEADGATE__a____proto__: '{"polluted": 1}' });
    expect({}).not.toHaveProperty("polluted");
  });
});

describe("the default layer", () => {
  test("names the box by the device it is, and finds the edge hub by itself", () => {
    expect(defaultLayer({ IOTEDGE_DEVICEID: "line-4", IOTEDGE_WORKLOADURI: "unix:///x" })).toMatchObject({
      gateway: { name: "line-4" },
      hub: { type: "edge" },
    });
    expect(defaultLayer({ EdgeHubConnectionString: "x" })).toHaveProperty("hub");
    expect(defaultLayer({})).not.toHaveProperty("hub");
  });

  test("is good as it stands, with a hub", () => {
    const { config } = checkConfig(
      mergePatch(defaultLayer({ IOTEDGE_DEVICEID: "d" }), { hub: { type: "edge" } }),
    );
    expect(config.validate.climate?.channels.temperature).toEqual({ min: -40, max: 80 });
    expect(config.channels.temperature?.aliases).toContain("temp");
  });

  test("a default is hidden with off, changed in part, and an alias taken over by another is a contradiction", () => {
    const merged = mergePatch(mergePatch(defaultLayer({}), { hub: { type: "edge" } }), {
      validate: { climate: { state: "off" } },
      channels: { temperature: { unit: "K" } },
    });
    const { config } = checkConfig(merged);
    expect(config.validate.climate?.state).toBe("off");
    expect(config.channels.temperature).toMatchObject({ unit: "K" });
    expect(config.channels.temperature?.aliases).toContain("temp");
  });
});
