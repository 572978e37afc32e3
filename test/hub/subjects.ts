/** Both hub clients, on one hub of their own, as the contract sees them. */
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import type { EmbeddedHubOptions } from "../../src/embedded-hub/options.ts";
import { AzureClient } from "../../src/hub/azure-client.ts";
import { DirectClient } from "../../src/hub/direct-client.ts";
import type { HubTransport } from "../../src/hub/direct-stream.ts";
import type { DesiredPatch, HubClientEvents, HubMessage } from "../../src/hub/hub-client.ts";
import { plain } from "../support/hub-message.ts";

/** Ours; the SDK's own are 30 s for a PUBACK, 60 s for a connection, 240 s for an operation and none for the rest. */
export const deadlines = {
  connectTimeoutMs: 4_000,
  sendTimeoutMs: 1_000,
  twinTimeoutMs: 1_000,
  closeTimeoutMs: 500,
};
/** Far above our deadlines, far below the SDK's. */
const soonMs = 9_000;

export const clients = ["sdk", "direct"] as const;
export type ClientName = (typeof clients)[number];
/** `edge`: everything from the environment, as on a box; the others: a connection string. */
export type Way = "edge" | "iothub" | "iothub over WebSocket";
export const cases: readonly (readonly [ClientName, Way])[] = [
  ["sdk", "edge"],
  ["sdk", "iothub"],
  ["direct", "edge"],
  ["direct", "iothub"],
  ["direct", "iothub over WebSocket"],
];

export interface SubjectOptions {
  readonly sendTimeoutMs?: number;
  readonly connectTimeoutMs?: number;
  readonly keepAliveS?: number;
  readonly token?: { readonly validMs: number; readonly marginMs: number };
  /** Of the direct client. */
  readonly transport?: HubTransport;
  readonly proxy?: URL | "environment";
  readonly environment?: Readonly<Record<string, string>>;
  /** Instead of the subject's records. */
  readonly events?: HubClientEvents;
  /** Instead of a module of its own. */
  readonly connectionString?: () => string;
}

type Client = AzureClient | DirectClient;

export interface Subject {
  readonly client: Client;
  readonly id: string;
  readonly lost: Error[];
  readonly patches: DesiredPatch[];
}

export function clientOf(
  name: ClientName,
  connectionString: (() => string) | undefined,
  caFile: string | undefined,
  more: Omit<SubjectOptions, "connectionString" | "events">,
  events: HubClientEvents,
): Client {
  const { token, transport = "mqtt", proxy, environment = {}, ...times } = more;
  const options = { connectionString, caFile, ...deadlines, ...times };
  if (name === "direct") {
    const own = { productInfo: "headgate/test", clock: systemClock, transport, proxy, environment };
    return new DirectClient({ ...options, ...own, ...(token ? { token } : {}) }, events);
  }
  // The SDK knows no other environment.
  Object.assign(process.env, environment);
  const tokenRenewal = token && {
    tokenValidTimeInSeconds: token.validMs / 1_000,
    tokenRenewalMarginInSeconds: token.marginMs / 1_000,
  };
  return new AzureClient({ ...options, ...(tokenRenewal ? { tokenRenewal } : {}) }, events);
}

/** Starts a hub for the tests of a file and closes every client after each of them. */
export function bench(options: EmbeddedHubOptions = {}) {
  const open: Client[] = [];
  let made = 0;
  let hub: EmbeddedHub;
  beforeAll(async () => {
    hub = await startEmbeddedHub({ webSocketPort: 0, ...options });
  });
  afterEach(async () => {
    hub.clearFaults();
    await hub.startListening();
    await Promise.all(open.splice(0).map((client) => client.close()));
  });
  afterAll(async () => {
    await hub.stop();
  });
  return {
    get hub() {
      return hub;
    },
    /** A client of a module of its own. */
    subject(name: ClientName, way: Way, more: SubjectOptions = {}): Subject {
      const id = `m${++made}`;
      hub.createModule("edge", id);
      const { connectionString: given, events: own, ...rest } = more;
      const lost: Error[] = [];
      const patches: DesiredPatch[] = [];
      const events = own ?? {
        lost: (reason: Error) => lost.push(reason),
        desired: (patch: DesiredPatch) => patches.push(patch),
      };
      const straight = () => (given ?? (() => hub.connectionString("edge", id, { gateway: true })))();
      let client: Client;
      if (way === "edge") {
        const environment = { ...hub.environment(id), ...rest.environment };
        client = clientOf(name, undefined, undefined, { ...rest, environment }, events);
      } else if (way === "iothub") client = clientOf(name, straight, hub.caFile, rest, events);
      else {
        const other = () => straight().replace(`:${hub.port}`, `:${hub.webSocketPort}`);
        client = clientOf(name, other, hub.caFile, { ...rest, transport: "websocket" }, events);
      }
      open.push(client);
      return { client, id, lost, patches };
    },
    received: (id: string) => hub.messages.filter((m) => m.systemProperties.messageId === id),
  };
}

export function message(id: string, more: Partial<HubMessage> = {}): HubMessage {
  return { id, output: "readings", ...plain, body: Buffer.from(`[{"id":"${id}"}]`), ...more };
}

/** "resolved", or the error; long before the SDK's own deadlines. */
export async function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  const startedAt = Date.now();
  const outcome = await work.then(
    () => "resolved",
    (error: unknown) => error,
  );
  expect(Date.now() - startedAt).toBeLessThan(soonMs);
  return outcome;
}
