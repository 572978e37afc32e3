import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import type { PipelineConfig } from "../../src/config/schema.ts";
import type { JsonObject } from "../../src/core/json.ts";

/** What the pipeline gets from a configuration with these sections. */
export function pipelineOf(sections: JsonObject): PipelineConfig {
  return pipelineConfig(checkConfig({ gateway: { name: "box" }, hub: { type: "edge" }, ...sections }));
}

/** A serial source of JSON lines that is stamped on receipt. */
export function jsonSource(name: string, more: JsonObject = {}): JsonObject {
  return { type: "serial", path: `/dev/${name}`, decode: { format: "json" }, device: `${name}-1`, ...more };
}
