import { expect, test } from "vitest";
import { compileStages } from "../src/compiled-stages.ts";
import { jsonSource, pipelineOf } from "./config/pipelines.ts";

test("a unit of a source's own channel wins over the unit of all channels of that name", () => {
  const plc = {
    type: "modbus",
    transport: "tcp",
    host: "plc",
    device: "press",
    registers: { pressure: { address: 0, unit: "bar", max: 10 }, temp: { address: 1 } },
  };
  const channels = { pressure: { unit: "hPa" }, temperature: { unit: "°C", aliases: ["temp"] } };
  const validate = { climate: { channels: { pressure: { min: 600, max: 1_600 } } } };
  const config = pipelineOf({ sources: { plc, yard: jsonSource("yard") }, channels, validate });
  const { context, validate: judge } = compileStages("", config, 0);
  expect(context.unitOf("plc", "pressure")).toBe("bar");
  expect(context.unitOf("plc", "temperature")).toBe("°C");
  expect(context.unitOf("yard", "pressure")).toBe("hPa");
  const quality = (source: string, value: number) =>
    judge({ device: "any", timeMs: 0, values: [{ channel: "pressure", value }] }, source).values[0]?.quality;
  expect([quality("plc", 6), quality("plc", 11)]).toEqual(["good", "bad"]);
  expect([quality("yard", 6), quality("yard", 1_000)]).toEqual(["bad", "good"]);
});
