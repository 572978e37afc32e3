import type { Entry } from "../core/entry.ts";
import type { Skipped } from "../core/skipped.ts";
import type { RaisedAlarm } from "../detect/raised-alarms.ts";
import type { FeedNews } from "../feed/pending.ts";
import type { KeyEntry } from "../journal/key-memory.ts";
import type { Balance, Ledger } from "../ledger/ledger.ts";
import type { Bill } from "../outbox/bill.ts";
import type { ComposeSettings, Demand } from "../outbox/composer.ts";
import type { OutboxMessage, OutboxStatus } from "../outbox/outbox.ts";
import type { WaitingInStore } from "../sentiment/text-queue.ts";
import type { Retention } from "./room.ts";
import type { Damage } from "./state.ts";

export interface StoreSettings {
  /** Journal entries between snapshots: bounds what a start has to replay. */
  readonly snapshotEvery: number;
  /** Journal kept below the snapshot, compressed bytes. */
  readonly replayBytes: number;
  /** Bound for the store's files. */
  readonly maxBytes: number;
  /** Per source of the configuration. */
  readonly retention: Readonly<Record<string, Retention>>;
}

/** A message that the hub never takes. */
export interface Rejected {
  readonly message: number;
  readonly reason: string;
}

/** What is done with one commit; everything in it becomes durable together or not at all. */
export interface Commit {
  /** A batch of journal entries; empty when there is nothing new. */
  readonly batch: Uint8Array;
  /** Messages the hub acknowledged, and those it refused for good. */
  readonly acknowledged: readonly number[];
  readonly rejected: readonly Rejected[];
  readonly compose: ComposeSettings;
  /** How many messages may be composed ahead; without it as many as a hub that takes them needs. */
  readonly demand?: Demand;
  /** Wall ms, to say since when something may be missing; and monotonic ms, for the age of what waits. */
  readonly nowMs: number;
  readonly monotonicMs: number;
  /** Position of the last commit that the caller knows of: one that happened all the same is not made again. */
  readonly after?: number;
  /** Memory fills up behind it: on a full disk, what is old may go for what is new. */
  readonly isPressed?: boolean;
  /** The last commit of an orderly stop: it writes a snapshot and says that nothing is missing. */
  readonly last?: boolean;
}

export interface StoreStatus {
  readonly storeId: string;
  readonly position: number;
  readonly outbox: OutboxStatus;
  /** What was composed today. */
  readonly bill: Bill;
  /** Alarms that the commit composed: they come with its answer, because asking would wait for the next commit. */
  readonly alarms?: readonly OutboxMessage[];
  /** What models are to be fed with, since the commit before. */
  readonly feeds?: readonly FeedNews[];
  /** Frames of the commit that brought no reading, the first of them. */
  readonly skipped?: readonly Skipped[];
  /** What the commit's alarms are about, whether or not they are composed yet. */
  readonly raised?: readonly RaisedAlarm[];
  readonly openWindows: number;
  /** That wait for their scores, per source. */
  readonly texts: Readonly<Record<string, WaitingInStore>>;
  readonly books: Readonly<Record<string, Balance>>;
  /** Frames that wait for the clock to be known good; they are in no book yet. */
  readonly holding: number;
  /** Steady time minus monotonic time: what turns the times below, and those of the outbox, into monotonic ones. */
  readonly steadyBaseMs: number;
  /** Steady ms at which the next window closes, an alarm is found, or the next message falls due, if nothing else comes. */
  readonly windowDueMs: number | undefined;
  readonly composeDueMs: number | undefined;
  /** The last time something in the store was not what had been written. */
  readonly damage: Damage | undefined;
  /** The last time a stage of the pipeline threw at a frame, in this process. */
  readonly lastFault: string | undefined;
}

export interface Opened {
  readonly storeId: string;
  /** Fingerprint of the pipeline configuration that the journal ended with. */
  readonly configHash: string | undefined;
  /** Sources that may have lost bytes, because the last process did not stop in order; and since when. */
  readonly uncleanSinceMs: number | undefined;
  readonly sources: readonly string[];
  /** Idempotency keys of requests that were stored, oldest first. */
  readonly keys: readonly KeyEntry[];
  readonly replayed: number;
  /** The boot that the journal ended in, and whether its clock was known good once. */
  readonly boot: { readonly id: string; readonly wasSynced: boolean } | undefined;
  readonly status: StoreStatus;
  /** A newer program's store lies in the folder; this one stands in for it. */
  readonly isFallback?: boolean;
}

/** What a store leaves to another. */
export interface Retired {
  readonly storeId: string;
  readonly ledger: Ledger;
  readonly entries: Iterable<Omit<Entry, "id" | "revision">>;
}
