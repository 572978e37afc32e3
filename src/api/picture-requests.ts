import type { Config } from "../config/schema.ts";
import { isObject, type JsonValue } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import type { MethodAnswer } from "../hub/hub-client.ts";
import type { KeptPictures } from "../pictures/kept-pictures.ts";
import { PictureUploads, type UploadCounts, type Uploaded } from "../pictures/picture-uploads.ts";
import type { PictureTaken } from "../sources/source-set.ts";
import { maxAnswerBytes } from "./direct-methods.ts";

/** Within the 30 s that callers of direct methods wait unless they say otherwise. */
const deadlineMs = 25_000;

/** Fewer where they have many scores, of which an answer holds only so much. */
const mostListed = 10;

type Take = (source: string, signal: AbortSignal) => Promise<PictureTaken>;

const uploadStatus: Readonly<Record<Exclude<Uploaded["kind"], "uploaded">, number>> = {
  badUrl: 400,
  forbidden: 403,
  unknownPicture: 404,
  refused: 502,
  busy: 503,
  unreachable: 503,
  late: 504,
};

/** The direct methods `takePicture`, of a camera with a URL, and `listPictures` and `uploadPicture`, of what is kept. */
export class PictureRequests {
  readonly #take: Take;
  readonly #kept: KeptPictures;
  readonly #uploads: PictureUploads;

  constructor(take: Take, kept: KeptPictures, sources: () => Config["sources"], log: Logger) {
    this.#take = take;
    this.#kept = kept;
    this.#uploads = new PictureUploads(kept, sources, deadlineMs, log);
  }

  /** Since the start. */
  get uploads(): UploadCounts {
    return this.#uploads.counts;
  }

  /** The newest, as the local API lists them. */
  async list(payload: JsonValue): Promise<MethodAnswer> {
    const { source, before, ...more } = isObject(payload) ? payload : {};
    if (!isTextOrNone(source) || !isTextOrNone(before) || Object.keys(more).length > 0)
      return refusal(400, `send {"source": "…", "before": "…"}, either or neither of them, and nothing else`);
    const pictures = await this.#kept.list(source, before, mostListed);
    const fitting = (count: number): MethodAnswer["payload"] => {
      const payload = { pictures: pictures.slice(0, count).map((picture) => ({ ...picture })) };
      return Buffer.byteLength(JSON.stringify(payload)) > maxAnswerBytes ? fitting(count - 1) : payload;
    };
    return { status: 200, payload: fitting(mostListed) };
  }

  async upload(payload: JsonValue): Promise<MethodAnswer> {
    const { source, picture, url, ...more } = isObject(payload) ? payload : {};
    const isWhole = typeof source === "string" && typeof picture === "string" && typeof url === "string";
    if (!isWhole || Object.keys(more).length > 0)
      return refusal(400, `send {"source": "…", "picture": "…", "url": "…"}, and nothing else`);
    const uploaded = await this.#uploads.upload(source, picture, url);
    if (uploaded.kind !== "uploaded") return refusal(uploadStatus[uploaded.kind], uploaded.message);
    const { bytes, etag } = uploaded;
    return { status: 200, payload: { source, picture, bytes, ...(etag === undefined ? {} : { etag }) } };
  }

  async take(payload: JsonValue): Promise<MethodAnswer> {
    const { source, ...more } = isObject(payload) ? payload : {};
    if (typeof source !== "string" || Object.keys(more).length > 0)
      return refusal(400, `send {"source": "…"}, and nothing else`);
    const taken = await this.#take(source, AbortSignal.timeout(deadlineMs));
    switch (taken.kind) {
      case "taken":
        return { status: 200, payload: { source, scores: taken.scores } };
      case "unknownSource":
        return refusal(404, `there is no source of type imageUrl ${JSON.stringify(source)} that is on`);
      case "failed":
        return refusal(503, taken.message);
      case "late":
        return refusal(504, "no picture came in time; one may still come");
      default:
        return taken satisfies never;
    }
  }
}

const isTextOrNone = (value: JsonValue | undefined): value is string | undefined =>
  value === undefined || typeof value === "string";
const refusal = (status: number, message: string) => ({ status, payload: { message } });
