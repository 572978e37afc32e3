import { type Refusal, refuse } from "./refusal.ts";
import { arraysOfElements, type ElementType, shapeText, sizeOf, type Tensor } from "./tensor.ts";

/**
 * Elements as they lie in memory, little-endian, which every machine is that this runs on. The tensor may lie in the same
 * memory as the bytes.
 */
export function tensorOfBytes(
  type: ElementType,
  shape: readonly number[],
  bytes: Uint8Array,
): Tensor | Refusal {
  const array = arraysOfElements[type];
  const wanted = sizeOf(shape) * array.BYTES_PER_ELEMENT;
  if (bytes.length !== wanted) {
    const message = `${bytes.length} bytes, and ${type} of ${shapeText(shape)} takes ${wanted}`;
    return refuse("badLength", message);
  }
  // A typed array must begin at a multiple of its element's size, which a body need not.
  const isAligned = bytes.byteOffset % array.BYTES_PER_ELEMENT === 0;
  const { buffer, byteOffset } = isAligned ? bytes : new Uint8Array(bytes);
  return { type, shape, data: new array(buffer as ArrayBuffer, byteOffset, sizeOf(shape)) };
}

/** The same numbers as a model's floats; beyond 2^24 whole numbers are rounded. */
export function toFloats({ data }: Tensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number);
  return new Float32Array(data);
}
