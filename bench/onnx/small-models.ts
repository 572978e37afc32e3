import { onnxFile } from "./model.ts";
import type { Pieces } from "./protobuf.ts";

/** Gives back what it is given: N × 3 × `size` × `size`, flattened to N × (3 · size²). */
export const identityOfImage = (size = 4): Pieces =>
  onnxFile({
    inputs: [{ name: "data", shape: ["N", 3, size, size] }],
    outputs: [{ name: "same", shape: ["N", 3 * size * size] }],
    nodes: [{ op: "Flatten", inputs: ["data"], output: "same" }],
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
