import type { Config } from "../config/schema.ts";
import type { StoreSettings, StoreStatus } from "./contract.ts";

/** What of the configuration the store needs. */
export function storeSettings({ store, sources }: Config): StoreSettings {
  const { snapshotEvery, replayBytes, maxBytes } = store;
  const retention = Object.entries(sources).map(([name, { priority, share, whenFull }]) => [
    name,
    { priority, share, whenFull },
  ]);
  return { snapshotEvery, replayBytes, maxBytes, retention: Object.fromEntries(retention) };
}

/** What is known of a store that was never opened. */
export const unopened: StoreStatus = {
  storeId: "",
  position: 0,
  outbox: { entries: 0, messages: 0, bytes: 0, oldestMs: undefined },
  bill: { day: 0, blocks: 0, messages: 0, bytes: 0 },
  openWindows: 0,
  texts: {},
  books: {},
  holding: 0,
  steadyBaseMs: 0,
  windowDueMs: undefined,
  composeDueMs: undefined,
  damage: undefined,
  lastFault: undefined,
};
