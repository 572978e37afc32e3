import { randomUUID } from "node:crypto";
import { TransientError } from "../core/errors.ts";
import { isObject, type JsonObject } from "../core/json.ts";
import { TwinStatusError } from "./failures.ts";

interface TwinAnswer {
  readonly status: number;
  readonly payload: Buffer;
}

/** Requests to the twin that wait for their answer, by request identifier. */
export class TwinRequests {
  readonly #pending = new Map<string, { resolve(answer: TwinAnswer): void; reject(reason: Error): void }>();
  /** An answer to a request of an earlier client of this session must not match one of ours. */
  readonly #prefix = randomUUID().slice(0, 8);
  #made = 0;

  /** @throws TransientError HUB_TIMEOUT; whatever `fail` gave */
  answerTo(send: (requestId: string) => void, timeoutMs: number): Promise<TwinAnswer> {
    const requestId = `${this.#prefix}-${++this.#made}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        settle(() => reject(new TransientError("HUB_TIMEOUT", `the twin: no answer within ${timeoutMs} ms`)));
      }, timeoutMs);
      const settle = (how: () => void) => {
        clearTimeout(timer);
        this.#pending.delete(requestId);
        how();
      };
      this.#pending.set(requestId, {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (reason) => settle(() => reject(reason)),
      });
      send(requestId);
    });
  }

  answered(requestId: string, answer: TwinAnswer): void {
    this.#pending.get(requestId)?.resolve(answer);
  }

  fail(reason: Error): void {
    for (const { reject } of [...this.#pending.values()]) reject(reason);
  }
}

export function twinOf({ status, payload }: TwinAnswer): JsonObject {
  const body = parsed(payload);
  if (status >= 300) throw new TwinStatusError("getting", status, said(body));
  if (!isObject(body)) throw new Error("the hub answered a twin request with no twin");
  return body;
}

export function checkReported({ status, payload }: TwinAnswer): void {
  // Edge hub's refusals have no body, and IoT Hub's say why.
  if (status >= 300) throw new TwinStatusError("reporting to", status, said(parsed(payload)));
}

/** Undefined for what is not JSON, such as edge hub's empty bodies. */
export function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function said(body: unknown): Error | undefined {
  return isObject(body) && typeof body.message === "string" ? new Error(body.message) : undefined;
}
