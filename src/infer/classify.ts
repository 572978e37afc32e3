import type { Images } from "./images.ts";
import type { Model, ModelInForce } from "./model.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import { mostProbable } from "./softmax.ts";
import { imageSize } from "./task.ts";

/** An image as a model sees it. */
export interface ScoredImage {
  readonly probabilities: Float32Array;
  readonly by: ModelInForce;
  /** Size of the image as it came, upright. */
  readonly image: { readonly width: number; readonly height: number };
  readonly times: { readonly decodeMs: number; readonly scoreMs: number; readonly runMs: number };
}

export interface Classification extends Pick<ScoredImage, "image" | "times"> {
  /** The most probable first; names are there when the model has labels. */
  readonly labels: readonly {
    readonly index: number;
    readonly id?: string;
    readonly label?: string;
    readonly probability: number;
  }[];
}

/** What an image most likely shows: the `k` most probable names. */
export async function classify(
  model: Pick<Model, "ask">,
  images: Images,
  bytes: Uint8Array,
  k: number,
  client: AbortSignal,
): Promise<Classification | Refusal> {
  const scored = await scoreImage(model, images, bytes, client);
  if (isRefusal(scored)) return scored;
  const { probabilities, by, image, times } = scored;
  const labels = mostProbable(probabilities, k).map(({ index, probability }) => {
    const label = by.labels?.[index];
    return { index, ...(label ? { id: label.id, label: label.name } : {}), probability };
  });
  return { labels, image, times };
}

/** The probabilities of all that an image may show. */
export async function scoreImage(
  model: Pick<Model, "ask">,
  images: Images,
  bytes: Uint8Array,
  client: AbortSignal,
): Promise<ScoredImage | Refusal> {
  let image = { width: 0, height: 0 };
  let decodeMs = 0;
  const answered = await model.ask(async ({ config, opened }, signal) => {
    const size = imageSize(opened.inputs);
    if (!size) return refuse("unsuitableModel", "the model takes no images of a fixed size");
    const beganMs = performance.now();
    const { mean, deviation } = config.image;
    const decoded = await images.pixels(bytes, size, config.image, signal);
    if (isRefusal(decoded)) return decoded;
    const { pixels, width, height } = decoded;
    decodeMs = performance.now() - beganMs;
    image = { width, height };
    const normalisation = { kind: "perChannel", mean, deviation } as const;
    return { task: { kind: "pixels", pixels, normalisation }, transfer: [pixels.buffer as ArrayBuffer] };
  }, client);
  if (isRefusal(answered)) return answered;
  const { outcome, by } = answered;
  if (outcome.kind !== "probabilities") return refuse("unsuitableModel", "the model gives no scores");
  const { probabilities, totalMs, runMs } = outcome;
  return { probabilities, by, image, times: { decodeMs, scoreMs: totalMs, runMs } };
}
