export interface SoakConfigOptions {
  readonly store: string;
  readonly brokerPort: number;
  readonly maxBytes: number;
}

export const sourceName = "plant";

/**
 * The gateway of the soak. Messages composed ahead are final and can be neither thinned nor evicted; here they are most
 * of the store's room (64 of them), so that an outage of minutes fills the rest.
 */
export function soakConfig({ store, brokerPort, maxBytes }: SoakConfigOptions) {
  return {
    gateway: { name: "box" },
    sources: {
      [sourceName]: {
        type: "mqtt",
        url: `mqtt://127.0.0.1:${brokerPort}`,
        topic: "plant/+/readings",
        decode: { format: "json" },
        device: { topicLevel: 1 },
        // As many as the broker may have in flight, and send again.
        dedupe: { by: "sequence", field: "seq", remembered: 5_000 },
      },
    },
    windows: { second: { sizeMs: 1_000 } },
    // Long enough for messages to become as large as they may.
    publish: { maxDelayMs: 3_000, maxMessageBytes: Math.round((maxBytes * 0.6) / 64) },
    hub: { type: "edge", sendTimeoutMs: 2_000, closeTimeoutMs: 500 },
    clock: { maxHoldMs: 0 },
    api: { state: "off" },
    store: { path: store, maxBytes },
  };
}
