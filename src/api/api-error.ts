import type { FrameDiscard } from "../core/reading.ts";
import type { Refusal } from "../infer/refusal.ts";
import type { NotScored } from "../sentiment/scorer.ts";

/** What the API refuses with; a refused reading is named by the word that the books use for such a frame. */
export type ApiErrorCode =
  | FrameDiscard
  | Refusal["refusal"]
  | NotScored["refusal"]
  | "unscored"
  | "badRequest"
  | "unauthorized"
  | "notFound"
  | "methodNotAllowed"
  | "tooLarge"
  | "unsupportedMediaType"
  | "badKey"
  | "keyReused"
  | "sourceMissing"
  | "unknownModel"
  | "modelMissing"
  | "storeFailing"
  | "stopping"
  | "internal";

/** An answer that is no success: nothing of the request was taken, unless the message says otherwise. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: ApiErrorCode;
  /** Where in the body: `[2]` in an array, `line 3` among lines. */
  readonly path: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ApiErrorCode,
    message: string,
    more: { readonly path?: string | undefined; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.path = more.path;
    this.headers = more.headers ?? {};
  }

  get body(): object {
    const path = this.path === undefined ? {} : { path: this.path };
    return { error: { code: this.code, message: this.message, ...path } };
  }
}

/** For callers who are to come back. */
export const retryAfter = (seconds: number) => ({ headers: { "retry-after": String(seconds) } });
