import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer } from "../core/http.ts";

/** Named in every answer, where the container of Azure names its model. */
const modelVersion = "headgate-stand-in";

const maxBodyBytes = 1_048_576;
const maxDocuments = 10;
const maxElements = 5_120;

const good =
  "good great excellent happy love loved nice perfect pleasant clean fast friendly best thanks working";
const poor = "bad poor terrible sad hate hated broken dirty slow rude worst awful smells failed angry noisy";
const positiveWords = new Set(good.split(" "));
const negativeWords = new Set(poor.split(" "));
const negations = new Set(["not", "no", "never", "isn't", "wasn't", "don't"]);

export interface SimulatedContainer {
  readonly url: string;
  stop(): Promise<void>;
}

interface Scores {
  readonly positive: number;
  readonly neutral: number;
  readonly negative: number;
}

/**
 * A stand-in for the sentiment container, for tries without one: it has the container's paths and shapes, from v2.0 to
 * `:analyze-text`, and its limits, and scores by counting words of a short list.
 */
export async function startSentimentContainer(port = 0): Promise<SimulatedContainer> {
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname } = new URL(request.url ?? "", "http://localhost");
  const answer = await answerTo(request.method ?? "", pathname, request);
  response.writeHead(answer.status, {
    "content-type": "application/json; charset=utf-8",
    "x-stand-in": "a word counter of headgate simulate, no container of Azure",
  });
  response.end(JSON.stringify(answer.body));
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

async function answerTo(method: string, path: string, request: IncomingMessage): Promise<Answer> {
  if (method === "GET" && ["/", "/ready", "/status"].includes(path))
    return { status: 200, body: { service: "sentiment", modelVersion, apiStatus: "Valid" } };
  const version = /^\/text\/analytics\/v(2\.[01]|3\.[01])\/sentiment$/.exec(path)?.[1];
  const isUnified = path === "/language/:analyze-text";
  if (version === undefined && !isUnified) return refusal(404, "NotFound", "no such path");
  if (method !== "POST") return refusal(405, "InvalidRequest", "POST is taken");
  const body = await jsonOf(request);
  if (body === undefined) return refusal(400, "InvalidRequest", "the body is not JSON, or too large");
  const input = isUnified ? member(body, "analysisInput") : body;
  const documents = member(input, "documents");
  if (!Array.isArray(documents) || documents.length === 0)
    return refusal(400, "InvalidRequest", "there are no documents");
  if (documents.length > maxDocuments)
    return refusal(400, "InvalidDocumentBatch", `more than ${maxDocuments} documents`);
  if (documents.some((document) => typeof member(document, "id") !== "string"))
    return refusal(400, "InvalidRequest", "a document has no id");
  if (!isUnified) return { status: 200, body: results(documents, version?.startsWith("2.") ?? false) };
  if (member(body, "kind") !== "SentimentAnalysis")
    return refusal(400, "InvalidArgument", "kind is SentimentAnalysis here");
  return { status: 200, body: { kind: "SentimentAnalysisResults", results: results(documents, false) } };
}

const refusal = (status: number, code: string, message: string): Answer => ({
  status,
  body: { error: { code, message } },
});

function results(documents: readonly unknown[], isOld: boolean): object {
  const scored: object[] = [];
  const errors: object[] = [];
  for (const document of documents) {
    const id = member(document, "id");
    const text = member(document, "text");
    const wrong = wrongWith(text);
    if (wrong !== undefined) {
      const innererror = { code: "InvalidDocument", message: wrong };
      const error = { code: "InvalidArgument", message: "Invalid document in request.", innererror };
      errors.push(isOld ? { id, message: wrong } : { id, error });
    } else scored.push(isOld ? { id, score: oneNumber(String(text)) } : { id, ...analysed(String(text)) });
  }
  return { documents: scored, errors, modelVersion };
}

function wrongWith(text: unknown): string | undefined {
  if (typeof text !== "string" || text.trim() === "") return "Document text is empty.";
  if (text.length <= maxElements) return undefined;
  const elements = [...new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text)].length;
  return elements > maxElements
    ? `A document within the request was too large to be processed. Limit document size to: ${maxElements} text elements.`
    : undefined;
}

function oneNumber(text: string): number {
  const { positive, neutral } = scoresOf(text);
  return rounded(positive + neutral / 2);
}

function analysed(text: string): object {
  const sentences = [...text.matchAll(/[^.!?\n]+[.!?\n]*/g)].map(({ 0: sentence, index }) => {
    const confidenceScores = scoresOf(sentence);
    const found = { text: sentence, offset: index, length: sentence.length };
    return { sentiment: labelOf(confidenceScores), confidenceScores, ...found };
  });
  const labels = new Set(sentences.map(({ sentiment }) => sentiment));
  const isMixed = labels.has("positive") && labels.has("negative");
  const plain = labels.has("positive") ? "positive" : labels.has("negative") ? "negative" : "neutral";
  return {
    sentiment: isMixed ? "mixed" : plain,
    confidenceScores: scoresOf(text),
    sentences,
    warnings: [],
  };
}

function labelOf({ positive, neutral, negative }: Scores): "positive" | "neutral" | "negative" {
  if (positive > neutral && positive > negative) return "positive";
  return negative > neutral ? "negative" : "neutral";
}

/** Words of the lists, each turned by a negation before it. */
function scoresOf(text: string): Scores {
  let positive = 0;
  let negative = 0;
  let isTurned = false;
  for (const word of text.toLowerCase().match(/[\p{L}']+/gu) ?? []) {
    if (negations.has(word)) {
      isTurned = true;
      continue;
    }
    if (positiveWords.has(word)) isTurned ? negative++ : positive++;
    if (negativeWords.has(word)) isTurned ? positive++ : negative++;
    if (positiveWords.has(word) || negativeWords.has(word)) isTurned = false;
  }
  const all = positive + negative;
  if (all === 0) return { positive: 0.05, neutral: 0.9, negative: 0.05 };
  const share = rounded(0.02 + (0.94 * positive) / all);
  return { positive: share, neutral: 0.02, negative: rounded(0.98 - share) };
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

/** undefined when it is no JSON, or too large. */
async function jsonOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) chunks.push(chunk);
  }
  if (bytes > maxBodyBytes) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString("utf8"));
  } catch {
    return undefined;
  }
}
