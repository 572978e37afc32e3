import { type FeedPlan, scoreFeed } from "./feed-task.ts";
import { type Normalisation, normalise, planesOf } from "./normalisation.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import { readScoreBody, type ScoreForm } from "./score-body.ts";
import type { Session, Tensors } from "./session.ts";
import { softmax } from "./softmax.ts";
import { fits, isElementType, shapeText, sizeOf, type TensorInfo } from "./tensor.ts";
import { readV2, type V2Answer, writeV2 } from "./v2-message.ts";

/** What a model's thread can be asked for. Everything that takes long is in it, and off the main thread. */
export type Task =
  /** A body with the numbers of images, as `/score` takes it. */
  | {
      readonly kind: "score";
      readonly body: Uint8Array;
      readonly form: ScoreForm;
      readonly normalisation: Normalisation;
    }
  /** An image of the model's size, as bytes of height × width × RGB. */
  | { readonly kind: "pixels"; readonly pixels: Uint8Array; readonly normalisation: Normalisation }
  /** A request of the V2 protocol for the model of this name; `jsonBytes` as `readV2` has it. */
  | {
      readonly kind: "v2";
      readonly body: Uint8Array;
      readonly jsonBytes?: number | undefined;
      readonly model: string;
    }
  /** Numbers that readings gave. */
  | { readonly kind: "feed"; readonly numbers: readonly number[]; readonly plan: FeedPlan };

export type Outcome =
  | {
      readonly kind: "probabilities";
      /** A row of `classes` for each image. */
      readonly probabilities: Float32Array;
      readonly classes: number;
      /** Reading, normalising, running and soft-max. */
      readonly totalMs: number;
      readonly runMs: number;
    }
  /** The answer of the V2 protocol. */
  | ({ readonly kind: "v2" } & V2Answer)
  /** By channel, each finite. */
  | { readonly kind: "values"; readonly values: Readonly<Record<string, number>> }
  | Refusal;

/** @throws Error of the runtime */
export async function perform(
  session: Session,
  task: Task,
  nowMs: () => number,
  signal: AbortSignal,
): Promise<Outcome> {
  const beganMs = nowMs();
  if (task.kind === "feed") return await scoreFeed(session, task.numbers, task.plan, signal);
  if (task.kind !== "v2") {
    const images = imagesOf(session, task);
    return isRefusal(images) ? images : await score(session, images, beganMs, nowMs, signal);
  }
  if (session.kind === "scorer")
    return refuse(
      "unsuitableModel",
      "behind this model is a scorer of images; ask it by /score or /classify",
    );
  const request = readV2(task.body, task.jsonBytes);
  if (isRefusal(request)) return request;
  const refusal = misfit(session, request.feeds, request.outputs);
  if (refusal) return refusal;
  const results = await session.run(request.feeds, request.outputs, signal);
  if (isRefusal(results)) return results;
  return { kind: "v2", ...writeV2(task.model, request, results.tensors) };
}

/** Images as the model takes them. */
export interface Images {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export function imagesOf(session: Session, task: Exclude<Task, { kind: "v2" | "feed" }>): Images | Refusal {
  const read = task.kind === "score" ? readScoreBody(task.body, task.form) : planes(session, task.pixels);
  if (isRefusal(read)) return read;
  const { shape, data } = read;
  const [input, ...others] = session.inputs;
  if (!input || others.length > 0 || input.type !== "float32") return noImages(session.inputs);
  if (!fits(shape, input)) {
    const message = `\`data\` is ${shapeText(shape)}, and the model takes ${shapeText(input.shape)}`;
    return refuse("badShape", message);
  }
  const normalised = session.kind === "scorer" ? data : normalise(data, shape, task.normalisation);
  if (!normalised) {
    const count = task.normalisation.mean.length;
    return refuse("badShape", `there are means for ${count} only, by the first axis of the batch`);
  }
  return { shape, data: normalised };
}

function planes({ inputs }: Session, pixels: Uint8Array): Images | Refusal {
  const size = imageSize(inputs);
  if (!size) return noImages(inputs);
  const { shape, data } = planesOf(pixels, size.width, size.height);
  return { shape, data: data as Float32Array };
}

/** @throws Error of the runtime */
export async function score(
  session: Session,
  { shape, data }: Images,
  beganMs: number,
  nowMs: () => number,
  signal: AbortSignal,
): Promise<Extract<Outcome, { kind: "probabilities" }> | Refusal> {
  const runsMs = nowMs();
  const images = { type: "float32", shape, data } as const;
  const output = session.outputs[0]?.name ?? "";
  const results = await session.run({ [session.inputs[0]?.name ?? ""]: images }, [output], signal);
  const runMs = nowMs() - runsMs;
  if (isRefusal(results)) return results;
  const scores = results.tensors[output];
  if (!(scores?.data instanceof Float32Array))
    return refuse("unsuitableModel", `the model's first output is of type ${scores?.type}, and no scores`);
  const [rows = 1] = scores.shape;
  const isRemote = session.engine === "remote";
  // Nothing but its word says what a scorer elsewhere gives; a model may leave the axis of a single image out.
  if (rows !== shape[0] && (isRemote || shape[0] !== 1)) {
    const message = `there are ${rows} rows of scores for ${shape[0]} images`;
    return refuse(isRemote ? "remoteFailed" : "unsuitableModel", message);
  }
  const classes = scores.data.length / (shape[0] ?? 1);
  const probabilities = session.kind === "scorer" ? scores.data : softmax(scores.data, classes);
  return { kind: "probabilities", probabilities, classes, runMs, totalMs: nowMs() - beganMs };
}

function noImages(inputs: readonly TensorInfo[]): Refusal {
  const told = inputs.map(({ name, type, shape }) => `${name}: ${type} ${shapeText(shape)}`).join("; ");
  return refuse("unsuitableModel", `the model takes no images, but ${told}; ask it by the V2 protocol`);
}

/** Width and height of the images that a model takes: one input of N × 3 × height × width. */
export function imageSize(
  inputs: readonly TensorInfo[],
): { readonly width: number; readonly height: number } | undefined {
  const [input, ...others] = inputs;
  const [images, channels, height, width, ...more] = input?.shape ?? [];
  const isOne = typeof images === "string" || images === 1;
  if (input?.type !== "float32" || others.length > 0 || more.length > 0 || !isOne || channels !== 3)
    return undefined;
  return typeof width === "number" && typeof height === "number" ? { width, height } : undefined;
}

function misfit(
  { inputs, outputs }: Session,
  feeds: Tensors,
  wanted: readonly string[] = [],
): Refusal | undefined {
  for (const name of Object.keys(feeds))
    if (!inputs.some((input) => input.name === name))
      return refuse("unknownTensor", `the model has no input ${JSON.stringify(name)}`);
  for (const name of wanted)
    if (!outputs.some((output) => output.name === name))
      return refuse("unknownTensor", `the model has no output ${JSON.stringify(name)}`);
  for (const input of inputs) {
    const tensor = Object.hasOwn(feeds, input.name) ? feeds[input.name] : undefined;
    if (!tensor) return refuse("unknownTensor", `input ${input.name} is missing`);
    if (tensor.type !== input.type || !isElementType(input.type))
      return refuse("badType", `input ${input.name} is ${tensor.type}, and the model takes ${input.type}`);
    if (!fits(tensor.shape, input)) {
      const message = `input ${input.name} is ${shapeText(tensor.shape)}, and the model takes ${shapeText(input.shape)}`;
      return refuse("badShape", message);
    }
    if (tensor.data.length !== sizeOf(tensor.shape))
      return refuse("badLength", `input ${input.name} has ${tensor.data.length} elements`);
  }
  return undefined;
}
