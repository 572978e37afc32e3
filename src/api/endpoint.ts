import type { IncomingMessage, ServerResponse } from "node:http";
import { ApiError } from "./api-error.ts";

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Endpoint {
  readonly method: "GET" | "POST";
  readonly answer: (request: IncomingMessage, response: ServerResponse, url: URL) => Answer | Promise<Answer>;
}

const json = "application/json; charset=utf-8";

export function jsonAnswer(body: object, status = 200): Answer {
  return { status, type: json, body: `${JSON.stringify(body)}\n` };
}

/** An endpoint for clients that know an error as `{"error": "text"}`, as scoring containers and the V2 protocol have it. */
export function withPlainErrors({ method, answer }: Endpoint): Endpoint {
  return {
    method,
    answer: async (...call) => {
      try {
        return await answer(...call);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const { message, code, status, headers } = error;
        return { ...jsonAnswer({ error: message, code }, status), headers };
      }
    },
  };
}
