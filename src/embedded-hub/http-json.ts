import type { IncomingMessage, ServerResponse } from "node:http";
import { HubRequestError } from "./errors.ts";

export interface JsonAnswer {
  readonly status: number;
  /** Absent: no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The whole body. @throws HubRequestError 413 above `maxBytes`, 408 after `timeoutMs`, 400 when it breaks off */
export function readBody(request: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const refuse = (error: HubRequestError) => {
      clearTimeout(timer);
      request.removeAllListeners("data");
      // The rest is read and thrown away, so that the answer can still leave; the connection then closes.
      request.resume();
      reject(error);
    };
    const timer = setTimeout(() => {
      refuse(new HubRequestError(408, "RequestTimeout", `the body took longer than ${timeoutMs} ms`));
    }, timeoutMs);
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      chunks.push(chunk);
      if (bytes > maxBytes) {
        refuse(new HubRequestError(413, "RequestEntityTooLarge", `a body of ${maxBytes} bytes is allowed`));
      }
    });
    request.on("end", () => {
      clearTimeout(timer);
      resolve(Buffer.concat(chunks));
    });
    request.on("error", (error) => {
      refuse(new HubRequestError(400, "BadRequest", `the body broke off: ${error.message}`));
    });
  });
}

/** The body as JSON, undefined when empty. @throws HubRequestError 400 */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new HubRequestError(400, "ArgumentInvalid", `the body is not JSON: ${error.message}`);
  }
}

export function answer(response: ServerResponse, { status, body, headers = {} }: JsonAnswer): void {
  if (response.destroyed || response.headersSent) return;
  const text = body === undefined ? "" : JSON.stringify(body);
  const type = body === undefined ? {} : { "content-type": "application/json; charset=utf-8" };
  // A body that was refused unread would otherwise be taken for the next request.
  const connection = status === 413 || status === 408 ? { connection: "close" } : {};
  response.writeHead(status, {
    ...type,
    "content-length": Buffer.byteLength(text),
    ...connection,
    ...headers,
  });
  response.end(text);
}
