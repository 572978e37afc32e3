import { isObject } from "../core/json.ts";
import { readJsonBody } from "./json-body.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import {
  arraysOfElements,
  type ElementType,
  isElementType,
  shapeText,
  sizeOf,
  type Tensor,
  type TensorData,
} from "./tensor.ts";

/**
 * Requests and answers of the V2 inference protocol, which Triton and KServe speak
 * (github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, "Inference").
 */
export interface V2Request {
  readonly id: string | undefined;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Names of the outputs that are wanted; all without it. */
  readonly outputs: readonly string[] | undefined;
}

/** "Tensor Data Types" there. FP16 and BYTES have no array of numbers here. */
const datatypes: Readonly<Record<string, ElementType>> = {
  BOOL: "bool",
  UINT8: "uint8",
  UINT16: "uint16",
  UINT32: "uint32",
  UINT64: "uint64",
  INT8: "int8",
  INT16: "int16",
  INT32: "int32",
  INT64: "int64",
  FP32: "float32",
  FP64: "float64",
};
const names = new Map(Object.entries(datatypes).map(([datatype, type]) => [type, datatype]));

/** The protocol's word for a type; for one that is not taken, the runtime's. */
export const datatypeOf = (type: string): string =>
  (isElementType(type) ? names.get(type) : undefined) ?? type;

/** The other way; what has no array here keeps its name. */
export const typeOf = (datatype: string): string =>
  Object.hasOwn(datatypes, datatype) ? (datatypes[datatype] ?? datatype) : datatype;

export const maxTensors = 64;
const maxDimensions = 16;

export function readV2(body: Uint8Array): V2Request | Refusal {
  const read = readJsonBody(body);
  if (isRefusal(read)) return read;
  const { value } = read;
  if (!isObject(value) || !Array.isArray(value.inputs) || value.inputs.length > maxTensors)
    return refuse("noData", `the body is no object with \`inputs\`, a list of at most ${maxTensors} tensors`);
  const { id, inputs, outputs } = value;
  if (id !== undefined && typeof id !== "string") return refuse("malformed", "`id` is no text");
  const feeds = new Map<string, Tensor>();
  for (const [i, input] of inputs.entries()) {
    const place = `inputs[${i}]`;
    if (!isObject(input) || typeof input.name !== "string")
      return refuse("malformed", `\`${place}\` has no name`);
    if (feeds.has(input.name)) return refuse("unknownTensor", `input ${input.name} comes twice`);
    const tensor = readTensor(input, place);
    if (isRefusal(tensor)) return tensor;
    feeds.set(input.name, tensor);
  }
  const wanted = outputs === undefined ? undefined : outputNames(outputs);
  if (wanted && isRefusal(wanted)) return wanted;
  return { id, feeds: Object.fromEntries(feeds), outputs: wanted?.length ? wanted : undefined };
}

function outputNames(outputs: unknown): string[] | Refusal {
  if (!Array.isArray(outputs) || outputs.length > maxTensors)
    return refuse("malformed", `\`outputs\` is no list of at most ${maxTensors} names`);
  const names: string[] = [];
  for (const output of outputs) {
    if (!isObject(output) || typeof output.name !== "string")
      return refuse("malformed", "one of `outputs` has no name");
    const { parameters } = output;
    if (isObject(parameters) && (parameters.binary_data === true || parameters.classification !== undefined))
      return refuse("badType", "outputs come as JSON, and as they are: the extensions are not spoken here");
    names.push(output.name);
  }
  return names;
}

/** A list of sizes that may be a shape; none is below `least`. */
export const isShape = (value: unknown, least: number): value is number[] =>
  Array.isArray(value) &&
  value.length <= maxDimensions &&
  value.every((dimension) => Number.isInteger(dimension) && dimension >= least && dimension < 2 ** 31);

export function readTensor(input: Readonly<Record<string, unknown>>, place: string): Tensor | Refusal {
  const { shape, datatype, data } = input;
  if (!isShape(shape, 0)) return refuse("badShape", `\`${place}.shape\` is no list of sizes`);
  const isKnown = typeof datatype === "string" && Object.hasOwn(datatypes, datatype);
  const type = isKnown ? datatypes[datatype] : undefined;
  if (!type)
    return refuse("badType", `\`${place}.datatype\` is none of ${Object.keys(datatypes).join(", ")}`);
  if (!Array.isArray(data)) return refuse("noData", `\`${place}.data\` is no list`);
  // "Tensor Data": flat, or nested as the shape says; either way in row-major order.
  const flat: readonly unknown[] = data.some(Array.isArray) ? data.flat(maxDimensions) : data;
  if (flat.length !== sizeOf(shape)) {
    const message = `\`${place}.data\` has ${flat.length} elements, and its shape is ${shapeText(shape)}`;
    return refuse("badLength", message);
  }
  const elements = elementsOf(flat, type);
  return elements
    ? { type, shape, data: elements }
    : refuse("notANumber", `\`${place}.data\` holds what is no ${datatype}`);
}

/** Whole numbers beyond what the type holds, and those that a double cannot tell from their neighbours, are none. */
function elementsOf(values: readonly unknown[], type: ElementType): TensorData | undefined {
  const array = new arraysOfElements[type](values.length);
  for (const [i, value] of values.entries()) {
    if (type === "bool") {
      if (typeof value !== "boolean") return undefined;
      array[i] = value ? 1 : 0;
      continue;
    }
    if (typeof value !== "number") return undefined;
    if (array instanceof BigInt64Array || array instanceof BigUint64Array) {
      if (!Number.isSafeInteger(value) || (type === "uint64" && value < 0)) return undefined;
      array[i] = BigInt(value);
      continue;
    }
    array[i] = value;
    const isKept = type.startsWith("float") ? Number.isFinite(array[i]) : array[i] === value;
    if (!isKept) return undefined;
  }
  return array;
}

export function writeV2(model: string, { id }: V2Request, outputs: Readonly<Record<string, Tensor>>): string {
  return JSON.stringify({
    model_name: model,
    ...(id === undefined ? {} : { id }),
    outputs: toJson(outputs),
  });
}

export function toJson(tensors: Readonly<Record<string, Tensor>>): readonly object[] {
  return Object.entries(tensors).map(([name, { type, shape, data }]) => ({
    name,
    shape,
    datatype: datatypeOf(type),
    data: valuesOf(type, data),
  }));
}

/** A whole number beyond 2^53 loses its last digits in JSON anyway. */
function valuesOf(type: ElementType, data: TensorData): (number | boolean)[] {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Array.from(data, Number);
  return type === "bool" ? Array.from(data, (value) => value !== 0) : Array.from(data);
}
