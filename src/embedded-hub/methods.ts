import { randomUUID } from "node:crypto";
import { HubRequestError } from "./errors.ts";
import { methodTopic } from "./topics.ts";

export interface MethodCall {
  readonly methodName: string;
  /** JSON; undefined is sent as null. */
  readonly payload?: unknown;
  /** Default 30. */
  readonly responseTimeoutInSeconds?: number;
  /** How long to wait for the module to connect and to subscribe. Default 0. */
  readonly connectTimeoutInSeconds?: number;
}

export interface MethodResult {
  readonly status: number;
  readonly payload: unknown;
}

export interface MethodLink {
  /** Connected and subscribed to methods. */
  isReady(clientId: string): boolean;
  send(clientId: string, topic: string, payload: Buffer): boolean;
}

interface Pending {
  readonly clientId: string;
  readonly resolve: (result: MethodResult) => void;
  readonly reject: (error: HubRequestError) => void;
  readonly timer: NodeJS.Timeout;
}

const maxPending = 1_000;
const maxPayloadBytes = 128 * 1024;
const namePattern = /^[^\s$()<>@,;:\\"/[\]?={}]{1,100}$/;

function timeoutMs(value: number | undefined, defaultMs: number, name: string): number {
  if (value === undefined) return defaultMs;
  if (!Number.isFinite(value) || value < 0 || value > 3600) {
    throw new HubRequestError(400, "ArgumentInvalid", `${name}: 0 to 3600 seconds are allowed`);
  }
  return value * 1000;
}

/** Direct methods: requests on their way, matched with their answers by request id. */
export class Methods {
  readonly #link: MethodLink;
  readonly #isEmptyBody: () => boolean;
  readonly #pending = new Map<string, Pending>();
  readonly #waiting = new Map<string, Set<() => void>>();
  #waitingCount = 0;

  /** `isEmptyBody` is asked once per request: true sends it without a body. */
  constructor(link: MethodLink, isEmptyBody: () => boolean) {
    this.#link = link;
    this.#isEmptyBody = isEmptyBody;
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** @throws HubRequestError 400, 404 not connected, 429 too many, 502 answer is not JSON, 504 no answer in time */
  async invoke(clientId: string, call: MethodCall): Promise<MethodResult> {
    if (!namePattern.test(call.methodName)) {
      throw new HubRequestError(400, "ArgumentInvalid", `"${call.methodName}" is not a method name`);
    }
    const responseMs = timeoutMs(call.responseTimeoutInSeconds, 30_000, "responseTimeoutInSeconds");
    const connectMs = timeoutMs(call.connectTimeoutInSeconds, 0, "connectTimeoutInSeconds");
    const body = Buffer.from(JSON.stringify(call.payload ?? null));
    if (body.length > maxPayloadBytes) {
      throw new HubRequestError(400, "ArgumentInvalid", "payload: 128 KB are allowed");
    }
    if (this.#pending.size + this.#waitingCount >= maxPending) {
      throw new HubRequestError(429, "ThrottlingException", `${maxPending} method calls are pending`);
    }
    if (!this.#link.isReady(clientId)) await this.#waitFor(clientId, connectMs);
    const requestId = randomUUID();
    return await new Promise<MethodResult>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(requestId);
        reject(new HubRequestError(504, "GatewayTimeout", "Timed out waiting for the response from device."));
      }, responseMs);
      this.#pending.set(requestId, { clientId, resolve, reject, timer });
      const payload = this.#isEmptyBody() ? Buffer.alloc(0) : body;
      this.#link.send(clientId, methodTopic(call.methodName, requestId), payload);
    });
  }

  /** The client connected or subscribed to something; calls go on once that makes it ready for methods. */
  ready(clientId: string): void {
    if (!this.#link.isReady(clientId)) return;
    for (const wake of this.#waiting.get(clientId) ?? []) wake();
  }

  /** False when nobody waits for that answer: late, repeated or invented. */
  answered(clientId: string, requestId: string, status: number, body: Buffer): boolean {
    const id = requestId.toLowerCase();
    const pending = this.#pending.get(id);
    if (pending === undefined || pending.clientId !== clientId) return false;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    try {
      pending.resolve({ status, payload: body.length === 0 ? null : JSON.parse(body.toString("utf8")) });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      pending.reject(new HubRequestError(502, "InvalidResponse", `the answer is not JSON: ${error.message}`));
    }
    return true;
  }

  stop(): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new HubRequestError(503, "ServiceUnavailable", "the hub stopped"));
    }
    this.#pending.clear();
    for (const waiting of this.#waiting.values()) for (const wake of waiting) wake();
  }

  async #waitFor(clientId: string, connectMs: number): Promise<void> {
    if (connectMs > 0) {
      const waiting = this.#waiting.get(clientId) ?? new Set();
      this.#waiting.set(clientId, waiting);
      this.#waitingCount++;
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          waiting.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, connectMs);
        waiting.add(wake);
      });
      this.#waitingCount--;
      if (waiting.size === 0) this.#waiting.delete(clientId);
    }
    if (!this.#link.isReady(clientId)) {
      throw new HubRequestError(404, "DeviceNotOnline", "Timed out waiting for device to connect.");
    }
  }
}
