import { readFileSync } from "node:fs";

/** How the image has V8 and the C library's allocator, which decide how much memory a process keeps that it does not use. */
export function memorySettingsOfTheImage(): Record<string, string> {
  const text = readFileSync(new URL("../../../Dockerfile.amd64", import.meta.url), "utf8");
  const settings = [...text.matchAll(/^\s+(MALLOC_[A-Z_]+|NODE_OPTIONS)=(\S+)/gm)].map(
    ([, name = "", value = ""]) => [name, value],
  );
  if (settings.length === 0) throw new Error("the image says nothing of memory");
  return Object.fromEntries(settings);
}

export interface SoakConfigOptions {
  readonly store: string;
  readonly brokerPort: number;
  readonly maxBytes: number;
}

export const sourceName = "plant";

/** The window that accounts for the readings. */
export const windowName = "second";

/** The gateway of the soak. */
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
    // The second one accounts for nothing; it fills the smallest store there is within an outage of minutes.
    windows: { [windowName]: { sizeMs: 1_000 }, fifth: { sizeMs: 200 } },
    publish: { maxDelayMs: 1_000, maxMessageBytes: 32_768 },
    hub: { type: "edge", sendTimeoutMs: 2_000, closeTimeoutMs: 500 },
    clock: { maxHoldMs: 0 },
    api: { state: "off" },
    store: { path: store, maxBytes },
  };
}
