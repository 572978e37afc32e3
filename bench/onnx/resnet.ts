import { randomFrom } from "../../test/support/random.ts";
import { type Node, onnxFile, type Weights } from "./model.ts";
import type { Pieces } from "./protobuf.ts";

export interface ResNetOptions {
  /** Channels behind the first convolution: 64 is ResNet50 (25.6 million parameters, 102 MB), 4 is 0.3 MB. */
  readonly width: number;
  readonly seed: number;
  /** Side of the image, in pixels. */
  readonly size?: number;
  readonly classes?: number;
}

/** Bottleneck blocks in each of the four stages of ResNet50 (He et al., arXiv:1512.03385, table 1). */
const blocksPerStage = [3, 4, 6, 3];
/** How much wider a block's end is than its middle. */
const expansion = 4;

/**
 * A network of the shape of ResNet50 version 2 (He et al., arXiv:1603.05027: normalisation and ReLU before each
 * convolution), as the model zoo's `resnet50-v2-7.onnx`: input `data`, N × 3 × size × size; scores of N × classes, not
 * soft-maxed. The weights are random, so what it says of an image means nothing, and is the same for the same seed.
 */
export function resNet({ width, seed, size = 224, classes = 1_000 }: ResNetOptions): Pieces {
  const graph = new GraphWriter(seed);
  let at = graph.normalised("data", 3, false);
  at = graph.convolution(at, 3, width, 7, 2);
  at = graph.normalised(at, width);
  at = graph.node("MaxPool", [at], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] });
  let channels = width;
  for (const [stage, blocks] of blocksPerStage.entries()) {
    const middle = width * 2 ** stage;
    for (let block = 0; block < blocks; block++) {
      const stride = block === 0 && stage > 0 ? 2 : 1;
      at = graph.bottleneck(at, channels, middle, stride, block === 0);
      channels = middle * expansion;
    }
  }
  at = graph.normalised(at, channels);
  at = graph.node("GlobalAveragePool", [at]);
  at = graph.node("Flatten", [at]);
  const scores = graph.dense(at, channels, classes);
  return onnxFile({
    inputs: [{ name: "data", shape: ["N", 3, size, size] }],
    outputs: [{ name: scores, shape: ["N", classes] }],
    nodes: graph.nodes,
    weights: graph.weights,
  });
}

class GraphWriter {
  readonly nodes: Node[] = [];
  readonly weights: Weights[] = [];
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
  }

  node(op: string, inputs: readonly string[], attributes: Node["attributes"] = {}): string {
    const output = `${op.toLowerCase()}${this.nodes.length}`;
    this.nodes.push({ op, inputs, output, attributes });
    return output;
  }

  /** Batch normalisation, and ReLU behind it. */
  normalised(input: string, channels: number, withRelu = true): string {
    const scale = this.#tensor([channels], () => 0.8 + 0.4 * this.#random());
    const shift = this.#tensor([channels], () => 0.2 * (this.#random() - 0.5));
    const mean = this.#tensor([channels], () => 0.2 * (this.#random() - 0.5));
    const variance = this.#tensor([channels], () => 0.8 + 0.4 * this.#random());
    const epsilon = { float: 1e-5 };
    const output = this.node("BatchNormalization", [input, scale, shift, mean, variance], { epsilon });
    return withRelu ? this.node("Relu", [output]) : output;
  }

  convolution(input: string, from: number, to: number, kernel: number, stride: number): string {
    const weights = this.#uniform([to, from, kernel, kernel], from * kernel * kernel);
    const pad = (kernel - 1) / 2;
    return this.node("Conv", [input, weights], {
      kernel_shape: [kernel, kernel],
      strides: [stride, stride],
      pads: [pad, pad, pad, pad],
    });
  }

  /** 1 × 1, 3 × 3, 1 × 1, beside the way straight through. */
  bottleneck(input: string, from: number, middle: number, stride: number, isFirst: boolean): string {
    const to = middle * expansion;
    const ready = this.normalised(input, from);
    const straight = isFirst ? this.convolution(ready, from, to, 1, stride) : input;
    let at = this.convolution(ready, from, middle, 1, 1);
    at = this.normalised(at, middle);
    at = this.convolution(at, middle, middle, 3, stride);
    at = this.normalised(at, middle);
    at = this.convolution(at, middle, to, 1, 1);
    return this.node("Add", [at, straight]);
  }

  dense(input: string, from: number, to: number): string {
    const weights = this.#uniform([to, from], from);
    const bias = this.#tensor([to], () => 0);
    return this.node("Gemm", [input, weights, bias], { transB: 1 });
  }

  /** Variance 1 / `inputs`, so that values neither vanish nor explode on their way. */
  #uniform(shape: readonly number[], inputs: number): string {
    const bound = Math.sqrt(3 / inputs);
    return this.#tensor(shape, () => bound * (2 * this.#random() - 1));
  }

  #tensor(shape: readonly number[], value: () => number): string {
    const name = `weights${this.weights.length}`;
    const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
    for (let i = 0; i < data.length; i++) data[i] = value();
    this.weights.push({ name, shape, data });
    return name;
  }
}
