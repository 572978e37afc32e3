import { pictureField } from "../config/decoding.ts";
import type { ImageSourceConfig } from "../config/schema.ts";
import { unlessAborted } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import type { PictureScores, WantedScores } from "../infer/picture-scores.ts";
import type { KeptPictures } from "../pictures/kept-pictures.ts";
import type { SourceStatus } from "./source.ts";

/** Who scores pictures: the models, by name. */
export interface Scorer {
  /** Why it would have to wait now; undefined when it would not. */
  unready(model: string): Extract<PictureScores, { readonly kind: "wait" }> | undefined;
  /** @throws the signal's reason */
  score(model: string, bytes: Uint8Array, wanted: WantedScores, signal: AbortSignal): Promise<PictureScores>;
}

/** What sources of pictures need of this box. */
export interface PicturePlace {
  readonly scorer: Scorer;
  readonly kept: Pick<KeptPictures, "keep">;
}

type Scored = Extract<PictureScores, { readonly kind: "scored" }>;

/** How the pictures of one source become frames. */
export class PictureScoring {
  readonly #source: string;
  readonly #config: ImageSourceConfig;
  readonly #place: PicturePlace;
  /** Labels that the model does not have. */
  #missing: readonly string[] = [];
  /** Why the last picture that was to be kept is not. */
  #unkept: string | undefined;

  constructor(source: string, config: ImageSourceConfig, place: PicturePlace) {
    this.#source = source;
    this.#config = config;
    this.#place = place;
  }

  /** What is wrong with the readings, while there are some. */
  get trouble(): readonly string[] {
    const [label, ...others] = this.#missing;
    const more = others.length === 0 ? "" : `, nor ${others.length} others of labels`;
    const missing = label === undefined ? [] : [`the model has no label ${label}${more}`];
    return this.#unkept === undefined ? missing : [...missing, this.#unkept];
  }

  /** What a picture would have to wait for; undefined when it would not. */
  get waits(): SourceStatus | undefined {
    const waits = this.#place.scorer.unready(this.#config.model);
    return waits && this.statusOf(waits);
  }

  /**
   * Scores a picture, and keeps it where that is wanted. `identity`: what it is known by. A run is not cut short by its
   * caller's end, and a stop does not wait for it. @throws the signal's reason
   */
  async score(bytes: Uint8Array, identity: string, signal: AbortSignal): Promise<PictureScores> {
    const { model } = this.#config;
    const scored = await unlessAborted(this.#place.scorer.score(model, bytes, this.#config, signal), signal);
    if (scored.kind !== "scored") return scored;
    this.#missing = scored.missing;
    if (this.#isKept(scored)) await unlessAborted(this.#keep(bytes, identity, scored), signal);
    return scored;
  }

  #isKept({ scores }: Scored): boolean {
    const { which, probability = 0 } = this.#config.keep ?? {};
    if (which === undefined || which === "all") return which === "all";
    const most = Math.max(0, ...scores.map(([, value]) => value));
    return which === "above" ? most >= probability : most < probability;
  }

  /** A picture that cannot be kept is a reading all the same. */
  async #keep(bytes: Uint8Array, identity: string, { scores }: Scored): Promise<void> {
    const { keep } = this.#config;
    if (!keep) return;
    try {
      await this.#place.kept.keep(this.#source, keep, { bytes, identity, scores });
      this.#unkept = undefined;
    } catch (error) {
      this.#unkept = `pictures are not kept: ${messageOf(error)}`;
    }
  }

  statusOf({ isPassing, message }: Extract<PictureScores, { readonly kind: "wait" }>): SourceStatus {
    const reason = `pictures wait for the model ${this.#config.model}: ${message}`;
    return { state: isPassing ? "opening" : "failed", reason };
  }
}

/** `identity`: what the picture is known by. */
export function pictureFrame(identity: string, { scores }: Scored): Uint8Array {
  return Buffer.from(JSON.stringify({ [pictureField]: identity, ...Object.fromEntries(scores) }));
}
