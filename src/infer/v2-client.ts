import { isObject } from "../core/json.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import type { Tensors } from "./session.ts";
import { fits, shapeText, sizeOf, type Tensor, type TensorInfo } from "./tensor.ts";
import { isShape, maxTensors, readTensor, toJson, typeOf } from "./v2-message.ts";

/**
 * What the model is tried with is as large as its sizes say, and those are another machine's word: 4,096 × 4,096, of all
 * inputs together, and of all outputs.
 */
const maxElements = 16_777_216;

/** They are told in the status. */
const maxNameLength = 256;
const isName = (value: unknown): value is string =>
  typeof value === "string" && value !== "" && value.length <= maxNameLength;

/** What a model takes and gives, by its metadata ("Model Metadata" in the protocol). */
export function readV2Metadata(
  metadata: unknown,
): { readonly inputs: readonly TensorInfo[]; readonly outputs: readonly TensorInfo[] } | Refusal {
  if (!isObject(metadata)) return refuse("malformed", "the metadata is no object");
  const inputs = readInfos(metadata.inputs, "inputs");
  if (isRefusal(inputs)) return inputs;
  const outputs = readInfos(metadata.outputs, "outputs");
  return isRefusal(outputs) ? outputs : { inputs, outputs };
}

function readInfos(list: unknown, place: string): readonly TensorInfo[] | Refusal {
  if (!Array.isArray(list) || list.length === 0 || list.length > maxTensors)
    return refuse("malformed", `\`${place}\` of the metadata is no list of 1 to ${maxTensors} tensors`);
  const infos: TensorInfo[] = [];
  let elements = 0;
  for (const [i, tensor] of list.entries()) {
    if (!isObject(tensor) || !isName(tensor.name) || !isName(tensor.datatype))
      return refuse("malformed", `\`${place}[${i}]\` of the metadata has no name or no datatype`);
    const { name, datatype, shape } = tensor;
    const wrong = (problem: string) =>
      refuse("badShape", `\`${place}[${i}].shape\` of the metadata ${problem}`);
    if (!isShape(shape, -1)) return wrong("is no list of sizes");
    elements += sizeOf(shape.map(Math.abs));
    if (elements > maxElements) return wrong("is too large to be tried, with those before it");
    // An open dimension is -1.
    infos.push({ name, type: typeOf(datatype), shape: shape.map((size) => (size < 0 ? "?" : size)) });
  }
  return infos;
}

/** A request with these tensors, for the outputs of these names, or all. */
export function writeV2Request(feeds: Tensors, outputs: readonly string[] | undefined): string {
  const wanted = outputs ? { outputs: outputs.map((name) => ({ name })) } : {};
  return JSON.stringify({ inputs: Object.entries(feeds).map((feed) => toJson(...feed)), ...wanted });
}

/** The tensors of an answer, which must be those of the metadata. */
export function readV2Answer(
  answer: unknown,
  infos: readonly TensorInfo[],
): { readonly tensors: Tensors } | Refusal {
  const outputs: unknown = isObject(answer) ? answer.outputs : undefined;
  if (!Array.isArray(outputs)) return refuse("noData", "the answer is no object with a list `outputs`");
  const tensors: [string, Tensor][] = [];
  for (const info of infos) {
    const { name, type, shape } = info;
    const i = outputs.findIndex((output) => isObject(output) && output.name === name);
    if (i < 0) return refuse("unknownTensor", `the answer has no output ${JSON.stringify(name)}`);
    const tensor = readTensor(outputs[i], `outputs[${i}]`);
    if (isRefusal(tensor)) return tensor;
    if (tensor.type !== type || !fits(tensor.shape, info)) {
      const told = `${tensor.type} ${shapeText(tensor.shape)}, and the metadata says ${type} ${shapeText(shape)}`;
      return refuse("badShape", `output ${name} is ${told}`);
    }
    tensors.push([name, tensor]);
  }
  return { tensors: Object.fromEntries(tensors) };
}
