import type { ClientRequest, RequestOptions } from "node:http";
import { within } from "../core/deadline.ts";
import { TransientError } from "../core/errors.ts";
import { clientFor, responseOf } from "../core/http.ts";

export interface Reply {
  readonly status: number;
  /** Absent without the header, or with one that says nothing. */
  readonly retryAfterMs: number | undefined;
  readonly text: string;
}

/** Of an answer that only says whether, or what is wrong. */
const wordBytes = 65_536;
/** Parsing more would hold up everything else. */
const mostBytes = 4_194_304;
/**
 * v3.1 tells each sentence, with what is said of it: about 125 bytes, for as little as "A. " (three bytes). A request of
 * more than 80 KB has longer ones.
 */
const bytesPerByte = 50;

/** How much of the answer to a body is read. */
const maxBytesOf = (body: string): number =>
  Math.min(mostBytes, wordBytes + bytesPerByte * Buffer.byteLength(body));

/**
 * One request and its answer: whole with status 200 to a body, else as far as it is of interest.
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
  const call = clientFor(url).request(url, { ...options, agent: false });
  try {
    call.end(body);
    return await within(replyTo(call, body, signal), timeoutMs, url, signal, "SENTIMENT_UNAVAILABLE");
  } finally {
    call.destroy();
  }
}

async function replyTo(call: ClientRequest, body: string | undefined, signal: AbortSignal): Promise<Reply> {
  const response = await responseOf(call, signal);
  const { statusCode: status = 0, headers } = response;
  const isWhole = status === 200 && body !== undefined;
  const maxBytes = isWhole ? maxBytesOf(body) : wordBytes;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes && isWhole)
      throw new TransientError("SENTIMENT_REFUSED", `the answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
    if (bytes > maxBytes) break;
  }
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
