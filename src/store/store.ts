import { type Database, fileBytes, isDiskFull, restartLog, storeError } from "../core/database.ts";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import { raisedIn } from "../detect/raised-alarms.ts";
import { PipelineFault } from "../journal/fault.ts";
import { accountOf, type Balance, balances, countDiscard, mergeLedger } from "../ledger/ledger.ts";
import type { ComposeSettings } from "../outbox/composer.ts";
import type { DeadLetter } from "../outbox/dead-letters.ts";
import { defaultPriority } from "../outbox/lanes.ts";
import type { Done } from "../outbox/message-body.ts";
import type { OutboxMessage, OutboxStatus } from "../outbox/outbox.ts";
import type { Evicted } from "../outbox/reduction.ts";
import { Pipeline } from "../pipeline.ts";
import type { TakenText } from "../sentiment/text-stage.ts";
import { closingBatch } from "./closing-batch.ts";
import type { Commit, Opened, Retired, StoreSettings, StoreStatus } from "./contract.ts";
import { Disk } from "./disk.ts";
import { type GiveUpReason, giveUp } from "./eviction-notes.ts";
import { heldOf, type Memory, type PipelineFactory, recall } from "./memory.ts";
import { recover, withoutFault } from "./recovery.ts";
import { composedBytes, makeRoom, neededBytes } from "./room.ts";
import { isRelief, lossOf } from "./texts.ts";

/** Name of the store's file in its folder. */
export const storeFile = "headgate.db";

/** A commit, or a part of one: without `compose` no message is made. */
type Transaction = Omit<Commit, "compose"> & { readonly compose?: ComposeSettings };

/** Commits after a death of the process whose batch is noted before it is processed, in case it was the killer. */
const carefulCommits = 50;

/**
 * The store: journal, outbox, ledger and cursor in one SQLite file, and the pipeline between them.
 * Batches are journaled and processed in one transaction, so everything up to `position` has already brought forth
 * its entries: a replay rebuilds the open windows and nothing else.
 * It runs on the store thread, because a synced write to an SD card can block for half a second.
 */
export class Store {
  readonly #disk: Disk;
  readonly #database: Database;
  readonly #makePipeline: PipelineFactory;
  #settings: StoreSettings;
  #memory!: Memory;
  #outboxStatus!: OutboxStatus;
  #composeDueMs: number | undefined;
  #lastFault: string | undefined;
  #told: Pick<StoreStatus, "skipped" | "raised"> = {};
  #careful = 0;
  #isBroken = false;
  readonly #priorityOf = (source: string) => this.#settings.retention[source]?.priority ?? defaultPriority;
  /** Size of the file when its disk was found full; it stays in force until there is room again. */
  #tightBytes: number | undefined;

  /** @throws PermanentError STORE_BUSY, STORE_NEWER, STORE_CORRUPT; TransientError STORE_UNUSABLE */
  constructor(
    folder: string,
    settings: StoreSettings,
    file = storeFile,
    makePipeline: PipelineFactory = (storeId) => new Pipeline(storeId),
  ) {
    this.#settings = settings;
    this.#makePipeline = makePipeline;
    this.#disk = new Disk(folder, file, settings.maxBytes);
    this.#database = this.#disk.database;
  }

  /**
   * Loads the snapshot and replays the journal behind it. `isFirst`: of this process; what is left behind is then of
   * one that is gone.
   * @throws PermanentError STORE_CORRUPT
   */
  open(isFirst = true): Opened {
    try {
      if (!isFirst) {
        this.#remember(recall(this.#disk, this.#makePipeline));
        return this.#opened(undefined);
      }
      const { memory, pending } = recover(this.#disk, this.#makePipeline);
      this.#remember(memory);
      this.#disk.reserve.keep();
      const { state } = memory;
      if (!state.clean && state.position > 0) {
        state.uncleanSinceMs ??= state.committedMs;
        this.#careful = carefulCommits;
        if (pending) this.#commitPending(pending);
      }
      const lost = lossOf(this.#memory.pipeline.texts.queue.entries(), this.#disk.texts);
      if (lost) this.#commitPending(lost);
      return this.#opened(this.#memory.state.uncleanSinceMs);
    } catch (error) {
      throw storeError(`opening the store in ${this.#disk.folder}`, error);
    }
  }

  configure(settings: StoreSettings): void {
    this.#settings = settings;
    this.#disk.bound(settings.maxBytes);
  }

  /**
   * @throws TransientError STORE_UNUSABLE, STORE_FULL: nothing of the batch happened then, and it can be repeated;
   * PermanentError STORE_CORRUPT
   */
  commit(asked: Commit): StoreStatus {
    const { nextMessage } = this.#memory.state.outbox;
    const isDone = asked.after !== undefined && this.#memory.state.position === asked.after + 1;
    const commit = isDone ? { ...asked, batch: new Uint8Array() } : asked;
    try {
      this.#noteSuspect(commit.batch);
      this.#commit(commit);
    } catch (error) {
      if (!commit.isPressed || !isDiskFull(error)) throw error;
      this.#commitTight(commit);
    }
    // Whatever fails from here on must not make the caller repeat what is committed.
    const { state, sinceSnapshot, pipeline } = this.#memory;
    const hasSnapshot = sinceSnapshot === 0 && commit.batch.length > 0;
    this.#disk.noteCommit(state, commit.monotonicMs, { hasSnapshot, isLast: commit.last === true });
    const alarms = this.#memory.outbox.messagesFrom("alarm", nextMessage);
    return { ...this.status(), alarms, ...this.#told, feeds: pipeline.feeds.takeNews() };
  }

  /** What is due behind commits, and nobody has to wait for. */
  tidy(): void {
    this.#disk.tidy(this.#memory.state);
  }

  /** The next message to be sent. @throws PermanentError STORE_CORRUPT */
  next(done: Done, isBackfillWanted?: boolean): OutboxMessage | undefined {
    return this.#memory.outbox.next(done, isBackfillWanted);
  }

  texts(after: number): TakenText[] {
    return this.#disk.texts.after(after);
  }

  deadLetters(): DeadLetter[] {
    return this.#disk.deadLetters.list();
  }

  status(): StoreStatus {
    const { state, pipeline, ledger } = this.#memory;
    return {
      storeId: this.#disk.storeId,
      position: state.position,
      outbox: this.#outboxStatus,
      bill: { ...state.outbox.bill },
      openWindows: pipeline.openWindows,
      texts: pipeline.texts.waiting,
      holding: pipeline.time.heldFrames,
      steadyBaseMs: pipeline.time.steadyBaseMs,
      books: balances(ledger, heldOf(this.#memory, state.outbox.held)),
      windowDueMs: pipeline.wakeAtMs(),
      composeDueMs: this.#composeDueMs,
      damage: state.damage,
      lastFault: this.#lastFault,
    };
  }

  /** The books with `held` counted anew from windows and rows: slow, for audits and tests. */
  audit(): Record<string, Balance> {
    const { ledger, outbox } = this.#memory;
    return balances(ledger, heldOf(this.#memory, outbox.heldByRows()));
  }

  /** Closes the open windows as they stand: what it holds is to go into another store, and this one to end. */
  retire(): Retired {
    const { pipeline, state } = this.#memory;
    if (pipeline.config) {
      this.#commitPending(closingBatch(pipeline.config, state.committedMs));
    }
    const { ledger, outbox } = this.#memory;
    return { storeId: this.#disk.storeId, ledger, entries: outbox.entries() };
  }

  /** Takes over what another store held, once. */
  adopt({ storeId, ledger, entries }: Retired): void {
    const { state, outbox } = this.#memory;
    const { adopted = [] } = state;
    if (adopted.includes(storeId)) return;
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      outbox.insert(entries, this.#priorityOf);
      mergeLedger(this.#memory.ledger, ledger);
      state.adopted = [...adopted.slice(-7), storeId];
      state.ledger = [...this.#memory.ledger];
      this.#disk.stateRow.write(state);
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#goBack(error);
      throw storeError(`taking over the store ${storeId}`, error);
    }
    this.#outboxStatus = outbox.status();
    this.#composeDueMs = 0;
  }

  /** A copy of the whole store in a new file, also when the store's own was deleted: its pages are still there. */
  copyTo(path: string): void {
    this.#database.prepare("VACUUM INTO ?").run(path);
  }

  close(): void {
    this.#disk.close();
  }

  /** Memory and disk may differ, since going back failed: only a new opening can tell. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  #opened(uncleanSinceMs: number | undefined): Opened {
    const { pipeline, replayed } = this.#memory;
    return {
      storeId: this.#disk.storeId,
      configHash: pipeline.config?.hash,
      uncleanSinceMs,
      sources: Object.keys(pipeline.config?.sources ?? {}),
      keys: pipeline.keys,
      replayed,
      boot: pipeline.time.boot,
      status: this.status(),
    };
  }

  #remember(memory: Memory): void {
    this.#memory = memory;
    this.#outboxStatus = memory.outbox.status();
    this.#composeDueMs = memory.state.outbox.entries > 0 ? 0 : undefined;
  }

  /** The batch, or what bugs leave of it. */
  #commit(commit: Transaction): void {
    let { batch } = commit;
    for (let faults = 0; ; faults++) {
      const fault = this.#attempt({ ...commit, batch });
      if (!fault) return;
      this.#lastFault = messageOf(fault.cause);
      batch = withoutFault(batch, fault, faults);
    }
  }

  /** The disk is full, and memory nearly so: what is oldest and least makes room for what is new. */
  #commitTight(commit: Commit): void {
    this.#disk.reserve.release();
    try {
      restartLog(this.#database);
      this.#tightBytes ??= fileBytes(this.#database);
      this.#commit(commit);
    } catch (error) {
      throw storeError("committing on a full disk", error);
    }
  }

  /** After a death, what is about to be processed may be what it died of: then it has to be on the disk before. */
  #noteSuspect(batch: Uint8Array): void {
    if (this.#careful === 0 || batch.length === 0) return;
    this.#careful--;
    const { suspects } = this.#disk;
    const { attempts = 0 } = suspects.read() ?? {};
    const position = this.#memory.state.position + 1;
    try {
      suspects.write({ position, attempts, lo: 0, hi: null, trial: null, batch });
    } catch (error) {
      throw storeError("noting a batch", error);
    }
  }

  #commitPending(batch: Uint8Array): void {
    const { committedMs: nowMs } = this.#memory.state;
    this.#commit({ acknowledged: [], rejected: [], batch, nowMs, monotonicMs: 0 });
  }

  /** One transaction; returns the bug that ended it, if it was one that a batch without an entry can avoid. */
  #attempt(commit: Transaction): PipelineFault | undefined {
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
  #settle(commit: Transaction): void {
    if (commit.batch.length > 0) this.#attempt({ ...commit, batch: new Uint8Array() });
  }

  /** The pipeline in memory is ahead of the disk; what was committed is the truth. */
  #goBack(error: unknown): void {
    try {
      if (this.#database.inTransaction) this.#database.exec("ROLLBACK");
      this.#remember(recall(this.#disk, this.#makePipeline));
    } catch (again) {
      this.#isBroken = true;
      if (again instanceof PermanentError && again.code === "STORE_CORRUPT") throw again;
      throw storeError(`going back after ${messageOf(error)}`, again);
    }
  }

  #process(commit: Transaction): void {
    const { state, outbox, ledger, pipeline, reduction, economy } = this.#memory;
    this.#told = {};
    for (const sequence of commit.acknowledged) {
      for (const [source, count] of Object.entries(outbox.remove(sequence))) {
        accountOf(ledger, source).published += count;
      }
    }
    for (const { message, reason } of commit.rejected) {
      const letter = outbox.read(message);
      if (letter) this.#disk.deadLetters.add(letter, reason, commit.nowMs, this.#settings.maxBytes / 64);
      for (const [source, count] of Object.entries(outbox.remove(message))) {
        countDiscard(accountOf(ledger, source), "rejected", count);
      }
    }
    if (commit.batch.length > 0) {
      this.#makeRoom(commit);
      state.position++;
      this.#disk.journal.append(state.position, commit.batch);
      const output = pipeline.apply(commit.batch);
      outbox.insert(output.entries, this.#priorityOf, this.#finishedWithin(commit));
      this.#disk.texts.change(output);
      mergeLedger(ledger, output.ledger);
      this.#told = { skipped: output.skipped, raised: raisedIn(output.entries) };
      this.#memory.sinceSnapshot += output.journalEntries;
      if (output.uncleanStops > 0) delete state.uncleanSinceMs;
    }
    this.#disk.suspects.clear();
    if (commit.compose)
      this.#composeDueMs = this.#memory.composer.compose(
        pipeline.time.steadyMs(commit.monotonicMs),
        commit.compose,
        commit.demand,
        composedBytes(this.#settings.maxBytes),
        commit.nowMs,
      );
    if (commit.compose && this.#memory.composer.isShort(commit.compose, commit.nowMs, commit.demand))
      economy.economize(
        { counters: state.outbox, reduction, ...commit.compose },
        this.#giveUp("budget", commit),
      );
    // Not while frames are held back: each snapshot would hold all of them again.
    const isDue = this.#disk.isSnapshotDue(this.#memory.sinceSnapshot, this.#settings.snapshotEvery);
    if ((isDue && !pipeline.time.isHolding) || commit.last) this.#snapshot(this.#settings.replayBytes);
    state.clean = commit.last ?? false;
    if (commit.last) delete state.uncleanSinceMs;
    state.committedMs = commit.nowMs;
    state.ledger = [...ledger];
    this.#disk.stateRow.write(state);
    // Inside the transaction: nothing that can fail may follow it.
    this.#outboxStatus = outbox.status();
  }

  /** @throws TransientError STORE_FULL */
  #makeRoom(commit: Transaction): void {
    const { state, reduction, pipeline } = this.#memory;
    if (this.#tightBytes !== undefined && this.#disk.reserve.isPlenty) this.#tightBytes = undefined;
    const context = {
      database: this.#database,
      counters: state.outbox,
      reduction,
      retention: this.#settings.retention,
      maxBytes: this.#settings.maxBytes,
      tightBytes: this.#tightBytes,
      dropHistory: () => this.#snapshot(0),
      isRelief: () => isRelief(commit.batch, pipeline.texts),
    };
    makeRoom(context, neededBytes(commit.batch.length), this.#giveUp("evicted", commit));
  }

  #giveUp(reason: GiveUpReason, commit: Transaction) {
    const within = this.#finishedWithin(commit);
    return (source: string, what: Evicted): void =>
      giveUp(this.#memory, { reason, source, priority: this.#priorityOf(source), within }, what);
  }

  /** Steady ms: what is made now has waited for company for as long as it may, at most. */
  #finishedWithin({ monotonicMs, compose }: Transaction): [number, number] | undefined {
    if (!compose) return undefined;
    const nowMs = this.#memory.pipeline.time.steadyMs(monotonicMs);
    return [nowMs - compose.maxDelayMs, nowMs];
  }

  #snapshot(keepBytes: number): void {
    const { state, pipeline } = this.#memory;
    enterPhase("snapshot");
    this.#disk.writeSnapshot(state.position, pipeline.snapshot());
    enterPhase("trim");
    this.#disk.journal.trim(state.position, keepBytes);
    this.#memory.sinceSnapshot = 0;
  }
}
