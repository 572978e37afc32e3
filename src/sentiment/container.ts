import { type ErrorCode, messageOf, TransientError } from "../core/errors.ts";
import { type Answer, type Api, bodyOf, pathOf, readAnswer, reasonOf, type SentDocument } from "./apis.ts";
import { exchange, type Reply } from "./exchange.ts";

/** `silent`: no answer in time; `denied`: the key; `absent`: no such path; `badAnswer`: one that is not of the API. */
export type TroubleKind = "unreachable" | "silent" | "busy" | "denied" | "absent" | "failed" | "badAnswer";

const isOperators: readonly TroubleKind[] = ["denied", "absent", "badAnswer"];

/** Why a request brought no scores. */
export class ContainerTrouble extends TransientError {
  readonly kind: TroubleKind;
  readonly retryAfterMs: number | undefined;

  constructor(kind: TroubleKind, message: string, retryAfterMs?: number, options?: ErrorOptions) {
    const code: ErrorCode = isOperators.includes(kind) ? "SENTIMENT_REFUSED" : "SENTIMENT_UNAVAILABLE";
    super(code, message, options);
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface ContainerPlace {
  readonly url: string;
  /** The cloud's; a container takes none. */
  readonly key: string | undefined;
  readonly timeoutMs: number;
}

/** What is asked to see whether an API is spoken. */
const sample: SentDocument = { id: "1", language: "en", text: "OK" };

/** A container of Azure's Text Analytics or Language service, or the cloud's endpoint of it. */
export class Container {
  readonly #place: ContainerPlace;
  readonly #base: string;

  constructor(place: ContainerPlace) {
    this.#place = place;
    this.#base = place.url.replace(/\/+$/, "");
  }

  /**
   * The first of the APIs that it speaks, told by scoring a word.
   * @throws ContainerTrouble when it speaks none, or does not answer
   */
  async find(candidates: readonly Api[], signal: AbortSignal): Promise<{ api: Api; answer: Answer }> {
    await this.#ready(signal);
    const refusals: string[] = [];
    for (const api of candidates) {
      try {
        return { api, answer: await this.ask(api, [sample], signal) };
      } catch (error) {
        const isOfApi =
          error instanceof ContainerTrouble && ["absent", "failed", "badAnswer"].includes(error.kind);
        if (!isOfApi) throw error;
        if (candidates.length === 1) throw error;
        refusals.push(`${api}: ${error.message}`);
      }
    }
    const message = `it speaks none of the APIs; ${refusals.join("; ")}`;
    throw new ContainerTrouble("absent", message);
  }

  /** @throws ContainerTrouble; the signal's reason */
  async ask(api: Api, documents: readonly SentDocument[], signal: AbortSignal): Promise<Answer> {
    const { key } = this.#place;
    const body = bodyOf(api, documents);
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      ...(key === undefined ? {} : { "ocp-apim-subscription-key": key }),
    };
    const reply = await this.#exchange("POST", pathOf(api), headers, body, signal);
    if (reply.status !== 200) throw refusalOf(reply);
    const ids = documents.map(({ id }) => id);
    const answer = readAnswer(api, reply.text, ids);
    if ("fault" in answer) throw new ContainerTrouble("badAnswer", answer.fault, reply.retryAfterMs);
    return answer;
  }

  /** A container that loads says so; the cloud, and what only resembles a container, has no such path. */
  async #ready(signal: AbortSignal): Promise<void> {
    const { status, retryAfterMs } = await this.#exchange("GET", "/ready", {}, undefined, signal);
    if (status >= 500)
      throw new ContainerTrouble("busy", `it is not ready: /ready answers ${status}`, retryAfterMs);
  }

  async #exchange(
    method: "GET" | "POST",
    path: string,
    headers: Readonly<Record<string, string | number>>,
    body: string | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    const { timeoutMs } = this.#place;
    try {
      return await exchange(`${this.#base}${path}`, { method, headers }, body, timeoutMs, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      throw new ContainerTrouble(kindOf(error), messageOf(error), undefined, { cause: error });
    }
  }
}

/** Of a request without a whole answer. */
function kindOf(error: unknown): TroubleKind {
  if (!(error instanceof TransientError)) return "unreachable";
  return error.code === "SENTIMENT_REFUSED" ? "badAnswer" : "silent";
}

function refusalOf({ status, retryAfterMs, text }: Reply): ContainerTrouble {
  const reason = reasonOf(text);
  const message = `it answers ${status}${reason === undefined ? "" : `: ${reason}`}`;
  const kinds: Readonly<Record<number, TroubleKind>> = {
    401: "denied",
    403: "denied",
    404: "absent",
    405: "absent",
    429: "busy",
    502: "busy",
    503: "busy",
    504: "busy",
  };
  return new ContainerTrouble(kinds[status] ?? "failed", message, retryAfterMs);
}
