import { once } from "node:events";
import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { within } from "../core/deadline.ts";
import { TransientError } from "../core/errors.ts";
import { request } from "../core/http.ts";

export interface Reply {
  readonly status: number;
  /** Absent without the header, or with one that says nothing. */
  readonly retryAfterMs: number | undefined;
  readonly text: string;
}

/** A request of 1 MB comes back with each of its sentences and what is said of it. */
const maxReplyBytes = 16_777_216;

/**
 * One request and its answer, whole.
 * @throws the transport's errors; TransientError SENTIMENT_UNAVAILABLE after `timeoutMs`, SENTIMENT_REFUSED when it is
 * too large; the signal's reason
 */
export async function exchange(
  url: string,
  options: RequestOptions,
  body: string | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Reply> {
  // Loaded when it is needed: most containers are a neighbour without TLS.
  const make = url.startsWith("https:") ? process.getBuiltinModule("node:https").request : request;
  const call = make(url, { ...options, agent: false });
  // What comes after the deadline is of no interest, and must not be an unhandled event.
  call.on("error", () => undefined);
  try {
    call.end(body);
    return await within(replyTo(call), timeoutMs, url, signal, "SENTIMENT_UNAVAILABLE");
  } finally {
    call.destroy();
  }
}

async function replyTo(call: ClientRequest): Promise<Reply> {
  const [response]: IncomingMessage[] = await once(call, "response");
  if (!response) throw new Error("no answer");
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxReplyBytes)
      throw new TransientError("SENTIMENT_REFUSED", `the answer has more than ${maxReplyBytes} bytes`);
    chunks.push(chunk);
  }
  const { statusCode: status = 0, headers } = response;
  return {
    status,
    retryAfterMs: retryAfterMs(headers["retry-after"], headers.date),
    text: Buffer.concat(chunks).toString("utf8"),
  };
}

/** Seconds, or a date (RFC 9110 section 10.2.3), which is measured by the sender's own clock. */
function retryAfterMs(header: string | undefined, date: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1_000;
  const ms = Date.parse(header) - Date.parse(date ?? "");
  return Number.isFinite(ms) && ms >= 0 ? ms : undefined;
}
