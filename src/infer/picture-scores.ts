import type { FrameDiscard } from "../core/reading.ts";
import { scoreImage } from "./classify.ts";
import type { Images } from "./images.ts";
import { labelChannels } from "./label-channels.ts";
import type { Model } from "./model.ts";
import { isRefusal, type Refusal } from "./refusal.ts";
import { mostProbable } from "./softmax.ts";

/** Which of a picture's probabilities are told. */
export interface WantedScores {
  /** So many of the most probable labels, */
  readonly top: number;
  /** unless they are less probable than this; */
  readonly minProbability: number;
  /** and these always. */
  readonly labels: readonly string[];
}

/** What became of a picture. */
export type PictureScores =
  | {
      readonly kind: "scored";
      /** Probabilities by the labels' names as channels, the most probable first. */
      readonly scores: readonly (readonly [channel: string, probability: number])[];
      /** Of the wanted labels those that the model does not have. */
      readonly missing: readonly string[];
    }
  /** It is no picture that can be scored, now or later. */
  | { readonly kind: "discard"; readonly reason: FrameDiscard; readonly message: string }
  /** The model failed or was lost at it, and whether it is the picture's doing only others can show. */
  | { readonly kind: "failed"; readonly message: string }
  /** The model cannot be asked at the moment, whatever the picture. `isPassing`: it loads, or others ask it. */
  | { readonly kind: "wait"; readonly isPassing: boolean; readonly message: string };

/** `model`: undefined when there is none of the name. */
export async function scorePicture(
  model: Model | undefined,
  images: Images,
  bytes: Uint8Array,
  wanted: WantedScores,
  signal: AbortSignal,
): Promise<PictureScores> {
  if (!model) return absent;
  const away = unready(model);
  if (away) return away;
  const scored = await scoreImage(model, images, bytes, signal);
  if (isRefusal(scored)) return refused(scored);
  const { probabilities, by } = scored;
  const odd = probabilities.find((probability) => !Number.isFinite(probability));
  if (odd !== undefined) return { kind: "failed", message: `it says ${odd}, which is no probability` };
  const channels = labelChannels(by.labels, probabilities.length);
  const scores = new Map<string, number>();
  for (const { index, probability } of mostProbable(probabilities, wanted.top))
    if (probability >= wanted.minProbability) scores.set(channels.nameOf(index), probability);
  const missing: string[] = [];
  for (const label of wanted.labels) {
    const probability = probabilities[channels.indexOf(label) ?? -1];
    if (probability === undefined) missing.push(label);
    else scores.set(label, probability);
  }
  return { kind: "scored", scores: [...scores], missing };
}

/** Why a model cannot be asked; asking it all the same would count. */
export function unready(model: Model | undefined): Extract<PictureScores, { kind: "wait" }> | undefined {
  if (!model) return absent;
  const { state, reason } = model.status;
  if (state === "ready") return undefined;
  return wait(reason === undefined ? `it is ${state}` : `it is ${state}: ${reason}`, state === "loading");
}

const wait = (message: string, isPassing = false) => ({ kind: "wait", isPassing, message }) as const;
const absent = wait("it is not there");

function refused({ refusal, message }: Refusal): PictureScores {
  if (refusal === "badImage" || refusal === "imageTooLarge")
    return { kind: "discard", reason: refusal, message };
  // Also what is lost: a picture that ends the model, or the connection to it, would do so for ever.
  if (refusal === "modelFailed" || refusal === "remoteFailed" || refusal === "lost")
    return { kind: "failed", message };
  return wait(message, refusal === "busy" || refusal === "stopping");
}
