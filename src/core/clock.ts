import { setTimeout as delay } from "node:timers/promises";

/** Time enters here and nowhere else, so that tests and replays can supply their own. */
export interface Clock {
  /** Wall clock, ms since 1970 UTC. May step. */
  wall(): number;
  /** Monotonic ms since an arbitrary start (since boot on Linux); the only base for elapsed time. */
  monotonic(): number;
  /** Resolves after `ms`, or rejects with the signal's reason. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  wall: Date.now,
  monotonic: () => Number(process.hrtime.bigint() / 1000n) / 1000,
  sleep: async (ms, signal) => {
    await delay(ms, undefined, signal ? { signal } : {});
  },
};
