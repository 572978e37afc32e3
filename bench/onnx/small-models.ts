import { onnxFile } from "./model.ts";
import type { Pieces } from "./protobuf.ts";

/** Gives back what it is given: N × 3 × `size` × `size`, flattened to N × (3 · size²). */
export const identityOfImage = (size = 4): Pieces =>
  onnxFile({
    inputs: [{ name: "data", shape: ["N", 3, size, size] }],
    outputs: [{ name: "same", shape: ["N", 3 * size * size] }],
    nodes: [{ op: "Flatten", inputs: ["data"], output: "same" }],
  });

/** Of what is below nothing it says NaN: N × 3 × `size` × `size`, flattened. */
export const logarithmOfImage = (size = 4): Pieces =>
  onnxFile({
    inputs: [{ name: "data", shape: ["N", 3, size, size] }],
    outputs: [{ name: "flat", shape: ["N", 3 * size * size] }],
    nodes: [
      { op: "Log", inputs: ["data"], output: "log" },
      { op: "Flatten", inputs: ["log"], output: "flat" },
    ],
  });

/** Says that it takes any number of images, and makes one row of all of them. */
export const meanOfImages = (size = 4): Pieces =>
  onnxFile({
    inputs: [{ name: "data", shape: ["N", 3, size, size] }],
    outputs: [{ name: "mean", shape: ["N", 3 * size * size] }],
    nodes: [
      { op: "ReduceMean", inputs: ["data"], output: "one", attributes: { axes: [0], keepdims: 1 } },
      { op: "Flatten", inputs: ["one"], output: "mean" },
    ],
  });

/** For another input than images: `x` of N × 4, doubled in `y`. */
export const doubling = (): Pieces =>
  onnxFile({
    inputs: [{ name: "x", shape: ["N", 4] }],
    outputs: [{ name: "y", shape: ["N", 4] }],
    nodes: [{ op: "Add", inputs: ["x", "x"], output: "y" }],
  });

/** Two inputs, and two outputs. */
export const twoInputs = (): Pieces =>
  onnxFile({
    inputs: [
      { name: "a", shape: ["N", 4] },
      { name: "b", shape: ["N", 4] },
    ],
    outputs: [
      { name: "sum", shape: ["N", 4] },
      { name: "difference", shape: ["N", 4] },
    ],
    nodes: [
      { op: "Add", inputs: ["a", "b"], output: "sum" },
      { op: "Sub", inputs: ["a", "b"], output: "difference" },
    ],
  });

/** Whole numbers of 64 bits and truth values, which JSON and Float32Array do not hold. */
export const countsAndFlags = (): Pieces =>
  onnxFile({
    inputs: [{ name: "counts", type: "int64", shape: ["N", 2] }],
    outputs: [{ name: "same", type: "int64", shape: ["N", 2] }],
    nodes: [{ op: "Identity", inputs: ["counts"], output: "same" }],
    opset: 13,
  });

/** Its weights do not fit its input: a runtime refuses it. */
export const wrongShape = (): Pieces =>
  onnxFile({
    inputs: [{ name: "data", shape: [1, 4] }],
    outputs: [{ name: "y", shape: [1, 2] }],
    nodes: [{ op: "MatMul", inputs: ["data", "weights"], output: "y" }],
    weights: [{ name: "weights", shape: [3, 2], data: new Float32Array(6) }],
  });

/** Of a version that no runtime knows yet. */
export const opsetTooNew = (): Pieces =>
  onnxFile({
    inputs: [{ name: "data", shape: [1, 4] }],
    outputs: [{ name: "same", shape: [1, 4] }],
    nodes: [{ op: "Identity", inputs: ["data"], output: "same" }],
    opset: 999,
  });

/** The mean square distance of `x`, N × features, from `centre`, in `anomaly`, and the distances themselves. */
export const meanSquareDistance = (centre: readonly number[]): Pieces =>
  onnxFile({
    inputs: [{ name: "x", shape: ["N", centre.length] }],
    outputs: [
      { name: "anomaly", shape: ["N", 1] },
      { name: "difference", shape: ["N", centre.length] },
    ],
    nodes: [
      { op: "Sub", inputs: ["x", "centre"], output: "difference" },
      { op: "Mul", inputs: ["difference", "difference"], output: "square" },
      { op: "ReduceMean", inputs: ["square"], output: "anomaly", attributes: { axes: [1], keepdims: 1 } },
    ],
    weights: [{ name: "centre", shape: [centre.length], data: Float32Array.from(centre) }],
  });

/** A layer over windows of 1 × `rows` × `columns`: element i counts i + 1 times, so that the order shows. */
export const weightedSum = (rows: number, columns: number): Pieces => {
  const size = rows * columns;
  return onnxFile({
    inputs: [{ name: "series", shape: [1, rows, columns] }],
    outputs: [{ name: "sum", shape: [1, 1] }],
    nodes: [
      { op: "Flatten", inputs: ["series"], output: "flat" },
      { op: "MatMul", inputs: ["flat", "weights"], output: "sum" },
    ],
    weights: [
      { name: "weights", shape: [size, 1], data: Float32Array.from({ length: size }, (_, i) => i + 1) },
    ],
  });
};

/** The logarithm: of what is negative there is none, and that of nothing is not finite. */
export const logarithm = (): Pieces =>
  onnxFile({
    inputs: [{ name: "x", shape: ["N", 1] }],
    outputs: [{ name: "log", shape: ["N", 1] }],
    nodes: [{ op: "Log", inputs: ["x"], output: "log" }],
  });
