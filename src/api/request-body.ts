import type { IncomingMessage, ServerResponse } from "node:http";
import { ApiError, retryAfter } from "./api-error.ts";

/** Bytes of bodies that are not answered yet, or of answers that are under way, over all requests. */
export class BodyRoom {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#maxBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

export interface Body {
  readonly bytes: Buffer;
  /** To be called when nobody needs it any more. */
  readonly release: () => void;
}

/** The connection broke, or the time for the request was over, before the body was whole. */
export class BodyCut extends Error {}

/**
 * The whole body.
 * @throws ApiError 413 above `maxBytes`, 415 when it is compressed, 503 without room; BodyCut
 */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  maxBytes: number,
  room: BodyRoom,
): Promise<Body> {
  const { "content-encoding": encoding = "identity", "content-length": length, expect } = request.headers;
  if (encoding !== "identity")
    throw new ApiError(415, "unsupportedMediaType", `a body in ${encoding} is not taken; send it as it is`);
  const tooLarge = () => new ApiError(413, "tooLarge", `a body of at most ${maxBytes} bytes is taken`);
  if (Number(length) > maxBytes) throw tooLarge();
  // Who asks before sending is asked for the body only when it is wanted (RFC 9110 section 10.1.1).
  if (expect !== undefined) response.writeContinue();
  delete request.headers.expect;
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    // Not iterated to its end by force: who is refused in the middle must still get the answer.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      if (bytes + chunk.length > maxBytes) throw tooLarge();
      if (!room.take(chunk.length))
        throw new ApiError(503, "busy", "too many bodies at a time; nothing was taken", retryAfter(1));
      bytes += chunk.length;
      chunks.push(chunk);
    }
  } catch (error) {
    room.giveBack(bytes);
    if (error instanceof ApiError) throw error;
    throw new BodyCut("the body broke off", { cause: error });
  }
  return { bytes: Buffer.concat(chunks), release: () => room.giveBack(bytes) };
}

/** Of a body that nobody wants, what is read and thrown away so that its sender gets to see the answer. */
const maxUnwantedBytes = 33_554_432;
const maxUnwantedMs = 5_000;

/** Sends an answer, also while the body is still coming: the connection is closed behind it then. */
export async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>>,
): Promise<void> {
  if (response.destroyed || response.headersSent) return;
  const hasMore = isComing(request);
  response.writeHead(status, {
    "cache-control": "no-store",
    "content-length": Buffer.byteLength(body),
    ...(hasMore ? { connection: "close" } : {}),
    ...headers,
  });
  if (!hasMore) {
    response.end(body);
    return;
  }
  // Closed with bytes unread, the connection would be reset, and the answer lost on its way.
  response.write(body);
  await discardRest(request);
  response.end();
}

/** Whether a body is still under way. Node calls also a request without one incomplete at first. */
export function isComing({ complete, headers }: IncomingMessage): boolean {
  if (complete) return false;
  return Number(headers["content-length"] ?? 0) > 0 || headers["transfer-encoding"] !== undefined;
}

async function discardRest(request: IncomingMessage): Promise<void> {
  // Who asked before sending and was refused sends nothing.
  if (request.headers.expect !== undefined || request.destroyed) return;
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    let bytes = 0;
    timer = setTimeout(resolve, maxUnwantedMs);
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxUnwantedBytes) resolve();
    });
    for (const end of ["end", "close", "error"]) request.once(end, resolve);
  });
  clearTimeout(timer);
}
