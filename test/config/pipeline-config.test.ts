import { describe, expect, test } from "vitest";
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { jsonSource } from "./pipelines.ts";

const good: JsonObject = { gateway: { name: "box" }, hub: { type: "edge" } };

describe("what the pipeline gets", () => {
  test("leaves out entries that are off, and what only a port needs", () => {
    const checked = checkConfig({
      ...good,
      sources: { s: jsonSource("s", { intervalMs: 100 }), off: jsonSource("off", { state: "off" }) },
      channels: { t: { state: "off" } },
      windows: { w: { sizeMs: 1_000 }, x: { state: "off", sizeMs: 1_000 } },
    });
    const pipeline = pipelineConfig(checked);
    expect(pipeline.sources).toEqual({
      s: {
        decode: { format: "json", ignore: [] },
        device: "s-1",
        dedupe: { by: "none" },
        idleMs: 10_000,
        intervalMs: 100,
        silentMs: 10_000,
      },
    });
    expect(Object.keys(pipeline.windows)).toEqual(["w"]);
    expect(pipeline.channels).toEqual({});
  });

  test("says after which silence a device is an alarm, and whether there are any", () => {
    const silentMs = (source: JsonObject) =>
      pipelineConfig(checkConfig({ ...good, sources: { s: jsonSource("s", source) } })).sources.s?.silentMs;
    expect([
      silentMs({}),
      silentMs({ intervalMs: 100 }),
      silentMs({ intervalMs: 60_000 }),
      silentMs({ intervalMs: 60_000, silentMs: 0 }),
      silentMs({ silentMs: 500 }),
    ]).toEqual([undefined, 10_000, 600_000, undefined, 500]);
    const alarms = (section: JsonObject) => pipelineConfig(checkConfig({ ...good, alarms: section })).alarms;
    expect([alarms({}), alarms({ state: "off" })]).toEqual([{ minSpacingMs: 10_000 }, undefined]);
  });

  test("has a hash of its own: a baud rate does not change it, a calibration does", () => {
    const hash = (source: JsonObject, sections: JsonObject = {}) =>
      pipelineConfig(checkConfig({ ...good, sources: { s: jsonSource("s", source) }, ...sections })).hash;
    expect(hash({ baudRate: 9_600 })).toBe(hash({}));
    expect(hash({ device: "other" })).not.toBe(hash({}));
    expect(hash({}, { calibrate: { c: { device: "d", channels: { t: { slope: 2 } } } } })).not.toBe(hash({}));
  });
});
