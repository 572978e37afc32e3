import { isObject, type JsonObject, type JsonValue } from "../core/json.ts";
import type { Label, PartOutcome, Sentiment } from "./outcome.ts";

/**
 * What containers and the cloud speak, the newest first.
 * Facts: Azure/azure-rest-api-specs, TextAnalytics v2.1, v3.0 and v3.1; learn.microsoft.com on `:analyze-text`; the path
 * of v2.0 from github.com/gbaeke/sentiment.
 */
export const apis = ["analyzeText", "v3.1", "v3.0", "v2.1", "v2.0"] as const;
export type Api = (typeof apis)[number];

/** A text, or a part of one, as it is sent; the id is ours. */
export interface SentDocument {
  readonly id: string;
  readonly language: string;
  readonly text: string;
}

/** Behind the address of the container. Offsets are of no interest here, so no unit of them is asked for. */
export function pathOf(api: Api): string {
  return api === "analyzeText"
    ? "/language/:analyze-text?api-version=2022-05-01"
    : `/text/analytics/${api}/sentiment`;
}

export function bodyOf(api: Api, documents: readonly SentDocument[]): string {
  if (api !== "analyzeText") return JSON.stringify({ documents });
  const parameters = { modelVersion: "latest" };
  return JSON.stringify({ kind: "SentimentAnalysis", parameters, analysisInput: { documents } });
}

export interface Answer {
  /** Of each id that was sent. */
  readonly outcomes: ReadonlyMap<string, PartOutcome>;
  /** undefined where the version tells none. */
  readonly modelVersion: string | undefined;
}

/** The body of an answer with status 200, or what is wrong with it. A document that is missing, twice or a stranger's makes all of it wrong. */
export function readAnswer(
  api: Api,
  text: string,
  ids: readonly string[],
): Answer | { readonly fault: string } {
  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: "the answer is not JSON" };
  }
  if (!isObject(value)) return { fault: "the answer is no object" };
  if (value.error !== undefined) return { fault: `the answer is an error: ${errorText(value.error)}` };
  const results = api === "analyzeText" ? value.results : value;
  if (!isObject(results) || !Array.isArray(results.documents))
    return { fault: "the answer has no documents" };
  const { documents, errors = [], modelVersion } = results;
  if (!Array.isArray(errors)) return { fault: "the answer's errors are no array" };
  const wanted = new Set(ids);
  const outcomes = new Map<string, PartOutcome>();
  const readers = [
    [documents, (entry: JsonValue) => sentimentOf(api, entry)],
    [errors, documentError],
  ] as const;
  for (const [entries, read] of readers)
    for (const entry of entries) {
      const id = isObject(entry) ? entry.id : undefined;
      if (typeof id !== "string" || !wanted.has(id))
        return { fault: "the answer has a document that was not sent" };
      if (outcomes.has(id)) return { fault: "the answer has a document twice" };
      const outcome = read(entry);
      if (typeof outcome === "string") return { fault: outcome };
      outcomes.set(id, outcome);
    }
  if (outcomes.size < wanted.size) return { fault: "the answer lacks a document" };
  return { outcomes, modelVersion: typeof modelVersion === "string" ? modelVersion.slice(0, 64) : undefined };
}

/** What an answer with another status says for itself, as far as it does. */
export function reasonOf(text: string): string | undefined {
  try {
    const value: JsonValue = JSON.parse(text);
    if (!isObject(value)) return undefined;
    const error = value.error ?? value;
    return isObject(error) && error.message === undefined && error.code === undefined
      ? undefined
      : errorText(error);
  } catch {
    return undefined;
  }
}

const isShare = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1;
const labels: readonly unknown[] = ["positive", "neutral", "negative", "mixed"] satisfies Label[];
const isLabel = (value: unknown): value is Label => labels.includes(value);

function sentimentOf(api: Api, entry: JsonValue): Sentiment | string {
  if (!isObject(entry)) return "the answer has a document that is none";
  if (api === "v2.0" || api === "v2.1") {
    const { score } = entry;
    return isShare(score) ? ofScore(score) : "the answer has a document without a score from 0 to 1";
  }
  const { sentiment, confidenceScores: scores, warnings } = entry;
  if (!isLabel(sentiment)) return "the answer has a document without a sentiment that is known";
  if (!isObject(scores)) return "the answer has a document without confidenceScores";
  const { positive, neutral, negative } = scores;
  if (!isShare(positive) || !isShare(neutral) || !isShare(negative))
    return "the answer has a document with confidenceScores that are not from 0 to 1";
  const told = Array.isArray(warnings)
    ? warnings.flatMap((w) => (isObject(w) && typeof w.code === "string" ? [w.code] : []))
    : [];
  return {
    label: sentiment,
    score: scoreOf({ positive, neutral }),
    scores: { positive, neutral, negative },
    warnings: told.slice(0, 8).map((code) => code.slice(0, 64)),
  };
}

/** One number of three: 1 is positive, 0 negative, and what is neutral stands in the middle. */
const scoreOf = ({ positive, neutral }: { positive: number; neutral: number }) =>
  Math.min(1, positive + neutral / 2);

/** Of v2, which tells one number: below 0.3 is negative and above 0.7 positive, by the convention of its documentation. */
export function ofScore(score: number): Sentiment {
  const label = score > 0.7 ? "positive" : score < 0.3 ? "negative" : "neutral";
  return { label, score, scores: { positive: score }, warnings: [] };
}

/** `{"id", "message"}` of v2; `{"id", "error": {code, message, innererror}}` since. */
function documentError(entry: JsonValue): PartOutcome | string {
  if (!isObject(entry)) return "the answer has an error that is none";
  const error = isObject(entry.error) ? entry.error : entry;
  return { error: { code: codeOf(error), message: errorText(error) } };
}

function codeOf(error: JsonObject): string {
  return innermost(error, "code")?.slice(0, 64) || "unscored";
}

function errorText(error: JsonValue): string {
  if (!isObject(error)) return Array.isArray(error) ? "an array" : String(error).slice(0, 300);
  return innermost(error, "message")?.slice(0, 300) ?? codeOf(error);
}

/** `InvalidDocument` says more than the `InvalidArgument` around it. A loop, because how deep it goes is the sender's to say. */
function innermost(error: JsonObject, member: "code" | "message"): string | undefined {
  let found: string | undefined;
  let at: JsonValue | undefined = error;
  do {
    const value: JsonValue | undefined = at[member];
    if (typeof value === "string") found = value;
    else if (at !== error) break;
    at = at.innererror ?? at.innerError;
  } while (isObject(at));
  return found;
}
