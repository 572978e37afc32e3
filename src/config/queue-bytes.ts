import type { Config } from "./schema.ts";

/** Bytes that may wait to be stored: what waits must fit into the store in one commit when it may. */
export function queueBytes({ maxQueueBytes, maxBytes }: Config["store"]): number {
  return Math.min(maxQueueBytes, Math.floor(maxBytes / 8));
}
