import type { Tensor } from "./tensor.ts";

/**
 * How pixels of 0 to 255 become what a model was trained on: divided by 255, less the mean, by the deviation.
 * `perChannel`: each channel by its own. `firstAxis`: image i of a batch by those of channel i, as the script of the
 * model zoo's notebook does, whose loop runs over the first axis: a single image gets those of red in all channels.
 * `none`: the values are what the model takes.
 */
export interface Normalisation {
  readonly kind: "perChannel" | "firstAxis" | "none";
  readonly mean: readonly number[];
  readonly deviation: readonly number[];
}

/** In place; `data` is N × C × …. Undefined when there is no mean for a channel, or image, else what was given. */
export function normalise(
  data: Float32Array,
  [images = 0, channels = 0]: readonly number[],
  { kind, mean, deviation }: Normalisation,
): Float32Array | undefined {
  if (kind === "none") return data;
  const plane = data.length / (images * channels);
  if ((kind === "perChannel" ? channels : images) > mean.length) return undefined;
  for (let image = 0; image < images; image++) {
    for (let channel = 0; channel < channels; channel++) {
      const by = kind === "perChannel" ? channel : image;
      const scale = 1 / (255 * (deviation[by] ?? 1));
      const shift = (mean[by] ?? 0) / (deviation[by] ?? 1);
      const from = (image * channels + channel) * plane;
      for (let i = from; i < from + plane; i++) data[i] = (data[i] ?? 0) * scale - shift;
    }
  }
  return data;
}

/** Pixels as images bring them, height × width × RGB, as a batch of one in the order of models: 1 × RGB × height × width. */
export function planesOf(pixels: Uint8Array, width: number, height: number): Tensor {
  const plane = width * height;
  const data = new Float32Array(3 * plane);
  for (let i = 0; i < plane; i++) {
    data[i] = pixels[3 * i] ?? 0;
    data[plane + i] = pixels[3 * i + 1] ?? 0;
    data[2 * plane + i] = pixels[3 * i + 2] ?? 0;
  }
  return { type: "float32", shape: [1, 3, height, width], data };
}
