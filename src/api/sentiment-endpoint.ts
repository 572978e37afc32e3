import type { IncomingMessage, ServerResponse } from "node:http";
import { isObject, type JsonObject, type JsonValue } from "../core/json.ts";
import { isPlainName } from "../core/reading.ts";
import { readJsonBody } from "../infer/json-body.ts";
import { isRefusal } from "../infer/refusal.ts";
import type { Document } from "../sentiment/batches.ts";
import { isError, type Outcome } from "../sentiment/outcome.ts";
import type { NotScored, Scored, Scorer } from "../sentiment/scorer.ts";
import { ApiError, retryAfter } from "./api-error.ts";
import { type Answer, jsonAnswer } from "./endpoint.ts";
import { refusalError, type ScoringBodies } from "./scoring-requests.ts";
import type { PostedText, TextPosts } from "./text-posts.ts";

/** The sentiment container, as the API asks for it. */
export type Sentiments = Pick<Scorer, "score">;

/** `texts`: where those go that may wait. */
export interface SentimentParts {
  readonly sentiments: Sentiments;
  readonly texts: Pick<TextPosts, "post">;
  readonly bodies: ScoringBodies;
}

/** One call is one at a time at the container: it must end before its caller has forgotten it. */
const maxDocuments = 1_000;

interface NamedDocument extends Document, PostedText {
  readonly id: string;
}

/**
 * `POST /sentiment`: `{"text"}` or `{"documents": [{"id", "text"}]}` in, labels and scores out. With `?source=NAME` the
 * answer comes as soon as the texts are durable, and their scores are readings of that source.
 */
export async function sentiment(
  { sentiments, texts, bodies }: SentimentParts,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
): Promise<Answer> {
  const type = request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase() ?? "";
  if (type !== "" && type !== "application/json")
    throw new ApiError(415, "unsupportedMediaType", `${type} is not taken; send application/json`);
  return await bodies.with(request, response, async (body, client) => {
    const read = readJsonBody(body);
    if (isRefusal(read)) throw refusalError(read);
    const { documents, isOne } = documentsOf(read.value as JsonValue);
    const source = url.searchParams.get("source");
    if (source !== null) {
      await texts.post(source, documents);
      return jsonAnswer({ queued: documents.length }, 202);
    }
    const scored = await sentiments.score(documents, client);
    if ("refusal" in scored) throw notScored(scored);
    return isOne ? oneAnswer(scored) : manyAnswer(scored, documents);
  });
}

function oneAnswer({ outcomes: [outcome], api, modelVersion }: Scored): Answer {
  if (!outcome || isError(outcome)) {
    const { code, message } = outcome?.error ?? { code: "unscored", message: "there is no score" };
    throw new ApiError(422, "unscored", `the container does not score this text: ${message} (${code})`);
  }
  return jsonAnswer({ ...told(outcome), api, modelVersion });
}

function manyAnswer({ outcomes, api, modelVersion }: Scored, documents: readonly NamedDocument[]): Answer {
  const scored: object[] = [];
  const errors: object[] = [];
  for (const [index, { id }] of documents.entries()) {
    const outcome = outcomes[index];
    if (!outcome) continue;
    if (isError(outcome)) errors.push({ id, ...outcome.error });
    else scored.push({ id, ...told(outcome) });
  }
  return jsonAnswer({ documents: scored, errors, api, modelVersion });
}

function told({ label, score, scores, warnings, parts }: Exclude<Outcome, { error: unknown }>): object {
  return {
    label,
    score,
    scores,
    ...(parts > 1 ? { parts } : {}),
    ...(warnings.length > 0 ? { warnings } : {}),
  };
}

/** @throws ApiError 400 with the path of what is wrong */
function documentsOf(value: JsonValue): { documents: readonly NamedDocument[]; isOne: boolean } {
  const { documents, ...one }: JsonObject = isObject(value) ? value : {};
  if (documents === undefined)
    return { documents: [documentOf({ id: "1", ...one }, undefined)], isOne: true };
  if (!Array.isArray(documents)) throw wrong("documents", "must be an array");
  if (documents.length === 0) throw new ApiError(400, "noData", "there are no documents");
  if (documents.length > maxDocuments) throw wrong("documents", `has more than ${maxDocuments}`);
  const known = new Set<string>();
  const named = documents.map((document, index) => {
    const read = documentOf(document, `documents[${index}]`);
    if (known.has(read.id)) throw wrong(`documents[${index}].id`, "stands there twice");
    known.add(read.id);
    return read;
  });
  return { documents: named, isOne: false };
}

function documentOf(value: JsonValue, path: string | undefined): NamedDocument {
  const at = (key: string) => (path === undefined ? key : `${path}.${key}`);
  if (!isObject(value)) throw wrong(path ?? "", "must be an object");
  const { id, text, language, device } = value;
  if (typeof id !== "string" || id === "" || id.length > 128)
    throw wrong(at("id"), "must be a text of 1 to 128 characters");
  if (typeof text !== "string") throw wrong(at("text"), "must be a text");
  if (language !== undefined && (typeof language !== "string" || !/^[A-Za-z0-9-]{2,35}$/.test(language)))
    throw wrong(at("language"), "must be a language such as en or pt-BR");
  if (device !== undefined && (typeof device !== "string" || !isPlainName(device)))
    throw wrong(at("device"), "must be a name of 1 to 128 characters");
  return { id, text, language, device };
}

const wrong = (path: string, message: string) => new ApiError(400, "malformed", message, { path });

const statuses: Record<NotScored["refusal"], number> = {
  notConfigured: 404,
  badAnswer: 502,
  notReady: 503,
  busy: 503,
  stopping: 503,
  // Nobody reads it.
  cancelled: 499,
};

function notScored({ refusal, message, retryAfterMs = 1_000 }: NotScored): ApiError {
  const status = statuses[refusal];
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1_000));
  return new ApiError(status, refusal, message, status === 503 ? retryAfter(seconds) : {});
}
