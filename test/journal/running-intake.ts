import { expect } from "vitest";
import { TransientError } from "../../src/core/errors.ts";
import { type JournalEntry, readBatch } from "../../src/journal/batch.ts";
import { Intake } from "../../src/journal/intake.ts";
import type { CommitTarget, IntakeSettings } from "../../src/journal/intake-contract.ts";
import type { Commit, StoreStatus } from "../../src/store/contract.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";
import { composing } from "../support/composing.ts";

export const emptyStatus: StoreStatus = {
  storeId: "store",
  position: 0,
  outbox: { entries: 0, messages: 0, bytes: 0, oldestMs: undefined },
  bill: { day: 0, blocks: 0, messages: 0, bytes: 0 },
  openWindows: 0,
  texts: {},
  holding: 0,
  /** That of a ManualClock before its wall clock steps. */
  steadyBaseMs: Date.UTC(2025, 0, 1) - 1_000,
  books: {},
  windowDueMs: undefined,
  composeDueMs: undefined,
  damage: undefined,
  lastFault: undefined,
};

interface Seen extends Omit<Commit, "batch"> {
  readonly startedMs: number;
  readonly entries: readonly JournalEntry[];
  readonly bytes: string;
}

/** A store in memory that takes its batches as the store thread does: the buffer is gone for the caller. */
export class MemoryStore implements CommitTarget {
  readonly #clock: ManualClock;
  readonly seen: Seen[] = [];
  /** Times at which a commit ended well. */
  readonly doneMs: number[] = [];
  takesMs = 0;
  /** Said of the commits to come, in order: what becomes of each. The rest succeeds. */
  fates: ("repeatable" | "bug")[] = [];
  alwaysFails = false;
  status: StoreStatus = emptyStatus;
  underWay = 0;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  async commit(commit: Commit): Promise<StoreStatus> {
    expect(++this.underWay).toBe(1);
    const { batch, ...rest } = structuredClone(commit, {
      transfer: commit.batch.length > 0 ? [commit.batch.buffer as ArrayBuffer] : [],
    });
    this.seen.push({
      ...rest,
      startedMs: this.#clock.monotonic(),
      bytes: Buffer.from(batch).toString("hex"),
      entries: [...readBatch(new Uint8Array(batch))],
    });
    if (this.takesMs > 0) await this.#clock.sleep(this.takesMs);
    this.underWay--;
    const fate = this.alwaysFails ? "repeatable" : this.fates.shift();
    if (fate === "bug") throw new Error("a bug");
    if (fate === "repeatable")
      throw Object.assign(new TransientError("STORE_UNUSABLE", "disk full"), { batch });
    this.doneMs.push(this.#clock.monotonic());
    return this.status;
  }

  /** Entries of all commits, each batch once. */
  get entries(): JournalEntry[] {
    return this.seen.flatMap((commit) => commit.entries);
  }
  frames(): string[] {
    return this.entries.flatMap((e) => (e.type === "frame" ? [Buffer.from(e.bytes).toString("utf8")] : []));
  }
}

export const defaults: IntakeSettings = {
  maxLossMs: 5_000,
  minCommitMs: 20,
  maxQueueBytes: 100_000,
  compose: composing,
};

/** An intake over a store in memory, and a clock that the test moves. */
export function running(settings: Partial<IntakeSettings> = {}, start = true) {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const log = recordingLog();
  const fatal: unknown[] = [];
  const intake = new Intake(
    { store, clock, log, onCommit: () => undefined, onFatal: (error) => fatal.push(error) },
    { ...defaults, ...settings },
  );
  if (start) intake.start();
  const frame = (text: string, source = "s") => intake.frame(source, Buffer.from(text));
  /** Whether a promise has settled by now, and how. */
  const watch = (work: Promise<unknown>) => {
    const state = { is: "waiting" as "waiting" | "resolved" | "rejected" };
    work.then(
      () => {
        state.is = "resolved";
      },
      () => {
        state.is = "rejected";
      },
    );
    return state;
  };
  return { clock, store, log, fatal, intake, frame, watch };
}

export const never = () => new AbortController().signal;
