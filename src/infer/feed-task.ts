import type { ModelSourceConfig } from "../config/schema.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import type { Session } from "./session.ts";
import { fits, isElementType, shapeText, sizeOf, type Tensor, type TensorInfo } from "./tensor.ts";

/** How numbers become the tensor that a model takes, and elements of its outputs channels. */
export interface FeedPlan {
  /** Undefined: the only one. */
  readonly input: string | undefined;
  readonly shape: readonly number[];
  /** Numbers come row by row, a channel each; `channelsLast` puts the first of each row first. */
  readonly rows: number;
  readonly layout: ModelSourceConfig["layout"];
  readonly normalisation: ModelSourceConfig["normalisation"];
  readonly outputs: ModelSourceConfig["outputs"];
}

type Ports = Pick<Session, "inputs" | "outputs">;

export function planOf(config: ModelSourceConfig): FeedPlan {
  const { inputs, input, layout, normalisation, outputs } = config;
  const rows = inputs.from === "window" ? inputs.features.length : inputs.channels.length;
  const { shape = usualShape(config) } = config;
  return { input, shape, rows, layout, normalisation, outputs };
}

function usualShape({ inputs, layout }: ModelSourceConfig): number[] {
  if (inputs.from === "window") return [1, inputs.features.length];
  const { channels, last } = inputs;
  return layout === "channelsFirst" ? [1, channels.length, last] : [1, last, channels.length];
}

/** Why a model does not take what a source is configured to feed, or does not give what is wanted of it. */
export function unfit({ inputs, outputs }: Ports, plan: FeedPlan): Refusal | undefined {
  const [input, ...others] = inputs;
  const told = inputs.map(({ name, type, shape }) => `${name}: ${type} ${shapeText(shape)}`).join("; ");
  if (!input || others.length > 0)
    return refuse("unsuitableModel", `the model takes ${inputs.length} inputs, and is fed one (${told})`);
  if (plan.input !== undefined && plan.input !== input.name)
    return refuse("unknownTensor", `the model has no input ${plan.input} (${told})`);
  if (input.type !== "float32")
    return refuse("badType", `the model takes ${input.type}, and is fed float32 (${told})`);
  if (!fits(plan.shape, input))
    return refuse("badShape", `it would be fed ${shapeText(plan.shape)}, and the model takes ${told}`);
  for (const [channel, { output, index }] of Object.entries(plan.outputs)) {
    const found = outputNamed(output, outputs);
    if (!found) return refuse("unknownTensor", missingOutput(channel, output, outputs));
    if (!isElementType(found.type))
      return refuse("badType", `output ${found.name} is of ${found.type}, which holds no numbers`);
    const sizes = found.shape.filter((size) => typeof size === "number");
    if (sizes.length === found.shape.length && index >= sizeOf(sizes))
      return refuse("badShape", outOfRange(found.name, index, sizeOf(sizes)));
  }
  return undefined;
}

/** @throws Error of the runtime */
export async function scoreFeed(
  session: Session,
  numbers: readonly number[],
  plan: FeedPlan,
  signal: AbortSignal,
): Promise<Refusal | { readonly kind: "values"; readonly values: Readonly<Record<string, number>> }> {
  const refusal = unfit(session, plan);
  if (refusal) return refusal;
  const [input] = session.inputs;
  const data = tensorData(numbers, plan);
  const endless = data.findIndex((number) => !Number.isFinite(number));
  if (!input || endless >= 0)
    return refuse("notFinite", `what it is fed is not finite in 32 bits (element ${endless})`);
  const wanted = Object.entries(plan.outputs).map(([channel, { output, index }]) => {
    const name = outputNamed(output, session.outputs)?.name ?? "";
    return { channel, name, index };
  });
  const feeds = { [input.name]: { type: "float32", shape: plan.shape, data } as const satisfies Tensor };
  const results = await session.run(feeds, [...new Set(wanted.map(({ name }) => name))], signal);
  if (isRefusal(results)) return results;
  const values: [string, number][] = [];
  for (const { channel, name, index } of wanted) {
    const elements = results.tensors[name]?.data;
    const element = elements?.[index];
    if (element === undefined) return refuse("badShape", outOfRange(name, index, elements?.length ?? 0));
    const value = Number(element);
    if (!Number.isFinite(value)) return refuse("notFinite", `output ${name}[${index}] is ${value}`);
    values.push([channel, value]);
  }
  return { kind: "values", values: Object.fromEntries(values) };
}

function tensorData(numbers: readonly number[], { rows, layout, normalisation }: FeedPlan): Float32Array {
  const columns = numbers.length / rows;
  const data = new Float32Array(numbers.length);
  for (let row = 0; row < rows; row++) {
    const mean = normalisation?.mean[row] ?? 0;
    const deviation = normalisation?.deviation[row] ?? 1;
    for (let column = 0; column < columns; column++) {
      const at = layout === "channelsFirst" ? row * columns + column : column * rows + row;
      data[at] = ((numbers[row * columns + column] ?? 0) - mean) / deviation;
    }
  }
  return data;
}

function outputNamed(name: string | undefined, outputs: readonly TensorInfo[]): TensorInfo | undefined {
  if (name === undefined) return outputs.length === 1 ? outputs[0] : undefined;
  return outputs.find((output) => output.name === name);
}

function missingOutput(channel: string, name: string | undefined, outputs: readonly TensorInfo[]): string {
  const known = outputs.map((output) => output.name).join(", ");
  return name === undefined
    ? `outputs.${channel}.output has to name one of the model's outputs: ${known}`
    : `the model has no output ${name}, but ${known}`;
}

const outOfRange = (name: string, index: number, size: number): string =>
  `output ${name} has ${size} elements, and none is [${index}]`;
