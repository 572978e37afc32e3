import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { checkConfig } from "../config/check.ts";
import { layersBelowTwin, storePath } from "../config/configuration.ts";
import { model as modelSchema } from "../config/model-schema.ts";
import type { ModelConfig } from "../config/schema.ts";
import { systemClock } from "../core/clock.ts";
import { ConfigError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { type Classification, classify } from "../infer/classify.ts";
import { Images } from "../infer/images.ts";
import { Model } from "../infer/model.ts";
import { isRefusal } from "../infer/refusal.ts";
import { exitCode } from "./exit-code.ts";

interface Options {
  readonly config?: string;
  readonly model?: string;
  readonly labels?: string;
  readonly top: string;
  readonly json?: boolean;
}

/** Beyond it nothing is read that is called an image. */
const maxImageBytes = 268_435_456;
const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

/** `headgate classify IMAGE`: what it shows, by a model that is loaded here; no daemon is asked. */
export async function classifyFile(file: string, options: Options): Promise<void> {
  const k = Number(options.top);
  if (!Number.isInteger(k) || k < 1) throw invalid("--top", "must be a whole number from 1");
  const { config, folder } = chosen(options);
  const bytes = imageBytes(file);
  const model = new Model(folder, process.env, systemClock, silent);
  model.configure(config);
  try {
    const { signal } = new AbortController();
    while (model.status.state === "loading") await systemClock.sleep(20);
    const { state, reason = "the model is not loaded" } = model.status;
    if (state !== "ready") {
      process.stderr.write(`headgate: ${reason}\n`);
      process.exitCode = exitCode.crashed;
      return;
    }
    const found = await classify(model, new Images(), bytes, k, signal);
    if (isRefusal(found)) {
      process.stderr.write(`headgate: ${file}: ${found.message}\n`);
      process.exitCode = exitCode.crashed;
    } else process.stdout.write(options.json ? `${JSON.stringify(found)}\n` : lines(found));
  } finally {
    await model.stop();
  }
}

/** A file of a model, when the name looks like one, or an entry of the configuration. */
function chosen({ config: configFile, model, labels }: Options): { config: ModelConfig; folder: string } {
  const layers = layersBelowTwin(configFile, process.env);
  const folder = join(storePath(layers), "models");
  if (model?.endsWith(".onnx"))
    return { config: modelSchema.parse({ file: model, ...(labels ? { labels } : {}) }), folder };
  const { models } = checkConfig(layers).config;
  const names = Object.keys(models).filter((name) => models[name]?.state === "on");
  const name = model ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined)
    throw invalid("--model", `name one of ${names.join(", ") || "none that are configured"}`);
  const found = names.includes(name) ? models[name] : undefined;
  if (!found) throw invalid("--model", `there is no model ${name}; a file of one ends with .onnx`);
  return { config: labels ? { ...found, labels } : found, folder };
}

function imageBytes(file: string): Buffer {
  const { size } = statSync(file);
  if (size > maxImageBytes) throw invalid(file, `has more than ${maxImageBytes} bytes`);
  return readFileSync(file);
}

const invalid = (path: string, message: string) => new ConfigError("CONFIG_INVALID", [{ path, message }]);

function lines({ labels, image, times }: Classification): string {
  const told = labels.map(
    ({ index, label, probability }) =>
      `${(100 * probability).toFixed(2).padStart(6)} %  ${label ?? `class ${index}`}`,
  );
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const how = `${image.width} × ${image.height}, decoded in ${ms(times.decodeMs)}, scored in ${ms(times.scoreMs)}`;
  return `${[...told, how].join("\n")}\n`;
}
