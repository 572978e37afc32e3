import { isObject } from "../core/json.ts";
import { readJsonBody } from "./json-body.ts";
import { isNpy, readNpy } from "./npy.ts";
import { scanNumbers } from "./number-scanner.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import { type ElementType, sizeOf } from "./tensor.ts";
import { tensorOfBytes, toFloats } from "./tensor-bytes.ts";

/** How the numbers of a request are written. */
export type ScoreForm =
  | { readonly kind: "json" }
  /** A NumPy file, or elements as they lie in memory, whose shape and type stand beside them. */
  | {
      readonly kind: "binary";
      readonly shape: readonly number[] | undefined;
      readonly type: ElementType;
    };

export interface Floats {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What a body says, before anybody asked whether it fits the model. Every number is finite. */
export function readScoreBody(body: Uint8Array, form: ScoreForm): Floats | Refusal {
  const floats = form.kind === "json" ? readJson(body) : readBinary(body, form.shape, form.type);
  if (isRefusal(floats)) return floats;
  if (!areFinite(floats.data))
    return refuse("notFinite", "`data` holds a number that is not finite in 32 bits");
  return floats;
}

/**
 * Infinity and NaN times 0 are NaN, and stay so in a sum: one look at the end instead of one at each. By index, because
 * iterating an image takes ten times as long.
 */
function areFinite(data: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += (data[i] ?? 0) * 0;
  return sum === 0;
}

function readBinary(
  body: Uint8Array,
  shape: readonly number[] | undefined,
  type: ElementType,
): Floats | Refusal {
  if (!isNpy(body) && shape === undefined)
    return refuse("badShape", "name the tensor's shape in a header, such as `tensor-shape: 1,3,224,224`");
  const tensor = isNpy(body) ? readNpy(body) : tensorOfBytes(type, shape ?? [], body);
  return isRefusal(tensor) ? tensor : { shape: tensor.shape, data: toFloats(tensor) };
}

function readJson(body: Uint8Array): Floats | Refusal {
  const scanned = scanNumbers(body);
  if (scanned) return scanned;
  const read = readJsonBody(body);
  if (isRefusal(read)) return read;
  const data = isObject(read.value) ? read.value.data : undefined;
  if (data === undefined) return refuse("noData", 'the body is no object with a member "data"');
  return flatten(data, "data");
}

/** As deep as the first elements go; no tensor of a model is deeper. */
const maxDepth = 8;

/** Nested arrays as one, when they are even; otherwise where they are not. */
export function flatten(value: unknown, name: string): Floats | Refusal {
  const shape: number[] = [];
  for (let at = value; Array.isArray(at); at = at[0]) {
    shape.push(at.length);
    if (shape.length > maxDepth)
      return refuse("badShape", `\`${name}\` is nested deeper than ${maxDepth} arrays`);
  }
  // What the first elements promise may be far more than there is.
  const numbers: number[] = [];
  const walk = (at: unknown, depth: number, path: string): Refusal | undefined => {
    if (depth === shape.length) {
      if (typeof at !== "number") return refuse("notANumber", `\`${path}\` is no number`);
      numbers.push(at);
      return undefined;
    }
    if (!Array.isArray(at) || at.length !== shape[depth]) {
      const found = Array.isArray(at) ? `${at.length} elements` : "no array";
      return refuse("ragged", `\`${path}\` is ${found}, and its first sibling ${shape[depth]} elements`);
    }
    for (const [i, element] of at.entries()) {
      const refusal = walk(element, depth + 1, `${path}[${i}]`);
      if (refusal) return refusal;
    }
    return undefined;
  };
  const refusal = walk(value, 0, name);
  if (refusal) return refusal;
  if (shape.length > 0 && sizeOf(shape) === 0) return refuse("badShape", `\`${name}\` holds no number`);
  return { shape, data: Float32Array.from(numbers) };
}
