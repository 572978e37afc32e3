import type { ErrorCode } from "../core/errors.ts";
import {
  backoffMs,
  busySchedule,
  type RetrySchedule,
  reconnectSchedule,
  takeoverSchedule,
} from "../core/retry.ts";

export interface Schedules {
  /** After a loss, or when there is no connection to be had. */
  readonly reconnect: RetrySchedule;
  /** When the hub says that it is busy. */
  readonly busy: RetrySchedule;
  /** When another client seems to have the same identity; over when a connection was healthy once. */
  readonly takeover: RetrySchedule;
}
export const hubSchedules: Schedules = {
  reconnect: reconnectSchedule,
  busy: busySchedule,
  takeover: takeoverSchedule,
};

/**
 * So many connections in a row that the hub ended before they were healthy are most likely another client's doing:
 * two that take turns end each other's connection after whatever pause the other made. The pauses have reached their
 * longest by then, so that a link that only flaps loses nothing by being mistaken at first.
 */
const cutShortForTakeover = 8;

/** How long to wait for the next connection, by how the last ones ended. */
export class Pace {
  readonly #schedules: Schedules;
  #schedule: RetrySchedule;
  #attempt = -1;
  #cutShort = 0;

  constructor(schedules: Schedules) {
    this.#schedules = schedules;
    this.#schedule = schedules.reconnect;
  }

  /** Whether the next pause is because of another client with the same identity. */
  get isTakenOver(): boolean {
    return this.#schedule === this.#schedules.takeover;
  }

  /**
   * A client ended, with this code, so long after its connection stood; undefined when it never did. `isExplained`: a
   * message is known to have ended it, and so no other client.
   */
  ended(code: ErrorCode | undefined, stoodMs: number | undefined, isExplained = false): void {
    const before = this.#schedule;
    // What brought no connection says nothing of another client.
    if (stoodMs !== undefined) {
      const { healthyMs } = this.#schedules.reconnect;
      const isCutShort = code === "HUB_LOST" && stoodMs < healthyMs && !isExplained;
      this.#cutShort = isCutShort ? this.#cutShort + 1 : 0;
    }
    const wasHealthy = stoodMs !== undefined && stoodMs >= before.healthyMs;
    // An end that was not the hub's doing was no other client's either.
    const isOver = wasHealthy || (stoodMs !== undefined && (code !== "HUB_LOST" || isExplained));
    if (this.#cutShort >= cutShortForTakeover || (this.isTakenOver && !isOver)) {
      this.#schedule = this.#schedules.takeover;
    } else this.#schedule = code === "HUB_BUSY" ? this.#schedules.busy : this.#schedules.reconnect;
    this.#attempt = wasHealthy || this.#schedule !== before ? 0 : this.#attempt + 1;
  }

  /** Full jitter: many gateways that lost one hub together do not come back together. */
  pauseMs(random: number): number {
    return backoffMs(this.#schedule, this.#attempt, random);
  }
}
