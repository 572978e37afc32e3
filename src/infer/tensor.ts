/** What a model takes and gives, in the words of ONNX; elements lie in row-major order. */
export interface Tensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** How elements are held here. `bool` is a byte, 0 or 1; what JavaScript has no array for is not taken. */
export const arraysOfElements = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
} as const;

export type ElementType = keyof typeof arraysOfElements;
export type TensorData =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

export const isElementType = (type: string): type is ElementType => Object.hasOwn(arraysOfElements, type);

/** One input or output of a model; a dimension with a name is open. */
export interface TensorInfo {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

export const sizeOf = (shape: readonly number[]): number =>
  shape.reduce((product, dimension) => product * dimension, 1);

/** Whether a tensor of this shape fits: open dimensions take anything but nothing. */
export function fits(shape: readonly number[], { shape: wanted }: TensorInfo): boolean {
  return (
    shape.length === wanted.length &&
    shape.every((dimension, i) => (typeof wanted[i] === "number" ? dimension === wanted[i] : dimension > 0))
  );
}

/** `[N,3,224,224]` */
export const shapeText = (shape: readonly (number | string)[]): string => `[${shape.join(",")}]`;
