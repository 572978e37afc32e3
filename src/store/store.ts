import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Database, openDatabase, type Statement, storeError } from "../core/database.ts";
import type { Accounts } from "../core/entry.ts";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import { Journal, pack, unpack } from "../journal/journal.ts";
import type { KeyEntry } from "../journal/key-memory.ts";
import {
  type Account,
  accountOf,
  type Balance,
  balances,
  countDiscard,
  type Ledger,
  mergeLedger,
} from "../ledger/ledger.ts";
import {
  type ComposeSettings,
  emptyOutbox,
  Outbox,
  type OutboxCounters,
  type OutboxMessage,
  type OutboxStatus,
} from "../outbox/outbox.ts";
import { Pipeline, type PipelineSnapshot } from "../pipeline.ts";

const schemaVersion = 1;

export interface StoreSettings {
  /** Journal entries between snapshots: bounds what a start has to replay. */
  readonly snapshotEvery: number;
  /** Journal kept below the snapshot, compressed bytes. */
  readonly replayBytes: number;
}

/** What is done with one commit; everything in it becomes durable together or not at all. */
export interface Commit {
  /** A batch of journal entries; empty when there is nothing new. */
  readonly batch: Uint8Array;
  /** Messages the hub acknowledged, and those it refused for good. */
  readonly acknowledged: readonly number[];
  readonly rejected: readonly number[];
  readonly compose: ComposeSettings;
  /** Wall ms, for the age of what waits. */
  readonly nowMs: number;
  /** The last commit of an orderly stop: it writes a snapshot and says that nothing is missing. */
  readonly last?: boolean;
}

export interface StoreStatus {
  readonly storeId: string;
  readonly position: number;
  readonly outbox: OutboxStatus;
  readonly openWindows: number;
  readonly books: Readonly<Record<string, Balance>>;
  /** Wall ms at which the next window closes or the next message falls due, if nothing else comes. */
  readonly windowDueMs: number | undefined;
  readonly composeDueMs: number | undefined;
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
  readonly status: StoreStatus;
}

/** The one row that every commit rewrites. */
interface State {
  position: number;
  /** Written by an orderly stop only. */
  clean: boolean;
  /** Wall ms of the last commit. */
  committedMs: number;
  outbox: OutboxCounters;
  ledger: [string, Account][];
}

/**
 * The store: journal, outbox, ledger and cursor in one SQLite file, and the pipeline between them.
 * Batches are journaled and processed in one transaction, so everything up to `position` has already brought forth
 * its entries: a replay rebuilds the open windows and nothing else.
 * It runs on the store thread, because a synced write to an SD card can block for half a second.
 */
export class Store {
  readonly #settings: StoreSettings;
  readonly #database: Database;
  readonly #journal: Journal;
  readonly #storeId: string;
  readonly #writeState: Statement<[string]>;
  readonly #readState: Statement<[], { state: string }>;
  readonly #writeSnapshot: Statement<[number, number, Uint8Array]>;
  readonly #readSnapshot: Statement<[], { position: number; checksum: number; snapshot: Buffer }>;
  #pipeline!: Pipeline;
  #outbox!: Outbox;
  #ledger: Ledger = new Map();
  #state!: State;
  #sinceSnapshot = 0;
  #composeDueMs: number | undefined;

  /** @throws PermanentError STORE_BUSY, STORE_NEWER, STORE_CORRUPT; TransientError STORE_UNUSABLE */
  constructor(folder: string, settings: StoreSettings) {
    this.#settings = settings;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o750 });
    } catch (error) {
      throw new TransientError("STORE_UNUSABLE", `making ${folder}: ${messageOf(error)}`, { cause: error });
    }
    const path = join(folder, "headgate.db");
    this.#database = openDatabase(path, (version) => refuseNewer(version, path));
    try {
      this.#storeId = prepareSchema(this.#database, path);
      this.#journal = new Journal(this.#database);
      this.#writeState = this.#database.prepare("UPDATE state SET state = ?");
      this.#readState = this.#database.prepare("SELECT state FROM state");
      this.#writeSnapshot = this.#database.prepare("REPLACE INTO snapshot VALUES (1, ?, ?, ?)");
      this.#readSnapshot = this.#database.prepare("SELECT position, checksum, snapshot FROM snapshot");
    } catch (error) {
      this.#database.close();
      throw storeError(`opening ${path}`, error);
    }
  }

  /** Loads the snapshot and replays the journal behind it. */
  open(): Opened {
    const replayed = this.#recover();
    const { clean, committedMs, position } = this.#state;
    return {
      storeId: this.#storeId,
      configHash: this.#pipeline.config?.hash,
      uncleanSinceMs: clean || position === 0 ? undefined : committedMs,
      sources: Object.keys(this.#pipeline.config?.sources ?? {}),
      keys: this.#pipeline.keys,
      replayed,
      status: this.status(),
    };
  }

  /**
   * @throws TransientError STORE_UNUSABLE; nothing of the commit happened then, and it can be repeated.
   */
  commit(commit: Commit): StoreStatus {
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      this.#process(commit);
      enterPhase("commit");
      this.#database.exec("COMMIT");
    } catch (error) {
      try {
        if (this.#database.inTransaction) this.#database.exec("ROLLBACK");
        // The pipeline in memory is ahead of the disk now; what was committed is the truth.
        this.#recover();
      } catch (again) {
        // Memory and disk differ for good: only a new start can mend that.
        throw new PermanentError(
          "STORE_UNUSABLE",
          `going back after ${messageOf(error)}: ${messageOf(again)}`,
          { cause: again },
        );
      }
      throw storeError("committing", error);
    }
    return this.status();
  }

  /** The first message behind `sequence`. */
  next(sequence: number): OutboxMessage | undefined {
    return this.#outbox.next(sequence);
  }

  status(): StoreStatus {
    return {
      storeId: this.#storeId,
      position: this.#state.position,
      outbox: this.#outbox.status(),
      openWindows: this.#pipeline.openWindows,
      books: balances(this.#ledger, this.#held(this.#state.outbox.held)),
      windowDueMs: this.#pipeline.wakeAtMs(),
      composeDueMs: this.#composeDueMs,
    };
  }

  /** The books with `held` counted anew from windows and rows: slow, for audits and tests. */
  audit(): Record<string, Balance> {
    return balances(this.#ledger, this.#held(this.#outbox.heldByRows()));
  }

  close(): void {
    this.#database.close();
  }

  #process(commit: Commit): void {
    const state = this.#state;
    for (const sequence of commit.acknowledged) {
      for (const [source, count] of Object.entries(this.#outbox.remove(sequence))) {
        accountOf(this.#ledger, source).published += count;
      }
    }
    for (const sequence of commit.rejected) {
      for (const [source, count] of Object.entries(this.#outbox.remove(sequence))) {
        countDiscard(accountOf(this.#ledger, source), "rejected", count);
      }
    }
    if (commit.batch.length > 0) {
      state.position++;
      this.#journal.append(state.position, commit.batch);
      const { entries, ledger, journalEntries } = this.#pipeline.apply(commit.batch);
      this.#outbox.insert(entries);
      mergeLedger(this.#ledger, ledger);
      this.#sinceSnapshot += journalEntries;
    }
    this.#composeDueMs = this.#outbox.compose(commit.nowMs, commit.compose);
    if (this.#sinceSnapshot >= this.#settings.snapshotEvery || commit.last) this.#snapshot();
    state.clean = commit.last ?? false;
    state.committedMs = commit.nowMs;
    state.ledger = [...this.#ledger];
    this.#writeState.run(JSON.stringify(state));
  }

  #snapshot(): void {
    enterPhase("snapshot");
    const { bytes, checksum } = pack(Buffer.from(JSON.stringify(this.#pipeline.snapshot())));
    this.#writeSnapshot.run(this.#state.position, checksum, bytes);
    enterPhase("trim");
    this.#journal.trim(this.#state.position, this.#settings.replayBytes);
    this.#sinceSnapshot = 0;
  }

  /** Brings memory to where the disk is; returns how many batches were replayed. */
  #recover(): number {
    const row = this.#readState.get();
    this.#state = row
      ? (JSON.parse(row.state) as State)
      : { position: 0, clean: true, committedMs: 0, outbox: emptyOutbox(), ledger: [] };
    this.#ledger = new Map(this.#state.ledger);
    this.#outbox = new Outbox(this.#database, this.#storeId, this.#state.outbox);
    this.#pipeline = new Pipeline(this.#storeId);
    this.#composeDueMs = this.#state.outbox.entries > 0 ? 0 : undefined;
    let from = 0;
    const snapshot = this.#readSnapshot.get();
    if (snapshot) {
      from = snapshot.position;
      const plain = unpack(snapshot.snapshot, snapshot.checksum, `snapshot at position ${from}`);
      this.#pipeline.restore(JSON.parse(Buffer.from(plain).toString("utf8")) as PipelineSnapshot);
    }
    let replayed = 0;
    this.#sinceSnapshot = 0;
    for (const { position, batch } of this.#journal.readAfter(from)) {
      if (position !== from + ++replayed) {
        throw new PermanentError(
          "STORE_CORRUPT",
          `the journal goes from position ${from + replayed - 1} to ${position}`,
        );
      }
      enterPhase("replay");
      this.#sinceSnapshot += this.#pipeline.apply(batch).journalEntries;
    }
    if (from + replayed !== this.#state.position) {
      throw new PermanentError(
        "STORE_CORRUPT",
        `the journal ends at ${from + replayed}, not ${this.#state.position}`,
      );
    }
    return replayed;
  }

  #held(inOutbox: Accounts): Record<string, number> {
    const held = this.#pipeline.held();
    for (const [source, count] of Object.entries(inOutbox)) held[source] = (held[source] ?? 0) + count;
    return held;
  }
}

/** @throws PermanentError STORE_NEWER */
function refuseNewer(version: number, path: string): void {
  if (version <= schemaVersion) return;
  const message = `${path} has schema ${version}, this version of Headgate knows ${schemaVersion}; nothing was changed`;
  throw new PermanentError("STORE_NEWER", message);
}

/** Makes the tables of a new store. Returns the store's id. */
function prepareSchema(database: Database, path: string): string {
  if (database.pragma("user_version", { simple: true }) === 0) {
    database.transaction(() => {
      database.exec(`
        CREATE TABLE store (id TEXT NOT NULL);
        CREATE TABLE state (state TEXT NOT NULL);
        CREATE TABLE snapshot (one INTEGER PRIMARY KEY, position INTEGER NOT NULL, checksum INTEGER NOT NULL, snapshot BLOB NOT NULL);
        ${Journal.schema};
        ${Outbox.schema};`);
      database.prepare("INSERT INTO store VALUES (?)").run(randomUUID());
      const state: State = { position: 0, clean: true, committedMs: 0, outbox: emptyOutbox(), ledger: [] };
      database.prepare("INSERT INTO state VALUES (?)").run(JSON.stringify(state));
      database.pragma(`user_version = ${schemaVersion}`);
    })();
  }
  const row = database.prepare<[], { id: string }>("SELECT id FROM store").get();
  if (!row) throw new PermanentError("STORE_CORRUPT", `${path} has no id`);
  return row.id;
}
