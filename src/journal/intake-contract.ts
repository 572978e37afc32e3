import { queueBytes } from "../config/queue-bytes.ts";
import type { Config } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { Commit, StoreStatus } from "../store/contract.ts";

/** What of the configuration the intake needs. */
export function intakeSettings({ store, publish }: Config): IntakeSettings {
  const { maxLossMs, minCommitMs } = store;
  const { backfill, maxInFlight: _, ...compose } = publish;
  return {
    maxLossMs,
    minCommitMs,
    maxQueueBytes: queueBytes(store),
    compose: { ...compose, backfillAfterMs: backfill.afterMs },
  };
}

/** The store as the intake sees it. */
export interface CommitTarget {
  commit(commit: Commit): Promise<StoreStatus>;
}
/** Thrown by `commit` when nothing of it happened and it can be repeated with the batch that comes back. */
export interface Repeatable {
  readonly batch: Uint8Array;
  readonly status?: StoreStatus | undefined;
}

export interface IntakeSettings {
  readonly maxLossMs: number;
  readonly minCommitMs: number;
  readonly maxQueueBytes: number;
  readonly compose: Commit["compose"];
}

export interface IntakeOptions {
  readonly store: CommitTarget;
  readonly clock: Clock;
  readonly log: Logger;
  /** How many messages the hub is likely to take until the next commit. */
  readonly demand?: () => NonNullable<Commit["demand"]>;
  readonly onCommit: (status: StoreStatus) => void;
  /** A failure that no repetition mends. */
  readonly onFatal: (error: unknown) => void;
}

export interface IntakeStatus {
  readonly state: "ok" | "failing";
  readonly reason: string | undefined;
  readonly queuedBytes: number;
  readonly commits: number;
  /** Longest time from receipt to finished sync beyond `maxLossMs`, ms; 0 when the promise held throughout. */
  readonly overshootMs: number;
}

export function isRepeatable(error: unknown): error is Repeatable {
  return error instanceof Error && "batch" in error && error.batch instanceof Uint8Array;
}
