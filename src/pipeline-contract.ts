import type { PipelineConfig } from "./config/schema.ts";
import type { Entry } from "./core/entry.ts";
import type { Skipped } from "./core/skipped.ts";
import type { DedupeSnapshot } from "./dedupe/dedupe.ts";
import type { AlarmsSnapshot } from "./detect/alarms.ts";
import type { FeedsSnapshot } from "./feed/feeds.ts";
import type { KeyEntry } from "./journal/key-memory.ts";
import type { TimekeeperSnapshot } from "./journal/timekeeper.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { TextQueueSnapshot } from "./sentiment/text-queue.ts";
import type { TextChanges } from "./sentiment/text-stage.ts";
import type { WatermarksSnapshot } from "./window/watermarks.ts";
import type { WindowsSnapshot } from "./window/windows-snapshot.ts";

/** What a batch brought forth: entries for the outbox and what the ledger has to add. */
export interface PipelineOutput extends TextChanges {
  readonly entries: Entry[];
  readonly ledger: Ledger;
  /** How many journal entries the batch held. */
  journalEntries: number;
  /** How many of them tell of an unclean end. */
  uncleanStops: number;
  /** Frames that brought no reading, the first of them. */
  readonly skipped: Skipped[];
}

export interface PipelineSnapshot extends TimekeeperSnapshot {
  readonly config: PipelineConfig | undefined;
  /** How many configuration entries came so far. */
  readonly generation: number;
  readonly windows: WindowsSnapshot;
  /** Per source with times of its own, gone ones too: when it was last heard, and the newest of its times. */
  readonly heard: WatermarksSnapshot;
  readonly gaps?: number;
  /** How many readings were published by themselves; absent in snapshots of versions that did not. */
  readonly readings?: number;
  /** Absent in snapshots of versions that knew no alarms. */
  readonly alarms?: AlarmsSnapshot;
  /** Idempotency keys, oldest first. Snapshots written before there were any have none. */
  readonly keys?: readonly KeyEntry[];
  /** Absent in snapshots of versions that knew no dedupe. */
  readonly dedupe?: DedupeSnapshot;
  /** Absent in snapshots of versions that had no texts scored. */
  readonly texts?: TextQueueSnapshot;
  /** Absent in snapshots of versions that fed no models. */
  readonly feeds?: FeedsSnapshot;
}
