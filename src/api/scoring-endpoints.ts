import type { IncomingMessage, ServerResponse } from "node:http";
import { classify } from "../infer/classify.ts";
import type { Answered } from "../infer/model.ts";
import { isRefusal, type Refusal } from "../infer/refusal.ts";
import type { ScoreForm } from "../infer/score-body.ts";
import { isElementType } from "../infer/tensor.ts";
import { ApiError } from "./api-error.ts";
import { type Answer, type Endpoint, jsonAnswer, withPlainErrors } from "./endpoint.ts";
import { formParts } from "./multipart.ts";
import type { BodyRoom } from "./request-body.ts";
import { type Models, modelNamed, ownBytes, refusalError, ScoringBodies } from "./scoring-requests.ts";
import { type Sentiments, sentiment } from "./sentiment-endpoint.ts";
import type { TextPosts } from "./text-posts.ts";
import { V2Endpoints } from "./v2-endpoints.ts";

/** Who scores. */
export interface Scoring {
  readonly models: Models;
  readonly sentiments: Sentiments;
}

/** What the API serves of the models, and of the sentiment container. */
export class ScoringEndpoints {
  readonly #models: Models;
  readonly #bodies: ScoringBodies;
  readonly #endpoints: Readonly<Record<string, Endpoint>>;
  readonly #v2: V2Endpoints;

  constructor({ models, sentiments }: Scoring, texts: TextPosts, maxBytes: number, room: BodyRoom) {
    this.#models = models;
    this.#bodies = new ScoringBodies(maxBytes, room);
    this.#v2 = new V2Endpoints(models, this.#bodies);
    this.#endpoints = {
      "/score": withPlainErrors({ method: "POST", answer: (...call) => this.#score(...call) }),
      "/classify": { method: "POST", answer: (...call) => this.#classify(...call) },
      "/sentiment": {
        method: "POST",
        answer: (...call) => sentiment({ sentiments, texts, bodies: this.#bodies }, ...call),
      },
      "/models": { method: "GET", answer: () => jsonAnswer({ models: models.status }) },
    };
  }

  /** For messages. */
  get paths(): readonly string[] {
    return [...Object.keys(this.#endpoints), "/v2/…"];
  }

  find(pathname: string): Endpoint | undefined {
    return Object.hasOwn(this.#endpoints, pathname) ? this.#endpoints[pathname] : this.#v2.find(pathname);
  }

  /** As scoring containers have it: numbers of images in, probabilities and seconds out. */
  async #score(request: IncomingMessage, response: ServerResponse, url: URL): Promise<Answer> {
    const [, model] = modelNamed(this.#models, url.searchParams.get("model") ?? undefined);
    const form = scoreForm(request);
    return await this.#bodies.with(request, response, async (body, client) => {
      const { bytes, transfer } = ownBytes(body);
      const answered = await model.ask(async ({ config }) => {
        const { mean, deviation } = config.image;
        const normalisation = { kind: config.score.normalisation, mean, deviation };
        return { task: { kind: "score", body: bytes, form, normalisation }, transfer };
      }, client);
      const { probabilities, classes, totalMs } = rows(answered);
      const all = Array.from(probabilities);
      const images = all.length / classes;
      const result =
        images === 1
          ? all
          : Array.from({ length: images }, (_, i) => all.slice(i * classes, (i + 1) * classes));
      return jsonAnswer({ result, time: totalMs / 1_000 });
    });
  }

  /** An image in, the names of what it most likely shows out. */
  async #classify(request: IncomingMessage, response: ServerResponse, url: URL): Promise<Answer> {
    const [name, model] = modelNamed(this.#models, url.searchParams.get("model") ?? undefined);
    const k = Number(url.searchParams.get("k") ?? 5);
    if (!Number.isInteger(k) || k < 1 || k > 1_000)
      throw new ApiError(400, "badRequest", "k must be a number from 1 to 1000");
    return await this.#bodies.with(request, response, async (body, client) => {
      const found = await classify(model, this.#models.images, imageOf(request, body), k, client);
      if (isRefusal(found)) throw refusalError(found);
      return jsonAnswer({ model: name, ...found });
    });
  }
}

/** @throws ApiError */
function rows(answered: Answered | Refusal) {
  if (isRefusal(answered)) throw refusalError(answered);
  const { outcome } = answered;
  if (outcome.kind !== "probabilities") throw new ApiError(500, "internal", "the answer is of another kind");
  return outcome;
}

/** @throws ApiError */
function scoreForm({ headers }: IncomingMessage): ScoreForm {
  const type = mediaType(headers["content-type"]);
  if (type === "" || type === "application/json") return { kind: "json" };
  if (!["application/octet-stream", "application/x-npy"].includes(type)) {
    const message = `${type} is not taken; send application/json, application/octet-stream or application/x-npy`;
    throw new ApiError(415, "unsupportedMediaType", message);
  }
  const { "tensor-shape": shape, "tensor-type": elements = "float32" } = headers;
  if (typeof elements !== "string" || !isElementType(elements))
    throw new ApiError(400, "badType", "tensor-type is none of float32, uint8 and other types of ONNX");
  if (shape === undefined) return { kind: "binary", shape: undefined, type: elements };
  if (typeof shape !== "string" || !/^\d{1,9}(,\d{1,9}){0,7}$/.test(shape))
    throw new ApiError(400, "badShape", "tensor-shape must be sizes with commas, such as 1,3,224,224");
  return { kind: "binary", shape: shape.split(",").map(Number), type: elements };
}

const mediaType = (header: string | undefined) => header?.split(";")[0]?.trim().toLowerCase() ?? "";

/** The body, or the one file of a form. @throws ApiError */
function imageOf({ headers }: IncomingMessage, body: Buffer): Uint8Array {
  const contentType = headers["content-type"] ?? "";
  const type = mediaType(contentType);
  if (type !== "multipart/form-data") {
    if (type === "" || type === "application/octet-stream" || type.startsWith("image/")) return body;
    const message = `${type} is not taken; send an image as it is, or in multipart/form-data`;
    throw new ApiError(415, "unsupportedMediaType", message);
  }
  const parts = formParts(contentType, body);
  if (!parts) throw new ApiError(400, "malformed", "the form is cut off, or none");
  const image = parts.find(({ name }) => name === "image") ?? parts[0];
  if (!image) throw new ApiError(400, "noData", "the form holds no part with an image");
  return image.bytes;
}
