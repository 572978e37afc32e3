import type { Agent, IncomingMessage } from "node:http";
import { messageOf, TransientError } from "../core/errors.ts";
import { clientFor, responseOf } from "../core/http.ts";
import { isObject } from "../core/json.ts";
import { readJsonBody } from "./json-body.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";

/** A thousand images of a thousand classes take 25 MB. */
const maxAnswerBytes = 67_108_864;
/** What stands behind it in the answer that is an error is not read, and the connection closed. */
const maxErrorBytes = 8_192;
const maxWords = 200;
/** Whoever asks for more patience than that is asked again all the same. */
const maxRetryAfterS = 60;
/** Too many requests; a gateway that reaches nobody behind it; unavailable. */
const comeBackLater = [429, 502, 503, 504];
/** Statuses that are about the tensors, and not about the scorer: malformed, too large, not to be processed. */
const aboutTensors = [400, 413, 422];

/** One connection to a scorer over HTTP, kept open between requests. */
export class ScorerConnection {
  readonly #client: ReturnType<typeof clientFor>;
  readonly #agent: Agent;
  readonly #headers: Readonly<Record<string, string>>;
  /**
   * Whether refusals tell what the other end says. That is for callers; a status goes to the twin, and whoever writes
   * the twin may lead it to any server that the box can reach.
   */
  quotes = false;

  constructor(url: string, token: string | undefined) {
    this.#client = clientFor(url);
    this.#agent = new this.#client.Agent({ keepAlive: true, maxSockets: 1 });
    this.#headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  close(): void {
    this.#agent.destroy();
  }

  /**
   * The body of an answer that is a success. Posts JSON when there is any.
   * @throws TransientError MODEL_UNAVAILABLE when nobody answers, or not to the end; the signal's reason
   */
  async ask(url: string, json: string | undefined, signal: AbortSignal): Promise<Buffer | Refusal> {
    try {
      const { response, body } = await this.#exchange(url, json, signal);
      return this.#refusal(url, response, body) ?? body;
    } catch (error) {
      signal.throwIfAborted();
      // Of several addresses that all refuse, Node's error has no message but a code.
      const reason = messageOf(error) || (error as NodeJS.ErrnoException).code;
      throw new TransientError("MODEL_UNAVAILABLE", `${placeOf(url)}: ${reason}`, { cause: error });
    }
  }

  /** The same of an answer that is JSON. */
  async askJson(
    url: string,
    json: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly value: unknown } | Refusal> {
    const body = await this.ask(url, json, signal);
    if (isRefusal(body)) return body;
    const read = readJsonBody(body);
    return isRefusal(read) ? wrongAnswer(url, "the answer is not JSON") : read;
  }

  /** What the other end says, for a message; nothing where it is not to be told. */
  said(text: string): string {
    const words = text.replace(/[\s\p{C}]+/gu, " ").trim();
    return this.quotes && words !== "" ? `: ${words.slice(0, maxWords).toWellFormed()}` : "";
  }

  async #exchange(
    url: string,
    json: string | undefined,
    signal: AbortSignal,
    isRepeat = false,
  ): Promise<{ readonly response: IncomingMessage; readonly body: Buffer }> {
    const request = this.#client.request(url, {
      method: json === undefined ? "GET" : "POST",
      headers: { ...this.#headers, ...(json === undefined ? {} : { "content-type": "application/json" }) },
      agent: this.#agent,
      signal,
    });
    let response: IncomingMessage | undefined;
    try {
      request.end(json);
      response = await responseOf(request, signal);
      return { response, body: await bodyOf(response) };
    } catch (error) {
      request.destroy();
      // The other end closed a connection that was idle just when the request set out. To score twice does no harm.
      const isStale = request.reusedSocket && !response && !isRepeat && !signal.aborted;
      if (isStale) return await this.#exchange(url, json, signal, true);
      throw error;
    }
  }

  #refusal(url: string, { statusCode = 0, headers }: IncomingMessage, body: Buffer): Refusal | undefined {
    if (statusCode === 200 && body.length > maxAnswerBytes)
      return wrongAnswer(url, `the answer has more than ${maxAnswerBytes} bytes`);
    if (statusCode === 200) return undefined;
    const told = `${placeOf(url)} answers ${statusCode}${this.said(wordsOf(body))}`;
    if (comeBackLater.includes(statusCode)) {
      const seconds = Number(headers["retry-after"]);
      return {
        ...refuse("busy", told),
        retryAfterS: Number.isInteger(seconds) ? Math.min(Math.max(seconds, 1), maxRetryAfterS) : 1,
      };
    }
    if (aboutTensors.includes(statusCode)) return refuse("modelFailed", told);
    if (statusCode >= 300 && statusCode < 400)
      return refuse("remoteFailed", `${told}; redirects are not followed`);
    return refuse("remoteFailed", told);
  }
}

/** Without the query, which may hold what is nobody's business. */
export const placeOf = (url: string): string => `${new URL(url).origin}${new URL(url).pathname}`;

export const wrongAnswer = (url: string, problem: string): Refusal =>
  refuse("remoteFailed", `${placeOf(url)}: ${problem}`);

/** No more than may be there, and what shows that there is more. */
async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const maxBytes = response.statusCode === 200 ? maxAnswerBytes : maxErrorBytes;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    // Which ends the connection.
    if (bytes > maxBytes) break;
  }
  return Buffer.concat(chunks);
}

/** `{"error": "text"}` is what both protocols have; other servers have what they like. */
function wordsOf(body: Buffer): string {
  const read = readJsonBody(body);
  const error = !isRefusal(read) && isObject(read.value) ? read.value.error : undefined;
  return typeof error === "string" ? error : body.toString("utf8");
}
