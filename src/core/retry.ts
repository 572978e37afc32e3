/** Exponential backoff with full jitter: uniform in 0…min(maxMs, baseMs × 2^attempt). */
export interface RetrySchedule {
  readonly baseMs: number;
  readonly maxMs: number;
  /** A run that lasted this long resets the count. */
  readonly healthyMs: number;
}

export const reconnectSchedule: RetrySchedule = { baseMs: 500, maxMs: 60_000, healthyMs: 60_000 };
/** For a hub that asks for patience: it starts, or it throttles. */
export const busySchedule: RetrySchedule = { baseMs: 10_000, maxMs: 300_000, healthyMs: 60_000 };
/**
 * Against a client with the same identity: whoever fights takes the connection from the other, for ever. No longer than
 * this, because a bad line looks the same, and delivers as long as it is tried.
 */
export const takeoverSchedule: RetrySchedule = { baseMs: 60_000, maxMs: 120_000, healthyMs: 180_000 };

/** Delay before retry number `attempt` (0 = the first). `random` in 0…1. */
export function backoffMs(schedule: RetrySchedule, attempt: number, random: number): number {
  return Math.min(schedule.maxMs, schedule.baseMs * 2 ** Math.min(attempt, 30)) * random;
}
