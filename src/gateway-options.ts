import type { Clock } from "./core/clock.ts";
import type { Logger } from "./core/logger.ts";
import type { TimeQuality } from "./core/reading.ts";
import type { StoreClient } from "./store/store-client.ts";

export interface GatewayOptions {
  readonly configFile: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly log: Logger;
  /** A store's thread that starts already, and that `onFatal` hears of; without it one is started. */
  readonly store?: StoreClient;
  /** What is known of the wall clock; without it, what the kernel says. */
  readonly clockQuality?: () => TimeQuality;
  /** The process cannot go on; it is to end with code 1 and be started again. */
  readonly onFatal: (error: unknown) => void;
}
