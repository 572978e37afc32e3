import type { JsonObject, JsonValue } from "../core/json.ts";

/** A message as the hub gets it. */
export interface HubMessage {
  readonly id: string;
  readonly output: string;
  readonly body: Uint8Array;
  /** What the body is, before `contentEncoding`. */
  readonly contentType: "application/json" | "application/x-ndjson";
  /** Hubs route by the body only when it is `utf-8`. */
  readonly contentEncoding: "utf-8" | "gzip";
  /** Application properties: printable ASCII without separators, few and short, because they are metered. */
  readonly properties: Readonly<Record<string, string>>;
}

export interface TwinDocument {
  readonly desired: JsonObject;
  /** Undefined when the hub does not know it, as edge hub on its first start offline. */
  readonly desiredVersion: number | undefined;
  readonly reported: JsonObject;
}

export interface DesiredPatch {
  readonly patch: JsonObject;
  /** Undefined: patches may have been missed, and only the whole twin tells. */
  readonly version: number | undefined;
}

export interface MethodAnswer {
  readonly status: number;
  readonly payload: JsonValue;
}

export interface InputMessage {
  /** Undefined: from the cloud to a device. */
  readonly input: string | undefined;
  readonly id: string | undefined;
  readonly contentType: string | undefined;
  readonly contentEncoding: string | undefined;
  /** The application's; edge hub's own begin with `$.`. */
  readonly properties: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The hub waits for the acknowledgement; false when it has it already, or wants none. */
  readonly waits: boolean;
}

export interface HubClientEvents {
  /** The connection is of no more use; the client is to be closed and another one made. Called at most once. */
  lost(reason: Error): void;
  desired(patch: DesiredPatch): void;
  /** Answers a direct method, unknown ones too; a rejection is a 500. Absent: methods are not subscribed. */
  readonly method?: (name: string, payload: JsonValue) => Promise<MethodAnswer>;
  /**
   * Takes a message. The direct client acknowledges it when this resolves, and not at all when it rejects, so that the
   * hub sends it again; the SDK acknowledges on receipt. Absent: inputs are not subscribed.
   */
  readonly input?: (message: InputMessage) => Promise<void>;
  /** False: inputs are not subscribed, and what a kept session brings stays at the hub if it can, or goes to `input`. */
  readonly wantsInputs?: boolean;
  /** The hub does not let this identity subscribe; the connection stands all the same. */
  readonly refused?: (what: "methods" | "inputs", reason: string) => void;
}

/**
 * One connection to a hub, used once: after a loss it is closed and another one is made, because the SDK's client
 * does not come back whole. Every method has its own deadline and rejects with
 * TransientError (repeat, on a new client) or PermanentError (this item never passes).
 */
export interface HubClient {
  connect(): Promise<void>;
  /** Resolves when the hub has confirmed the message. Many may be under way; they leave in the order of the calls. */
  send(message: HubMessage): Promise<void>;
  /** Undefined for a hub without twins. */
  readonly twin: TwinClient | undefined;
  /** Never rejects, ends within its deadline, and leaves no socket and no timer behind. */
  close(): Promise<void>;
}

export interface TwinClient {
  /** Subscribes to desired patches, so that none is missed between this and the following `get`. */
  subscribe(): Promise<void>;
  get(): Promise<TwinDocument>;
  /** Merges into the reported properties; `null` deletes. */
  report(patch: JsonObject): Promise<void>;
}

export type HubClientFactory = (events: HubClientEvents) => HubClient;
