import { checkConfig } from "../../src/config/check.ts";
import type { ModelSourceConfig } from "../../src/config/schema.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { jsonSource } from "./pipelines.ts";
import { good } from "./problems.ts";

/** A source of type `model`, checked, beside a source `s`, a window `w` and a model `m`. */
export function modelSource(source: JsonObject): ModelSourceConfig {
  const { config } = checkConfig({
    ...good,
    windows: { w: { sizeMs: 1_000 } },
    models: { m: { file: "/m.onnx" } },
    sources: { s: jsonSource("s"), fed: { type: "model", model: "m", ...source } },
  });
  const { fed } = config.sources;
  if (fed?.type !== "model") throw new Error("it is no model's");
  return fed;
}
