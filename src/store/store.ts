import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { boundLog, type Database, openDatabase, type Statement, storeError } from "../core/database.ts";
import type { Accounts } from "../core/entry.ts";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import { PipelineFault, withoutEntries } from "../journal/fault.ts";
import { Journal, pack, unpack } from "../journal/journal.ts";
import type { KeyEntry } from "../journal/key-memory.ts";
import {
  accountOf,
  type Balance,
  balances,
  countDiscard,
  type Ledger,
  mergeLedger,
  settle,
} from "../ledger/ledger.ts";
import { corrupt } from "../outbox/checksum.ts";
import { type ComposeSettings, Outbox, type OutboxMessage, type OutboxStatus } from "../outbox/outbox.ts";
import { Reduction } from "../outbox/reduction.ts";
import { Pipeline, type PipelineSnapshot } from "../pipeline.ts";
import { noteEviction, untoldEvictions } from "./eviction-notes.ts";
import { LedgerCopy } from "./ledger-copy.ts";
import { logBytes, makeRoom, type Retention } from "./room.ts";
import { prepareSchema, refuseNewer } from "./schema.ts";
import { type Damage, type State, StateRow } from "./state.ts";
import { Witness } from "./witness.ts";

/** Name of the store's file in its folder. */
export const storeFile = "headgate.db";

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

/** What is done with one commit; everything in it becomes durable together or not at all. */
export interface Commit {
  /** A batch of journal entries; empty when there is nothing new. */
  readonly batch: Uint8Array;
  /** Messages the hub acknowledged, and those it refused for good. */
  readonly acknowledged: readonly number[];
  readonly rejected: readonly number[];
  readonly compose: ComposeSettings;
  /** Wall ms, to say since when something may be missing; and monotonic ms, for the age of what waits. */
  readonly nowMs: number;
  readonly monotonicMs: number;
  /** The last commit of an orderly stop: it writes a snapshot and says that nothing is missing. */
  readonly last?: boolean;
}

export interface StoreStatus {
  readonly storeId: string;
  readonly position: number;
  readonly outbox: OutboxStatus;
  readonly openWindows: number;
  readonly books: Readonly<Record<string, Balance>>;
  /** Frames that wait for the clock to be known good; they are in no book yet. */
  readonly holding: number;
  /** Steady time minus monotonic time: what turns the times below, and those of the outbox, into monotonic ones. */
  readonly steadyBaseMs: number;
  /** Steady ms at which the next window closes or the next message falls due, if nothing else comes. */
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
}

/** What a bug of one batch may cost: after this many faulty entries, the rest of the batch's frames goes too. */
const faultsPerBatch = 8;
/** Entries that a start may take out of the journal before it gives up. */
const replayFaults = 1_000;

class ReplayFault extends Error {
  readonly position: number;
  readonly batch: Uint8Array;
  readonly fault: PipelineFault;
  constructor(position: number, batch: Uint8Array, fault: PipelineFault) {
    super(`journal position ${position}: ${fault.message}`, { cause: fault });
    this.position = position;
    this.batch = batch;
    this.fault = fault;
  }
}

/**
 * The store: journal, outbox, ledger and cursor in one SQLite file, and the pipeline between them.
 * Batches are journaled and processed in one transaction, so everything up to `position` has already brought forth
 * its entries: a replay rebuilds the open windows and nothing else.
 * It runs on the store thread, because a synced write to an SD card can block for half a second.
 */
export class Store {
  readonly #folder: string;
  #settings: StoreSettings;
  readonly #database: Database;
  readonly #journal: Journal;
  readonly #storeId: string;
  readonly #stateRow: StateRow;
  readonly #copy: LedgerCopy;
  readonly #witness: Witness;
  readonly #writeSnapshot: Statement<[number, number, Uint8Array]>;
  readonly #readSnapshot: Statement<[], { position: number; checksum: number; snapshot: Buffer }>;
  #pipeline!: Pipeline;
  #outbox!: Outbox;
  #reduction!: Reduction;
  #ledger: Ledger = new Map();
  #state!: State;
  #sinceSnapshot = 0;
  #composeDueMs: number | undefined;
  #lastFault: string | undefined;

  /** @throws PermanentError STORE_BUSY, STORE_NEWER, STORE_CORRUPT; TransientError STORE_UNUSABLE */
  constructor(folder: string, settings: StoreSettings, file = storeFile) {
    this.#folder = folder;
    this.#settings = settings;
    try {
      mkdirSync(folder, { recursive: true, mode: 0o750 });
    } catch (error) {
      throw new TransientError("STORE_UNUSABLE", `making ${folder}: ${messageOf(error)}`, { cause: error });
    }
    const path = join(folder, file);
    this.#copy = new LedgerCopy(folder, file);
    this.#witness = new Witness(folder, file);
    this.#database = openDatabase(path, (version) => refuseNewer(version, path));
    try {
      boundLog(this.#database, logBytes(settings.maxBytes));
      const hasHistory = this.#copy.exists || this.#witness.exists;
      this.#storeId = prepareSchema(this.#database, path, hasHistory);
      this.#journal = new Journal(this.#database);
      this.#stateRow = new StateRow(this.#database);
      this.#writeSnapshot = this.#database.prepare("REPLACE INTO snapshot VALUES (1, ?, ?, ?)");
      this.#readSnapshot = this.#database.prepare("SELECT position, checksum, snapshot FROM snapshot");
    } catch (error) {
      this.#database.close();
      throw storeError(`opening ${path}`, error);
    }
  }

  /** Loads the snapshot and replays the journal behind it. @throws PermanentError STORE_CORRUPT */
  open(): Opened {
    try {
      return this.#opened(this.#recoverWithoutFaults());
    } catch (error) {
      throw storeError(`opening the store in ${this.#folder}`, error);
    }
  }

  #opened(replayed: number): Opened {
    const { clean, committedMs, position } = this.#state;
    return {
      storeId: this.#storeId,
      configHash: this.#pipeline.config?.hash,
      uncleanSinceMs: clean || position === 0 ? undefined : committedMs,
      sources: Object.keys(this.#pipeline.config?.sources ?? {}),
      keys: this.#pipeline.keys,
      replayed,
      boot: this.#pipeline.time.boot,
      status: this.status(),
    };
  }

  configure(settings: StoreSettings): void {
    this.#settings = settings;
    boundLog(this.#database, logBytes(settings.maxBytes));
  }

  /**
   * @throws TransientError STORE_UNUSABLE, STORE_FULL: nothing of the batch happened then, and it can be repeated;
   * PermanentError STORE_CORRUPT
   */
  commit(commit: Commit): StoreStatus {
    let { batch } = commit;
    for (let faults = 0; ; faults++) {
      const fault = this.#attempt({ ...commit, batch });
      if (!fault) break;
      batch = this.#withoutFault(batch, fault, faults);
    }
    this.#witness.write(this.#storeId, this.#state.position);
    if (this.#sinceSnapshot === 0 && commit.batch.length > 0) this.#copy.write(this.#state);
    return this.status();
  }

  /** The first message behind `sequence`. @throws PermanentError STORE_CORRUPT */
  next(sequence: number): OutboxMessage | undefined {
    return this.#outbox.next(sequence);
  }

  status(): StoreStatus {
    return {
      storeId: this.#storeId,
      position: this.#state.position,
      outbox: this.#outbox.status(),
      openWindows: this.#pipeline.openWindows,
      holding: this.#pipeline.time.heldFrames,
      steadyBaseMs: this.#pipeline.time.steadyBaseMs,
      books: balances(this.#ledger, this.#held(this.#state.outbox.held)),
      windowDueMs: this.#pipeline.wakeAtMs(),
      composeDueMs: this.#composeDueMs,
      damage: this.#state.damage,
      lastFault: this.#lastFault,
    };
  }

  /** The books with `held` counted anew from windows and rows: slow, for audits and tests. */
  audit(): Record<string, Balance> {
    return balances(this.#ledger, this.#held(this.#outbox.heldByRows()));
  }

  /** A copy of the whole store in a new file, also when the store's own was deleted: its pages are still there. */
  copyTo(path: string): void {
    this.#database.prepare("VACUUM INTO ?").run(path);
  }

  close(): void {
    this.#witness.close();
    this.#database.close();
  }

  /** One transaction; returns the bug that ended it, if it was one that a batch without an entry can avoid. */
  #attempt(commit: Commit): PipelineFault | undefined {
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      this.#process(commit);
      enterPhase("commit");
      this.#database.exec("COMMIT");
      return undefined;
    } catch (error) {
      this.#goBack(error);
      if (error instanceof PipelineFault) return error;
      if (error instanceof TransientError && error.code === "STORE_FULL") this.#settle(commit);
      throw storeError("committing", error);
    }
  }

  /** What the hub took makes room for what could not be kept: it must be forgotten even when the batch has to wait. */
  #settle(commit: Commit): void {
    if (commit.batch.length > 0) this.#attempt({ ...commit, batch: new Uint8Array() });
  }

  /** The pipeline in memory is ahead of the disk; what was committed is the truth. */
  #goBack(error: unknown): void {
    try {
      if (this.#database.inTransaction) this.#database.exec("ROLLBACK");
      this.#recover();
    } catch (again) {
      if (again instanceof PermanentError && again.code === "STORE_CORRUPT") throw again;
      throw storeError(`going back after ${messageOf(error)}`, again);
    }
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
      this.#makeRoom(commit.batch.length);
      state.position++;
      this.#journal.append(state.position, commit.batch);
      const { entries, ledger, journalEntries } = this.#pipeline.apply(commit.batch);
      this.#outbox.insert(entries);
      mergeLedger(this.#ledger, ledger);
      this.#sinceSnapshot += journalEntries;
    }
    this.#composeDueMs = this.#outbox.compose(
      this.#pipeline.time.steadyMs(commit.monotonicMs),
      commit.compose,
    );
    // Not while frames are held back: each snapshot would hold all of them again.
    const isDue = this.#sinceSnapshot >= this.#settings.snapshotEvery && !this.#pipeline.time.isHolding;
    if (isDue || commit.last) this.#snapshot(this.#settings.replayBytes);
    state.clean = commit.last ?? false;
    state.committedMs = commit.nowMs;
    state.ledger = [...this.#ledger];
    this.#stateRow.write(state);
  }

  /** @throws TransientError STORE_FULL */
  #makeRoom(bytes: number): void {
    const context = {
      database: this.#database,
      folder: this.#folder,
      counters: this.#state.outbox,
      reduction: this.#reduction,
      retention: this.#settings.retention,
      maxBytes: this.#settings.maxBytes,
      spared: untoldEvictions(this.#state),
      dropHistory: () => this.#snapshot(0),
    };
    makeRoom(context, bytes, (source, what) => {
      for (const [name, count] of Object.entries(what.accounts))
        countDiscard(accountOf(this.#ledger, name), "evicted", count);
      const names = { storeId: this.#storeId, gateway: this.#pipeline.config?.gateway ?? "" };
      noteEviction(this.#state, this.#outbox, names, source, what);
    });
  }

  #snapshot(keepBytes: number): void {
    enterPhase("snapshot");
    const { bytes, checksum } = pack(Buffer.from(JSON.stringify(this.#pipeline.snapshot())));
    this.#writeSnapshot.run(this.#state.position, checksum, bytes);
    enterPhase("trim");
    this.#journal.trim(this.#state.position, keepBytes);
    this.#sinceSnapshot = 0;
  }

  /** The batch with the entry that a stage threw at taken out; after many of them, with every frame taken out. */
  #withoutFault(batch: Uint8Array, fault: PipelineFault, faults: number): Uint8Array {
    this.#lastFault = messageOf(fault.cause);
    const all = faults >= faultsPerBatch;
    const rest = withoutEntries(
      batch,
      (entry, index) => index === fault.index || (all && entry.type === "frame"),
      this.#lastFault,
    );
    if (!rest || faults > faultsPerBatch) throw fault;
    return rest;
  }

  /**
   * A replay stumbles where an earlier version of the program did not: what it stumbles over is taken out of the
   * journal. Its entry is out already, or its reading is missing from an open window and becomes a discard.
   */
  #recoverWithoutFaults(): number {
    for (let faults = 0; ; faults++) {
      try {
        const replayed = this.#recover();
        if (faults > 0) this.#settleFaults();
        return replayed;
      } catch (error) {
        if (!(error instanceof ReplayFault) || faults > replayFaults) throw error;
        const rest = this.#withoutFault(error.batch, error.fault, faults % (faultsPerBatch + 1));
        this.#journal.replace(error.position, rest);
      }
    }
  }

  #settleFaults(): void {
    settle(this.#ledger, this.#held(this.#state.outbox.held), "pipelineFault");
    this.#state.ledger = [...this.#ledger];
    this.#stateRow.write(this.#state);
  }

  /** Brings memory to where the disk is; returns how many batches were replayed. @throws PermanentError STORE_CORRUPT */
  #recover(): number {
    this.#state = this.#stateRow.read();
    if (this.#state.storeId !== this.#storeId)
      throw corrupt(`the store's id is ${this.#storeId} and another`);
    this.#ledger = new Map(this.#state.ledger);
    this.#outbox = new Outbox(this.#database, this.#storeId, this.#state.outbox);
    this.#reduction = new Reduction(this.#database, this.#storeId, this.#state.outbox);
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
      if (position !== from + ++replayed)
        throw corrupt(`the journal goes from position ${from + replayed - 1} to ${position}`);
      enterPhase("replay");
      this.#sinceSnapshot += this.#replay(position, batch);
    }
    if (from + replayed !== this.#state.position)
      throw corrupt(`the journal ends at ${from + replayed}, not ${this.#state.position}`);
    return replayed;
  }

  #replay(position: number, batch: Uint8Array): number {
    try {
      return this.#pipeline.apply(batch).journalEntries;
    } catch (error) {
      throw error instanceof PipelineFault ? new ReplayFault(position, batch, error) : error;
    }
  }

  #held(inOutbox: Accounts): Record<string, number> {
    const held = this.#pipeline.held();
    for (const [source, count] of Object.entries(inOutbox)) held[source] = (held[source] ?? 0) + count;
    return held;
  }
}
