import type { BrokerLimits } from "./broker.ts";
import type { FaultSettings } from "./faults.ts";
import type { RouteDefinition } from "./routes.ts";
import type { StoreLimits } from "./store.ts";
import type { RecordLimits } from "./telemetry.ts";

export interface EmbeddedHubOptions {
  /** TLS MQTT port on `host`; 0 or absent takes a free one. */
  readonly port?: number;
  /** MQTT over WebSocket and TLS as well; 0 takes a free one, absent none. */
  readonly webSocketPort?: number;
  /** Plain HTTP port of the control interface, always on 127.0.0.1; 0 or absent takes a free one. */
  readonly controlPort?: number;
  /** Offers the workload API on this loopback port as well; 0 takes a free one, absent none. */
  readonly workloadPort?: number;
  /** Serves edge hub's metrics on this port of `host`; 0 takes a free one, absent none. Edge hub's own is 9600. */
  readonly metricsPort?: number;
  /** Address the broker listens on. Default 127.0.0.1. */
  readonly host?: string;
  /** The hub's own name, in user names and tokens. */
  readonly hostName?: string;
  /** The name clients reach the broker under, and its certificate is for. Default localhost. */
  readonly gatewayHostName?: string;
  /** The edge device. Default "edge". */
  readonly deviceId?: string;
  /** Modules of the edge device. Default ["gateway"]. */
  readonly modules?: readonly string[];
  /** Further devices. */
  readonly devices?: readonly string[];
  /** Primary keys, base64, by client identifier (`device` or `device/module`). The others are random. */
  readonly keys?: Readonly<Record<string, string>>;
  /** Whose answers to twin requests are given: edge hub's (default) or IoT Hub's own. */
  readonly mode?: "edgeHub" | "hub";
  /** By name. Default: everything to $upstream. */
  readonly routes?: Readonly<Record<string, RouteDefinition>>;
  /** Store and forward, as in a deployment manifest: default 7200, negative never expires. */
  readonly timeToLiveSecs?: number;
  /** JSON lines of each accepted message, written before its PUBACK. */
  readonly messageLog?: string;
  /** JSON lines of each message that went upstream. */
  readonly upstreamLog?: string;
  /** An input message without PUBACK is delivered again after this. Default 30,000. */
  readonly inputRedeliveryMs?: number;
  /** Whether a connection ends when its token does. Default "ignore". */
  readonly tokenExpiry?: "ignore" | "disconnect";
  /** Where the private folder (sockets, CA file) is made; default the system's. At most 80 characters. */
  readonly temporaryFolder?: string;
  /** Faults that are on from the start. */
  readonly faults?: FaultSettings;
  readonly limits?: Partial<HubLimits>;
}

export interface HubLimits extends BrokerLimits {
  readonly maxIdentities: number;
  /** Of the accepted messages, and of those upstream, each. */
  readonly record: RecordLimits;
  /** Waiting for upstream. */
  readonly upstreamStore: StoreLimits;
  /** Waiting for a module or device, each. */
  readonly inputStore: StoreLimits;
}

export const defaultLimits: HubLimits = {
  maxPacketBytes: 262_144,
  connectTimeoutMs: 60_000,
  maxKeepAliveMs: 600_000,
  maxUnsentBytes: 4_000_000,
  maxConnections: 1_000,
  maxFiltersPerSession: 50,
  maxIdentities: 10_000,
  record: { maxMessages: 10_000, maxBytes: 64_000_000 },
  upstreamStore: { maxMessages: 100_000, maxBytes: 256_000_000 },
  inputStore: { maxMessages: 10_000, maxBytes: 64_000_000 },
};
