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
import { tensorOfBytes } from "./tensor-bytes.ts";

/**
 * Requests and answers of the V2 inference protocol, which Triton and KServe speak
 * (github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, "Inference"), with the extension
 * for binary tensors (github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md): elements as
 * they lie in memory, little-endian, behind the JSON and in its order.
 */
export interface V2Request {
  readonly id: string | undefined;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Names of the outputs that are wanted; all without it. */
  readonly outputs: readonly string[] | undefined;
  /** Whether an output is to come as bytes. */
  readonly isBinary: (output: string) => boolean;
}

export interface V2Answer {
  readonly json: string;
  /** What stands behind it. */
  readonly binary: Uint8Array | undefined;
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

/** `jsonBytes`: how many of the body are JSON; all without it. */
export function readV2(body: Uint8Array, jsonBytes = body.length): V2Request | Refusal {
  if (jsonBytes > body.length)
    return refuse("badLength", `the body is shorter than the ${jsonBytes} bytes of its JSON`);
  const read = readJsonBody(body.subarray(0, jsonBytes));
  if (isRefusal(read)) return read;
  const { value } = read;
  if (!isObject(value) || !Array.isArray(value.inputs) || value.inputs.length > maxTensors)
    return refuse("noData", `the body is no object with \`inputs\`, a list of at most ${maxTensors} tensors`);
  const { id, inputs, outputs, parameters } = value;
  if (id !== undefined && typeof id !== "string") return refuse("malformed", "`id` is no text");
  const feeds = new Map<string, Tensor>();
  const behind = new Behind(body.subarray(jsonBytes));
  for (const [i, input] of inputs.entries()) {
    const place = `inputs[${i}]`;
    if (!isObject(input) || typeof input.name !== "string")
      return refuse("malformed", `\`${place}\` has no name`);
    if (feeds.has(input.name)) return refuse("unknownTensor", `input ${input.name} comes twice`);
    const size = parameterOf(input, "binary_data_size");
    const tensor = size === undefined ? readTensor(input, place) : behind.tensor(input, place, size);
    if (isRefusal(tensor)) return tensor;
    feeds.set(input.name, tensor);
  }
  if (behind.left > 0) return refuse("badLength", `${behind.left} bytes behind the JSON belong to no input`);
  const wanted = wantedOutputs(outputs ?? []);
  if (isRefusal(wanted)) return wanted;
  const isBinaryElse = isObject(parameters) && parameters.binary_data_output === true;
  return {
    id,
    feeds: Object.fromEntries(feeds),
    outputs: wanted.size > 0 ? [...wanted.keys()] : undefined,
    isBinary: (name) => wanted.get(name) ?? isBinaryElse,
  };
}

function parameterOf({ parameters }: Readonly<Record<string, unknown>>, name: string): unknown {
  return isObject(parameters) ? parameters[name] : undefined;
}

/** The outputs that are named, and whether they are to come as bytes, where it is said of them. */
function wantedOutputs(outputs: unknown): Map<string, boolean | undefined> | Refusal {
  if (!Array.isArray(outputs) || outputs.length > maxTensors)
    return refuse("malformed", `\`outputs\` is no list of at most ${maxTensors} names`);
  const wanted = new Map<string, boolean | undefined>();
  for (const output of outputs) {
    if (!isObject(output) || typeof output.name !== "string")
      return refuse("malformed", "one of `outputs` has no name");
    if (parameterOf(output, "classification") !== undefined)
      return refuse(
        "badType",
        "outputs come as they are: the extension for classification is not spoken here",
      );
    const isBinary = parameterOf(output, "binary_data");
    wanted.set(output.name, typeof isBinary === "boolean" ? isBinary : undefined);
  }
  return wanted;
}

/** What stands behind the JSON: the bytes of one tensor after the other. */
class Behind {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  tensor(input: Readonly<Record<string, unknown>>, place: string, size: unknown): Tensor | Refusal {
    if (!Number.isSafeInteger(size) || Number(size) < 0 || Number(size) > this.left) {
      const message = `\`${place}.parameters.binary_data_size\` is none of the ${this.left} bytes that are left`;
      return refuse("badLength", message);
    }
    if (input.data !== undefined) return refuse("malformed", `\`${place}\` has its data twice`);
    const head = readHead(input, place);
    if (isRefusal(head)) return head;
    const bytes = this.#bytes.subarray(this.#at, this.#at + Number(size));
    this.#at += bytes.length;
    const tensor = tensorOfBytes(head.type, head.shape, bytes);
    if (isRefusal(tensor)) return refuse("badLength", `\`${place}\`: ${tensor.message}`);
    if (head.type === "bool" && bytes.some((byte) => byte > 1))
      return refuse("notANumber", `\`${place}\` holds what is no BOOL`);
    return tensor;
  }
}

/** A list of sizes that may be a shape; none is below `least`. */
export const isShape = (value: unknown, least: number): value is number[] =>
  Array.isArray(value) &&
  value.length <= maxDimensions &&
  value.every((dimension) => Number.isInteger(dimension) && dimension >= least && dimension < 2 ** 31);

function readHead(
  { shape, datatype }: Readonly<Record<string, unknown>>,
  place: string,
): Omit<Tensor, "data"> | Refusal {
  if (!isShape(shape, 0)) return refuse("badShape", `\`${place}.shape\` is no list of sizes`);
  const isKnown = typeof datatype === "string" && Object.hasOwn(datatypes, datatype);
  const type = isKnown ? datatypes[datatype] : undefined;
  if (!type)
    return refuse("badType", `\`${place}.datatype\` is none of ${Object.keys(datatypes).join(", ")}`);
  return { type, shape };
}

export function readTensor(input: Readonly<Record<string, unknown>>, place: string): Tensor | Refusal {
  const head = readHead(input, place);
  if (isRefusal(head)) return head;
  const { data } = input;
  const { type, shape } = head;
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
    : refuse("notANumber", `\`${place}.data\` holds what is no ${datatypeOf(type)}`);
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

export function writeV2(
  model: string,
  { id, isBinary }: V2Request,
  outputs: Readonly<Record<string, Tensor>>,
): V2Answer {
  const bytes: Uint8Array[] = [];
  const told = Object.entries(outputs).map(([name, tensor]) => {
    if (!isBinary(name)) return toJson(name, tensor);
    const { buffer, byteOffset, byteLength } = tensor.data;
    bytes.push(new Uint8Array(buffer, byteOffset, byteLength));
    return { ...headOf(name, tensor), parameters: { binary_data_size: byteLength } };
  });
  const json = JSON.stringify({
    model_name: model,
    ...(id === undefined ? {} : { id }),
    outputs: told,
  });
  return { json, binary: bytes.length > 0 ? Buffer.concat(bytes) : undefined };
}

export function toJson(name: string, tensor: Tensor): object {
  return { ...headOf(name, tensor), data: valuesOf(tensor) };
}

const headOf = (name: string, { type, shape }: Tensor) => ({ name, shape, datatype: datatypeOf(type) });

/** A whole number beyond 2^53 loses its last digits in JSON anyway. */
function valuesOf({ type, data }: Tensor): (number | boolean)[] {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Array.from(data, Number);
  return type === "bool" ? Array.from(data, (value) => value !== 0) : Array.from(data);
}
