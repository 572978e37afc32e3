import type { IncomingMessage, ServerResponse } from "node:http";
import type { Images } from "../infer/images.ts";
import type { Model, ModelStatus } from "../infer/model.ts";
import type { Refusal } from "../infer/refusal.ts";
import { ApiError, type ApiErrorCode, retryAfter } from "./api-error.ts";
import { type BodyRoom, readBody } from "./request-body.ts";

/** The models, as the API asks for them. */
export interface Models {
  readonly names: readonly string[];
  readonly status: Readonly<Record<string, ModelStatus>>;
  readonly images: Images;
  get(name: string): Model | undefined;
}

const statuses: Record<Refusal["refusal"], number> = {
  malformed: 400,
  noData: 400,
  ragged: 400,
  notANumber: 400,
  notFinite: 400,
  badShape: 400,
  badType: 400,
  badLength: 400,
  unknownTensor: 400,
  unsuitableModel: 400,
  badImage: 400,
  imageTooLarge: 413,
  modelFailed: 422,
  remoteFailed: 502,
  notReady: 503,
  busy: 503,
  stopping: 503,
  lost: 503,
  // Nobody reads it.
  cancelled: 499,
};

/** The answer to a request that is not scored. */
export function refusalError({ refusal, message, retryAfterS = 1 }: Refusal): ApiError {
  const status = statuses[refusal];
  return new ApiError(
    status,
    refusal satisfies ApiErrorCode,
    message,
    status === 503 ? retryAfter(retryAfterS) : {},
  );
}

/**
 * The model of that name; without one the only one there is.
 * @throws ApiError 404, or 400 when it is not plain which is meant
 */
export function modelNamed(models: Models, name: string | undefined): readonly [string, Model] {
  const [only, ...others] = models.names;
  if (name === undefined && others.length > 0)
    throw new ApiError(400, "modelMissing", `add ?model= with one of ${models.names.join(", ")}`);
  const wanted = name ?? only;
  const model = wanted === undefined ? undefined : models.get(wanted);
  if (wanted !== undefined && model) return [wanted, model];
  const which = wanted === undefined ? "" : ` ${JSON.stringify(wanted)}`;
  throw new ApiError(404, "unknownModel", `there is no model${which}`);
}

/** Bodies of requests to models, which have room of their own: an image is larger than a reading. */
export class ScoringBodies {
  readonly #maxBytes: number;
  readonly #room: BodyRoom;

  constructor(maxBytes: number, room: BodyRoom) {
    this.#maxBytes = maxBytes;
    this.#room = room;
  }

  /** Reads the body, and tells when the caller is gone. @throws ApiError, BodyCut */
  async with<T>(
    request: IncomingMessage,
    response: ServerResponse,
    work: (bytes: Buffer, client: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const gone = new AbortController();
    const leave = () => gone.abort(new Error("the caller is gone"));
    response.once("close", leave);
    const body = await readBody(request, response, this.#maxBytes, this.#room);
    try {
      return await work(body.bytes, gone.signal);
    } finally {
      response.off("close", leave);
      body.release();
    }
  }
}

/** What a thread may take over: bytes that are alone in their memory. Small ones share it with others, and are copied. */
export function ownBytes(bytes: Uint8Array): {
  readonly bytes: Uint8Array;
  readonly transfer: ArrayBuffer[];
} {
  const { buffer, byteLength } = bytes;
  const isAlone = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength;
  const own = isAlone ? bytes : Uint8Array.from(bytes);
  return { bytes: own, transfer: own.buffer instanceof ArrayBuffer ? [own.buffer] : [] };
}
