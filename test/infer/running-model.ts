import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Pieces } from "../../bench/onnx/protobuf.ts";
import { writeModel } from "../../bench/onnx/write-model.ts";
import { model as modelSchema } from "../../src/config/model-schema.ts";
import type { ModelConfig } from "../../src/config/schema.ts";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { type Answered, Model } from "../../src/infer/model.ts";
import { isRefusal, type Refusal } from "../../src/infer/refusal.ts";
import type { Task } from "../../src/infer/task.ts";
import { recordingLog } from "../core/recording-log.ts";
import { until } from "../support/until.ts";

export const modelConfig = (config: object): ModelConfig =>
  modelSchema.parse("remote" in config ? config : { threads: 1, ...config });

/** A model file in `folder`. */
export function modelFile(folder: string, name: string, pieces: Pieces) {
  const file = join(folder, name);
  return { file, ...writeModel(file, pieces) };
}

export const never = new AbortController().signal;

/** Minutes of patience pass in no time. */
export const impatientClock: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 20), signal),
};

/** A model that is stopped when the test is over. */
export function runningModel(
  folder: string,
  config: object,
  clock: Clock = systemClock,
  environment: NodeJS.ProcessEnv = {},
) {
  const log = recordingLog();
  const model = new Model(join(folder, "models"), environment, clock, log);
  onTestFinished(() => model.stop());
  model.configure(modelConfig(config));
  return {
    model,
    log,
    state: (state: string) =>
      until(`the model is ${state}`, () => model.status.state === state, 60_000).catch((error) => {
        throw new Error(`${error.message}; it is ${JSON.stringify(model.status)}`);
      }),
    ask: (task: Task, signal = never) => model.ask(async () => ({ task }), signal),
  };
}

/** Probabilities, or the refusal's name. */
export const probabilitiesOf = (answer: Answered | Refusal): Float32Array | string => {
  if (isRefusal(answer)) return answer.refusal;
  if (answer.outcome.kind !== "probabilities") throw new Error("these are tensors");
  return answer.outcome.probabilities;
};

/** A body of `/score` for images of one size, with numbers from `value`. */
export function scoreBody(
  shape: readonly [number, number, number, number],
  value: (i: number) => number,
): Buffer<ArrayBuffer> {
  let i = 0;
  const nested = ([size = 0, ...rest]: readonly number[]): unknown[] =>
    Array.from({ length: size }, () => (rest.length > 0 ? nested(rest) : value(i++)));
  return Buffer.from(JSON.stringify({ data: nested(shape) }));
}

export const scoreTask = (body: Uint8Array, more: object = {}): Task => ({
  kind: "score",
  body,
  form: { kind: "json" },
  normalisation: { kind: "none", mean: [], deviation: [] },
  ...more,
});
