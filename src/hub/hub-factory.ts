import type { HubConfig } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import { systemClock } from "../core/clock.ts";
import type { HubClientFactory } from "./hub-client.ts";

/** A factory for the configured hub. Client libraries are loaded when they are needed: each costs 10 to 30 MB. */
export async function hubClientFactory(
  hub: HubConfig,
  gateway: string,
  environment: NodeJS.ProcessEnv,
  productInfo: string,
): Promise<HubClientFactory> {
  switch (hub.type) {
    case "edge":
    case "iothub": {
      const { connectTimeoutMs, sendTimeoutMs, twinTimeoutMs, closeTimeoutMs } = hub;
      const connectionString =
        hub.type === "edge"
          ? undefined
          : () => resolveSecret(hub.connectionString, "hub.connectionString", environment);
      const caFile = hub.type === "edge" ? undefined : hub.caFile;
      const options = {
        connectionString,
        caFile,
        connectTimeoutMs,
        sendTimeoutMs,
        twinTimeoutMs,
        closeTimeoutMs,
      };
      if (hub.client === "sdk") {
        const { AzureClient } = await import("./azure-client.ts");
        return (events) => new AzureClient(options, events);
      }
      const { DirectClient } = await import("./direct-client.ts");
      const { transport } = hub;
      const proxy = hub.type === "iothub" ? proxyOf(hub) : undefined;
      const direct = { ...options, environment, productInfo, clock: systemClock, transport, proxy };
      return (events) => new DirectClient(direct, events);
    }
    case "mqtt": {
      const { MqttClient } = await import("./mqtt-client.ts");
      const { password } = hub;
      const options = {
        url: hub.url,
        protocolVersion: hub.protocolVersion,
        clientId: hub.clientId ?? `headgate-${gateway}`,
        username: hub.username,
        password: password && (() => resolveSecret(password, "hub.password", environment)),
        caFile: hub.caFile,
        certFile: hub.certFile,
        keyFile: hub.keyFile,
        topic: hub.topic.replaceAll("{gateway}", () => topicLevel(gateway)),
        connectTimeoutMs: hub.connectTimeoutMs,
        sendTimeoutMs: hub.sendTimeoutMs,
        closeTimeoutMs: hub.closeTimeoutMs,
      };
      return (events) => new MqttClient(options, events);
    }
    default:
      return hub satisfies never;
  }
}

/** The environment's is for what looks like HTTPS; edge hub stands on the near side of every proxy. */
function proxyOf(hub: Extract<HubConfig, { type: "iothub" }>): URL | "environment" | undefined {
  if (hub.proxy !== undefined) return new URL(hub.proxy);
  return hub.transport === "websocket" ? "environment" : undefined;
}

/** A name may hold characters that a topic must not (MQTT 3.1.1 section 4.7.1), or that would add a level. */
function topicLevel(name: string): string {
  return name.replace(/[#+/]/g, "_");
}
