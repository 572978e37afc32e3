import { randomUUID } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { createDatabase, type Database, storeError } from "../core/database.ts";
import { renameDurably, writeDurably } from "../core/durable-file.ts";
import { addAccounts } from "../core/entry.ts";
import { TransientError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import { pack } from "../journal/journal.ts";
import { accountOf, countFrameDiscard, type Ledger, settle } from "../ledger/ledger.ts";
import type { MessageRow } from "../outbox/checksum.ts";
import { ComposedMessages, spansOf } from "../outbox/composed.ts";
import { gapEntry } from "../outbox/gap-entry.ts";
import { placeOf } from "../outbox/lanes.ts";
import { countIntoLane, emptyOutbox, Outbox, type OutboxCounters } from "../outbox/outbox.ts";
import { Pipeline } from "../pipeline.ts";
import { DamagedStore } from "./damaged-store.ts";
import { LedgerCopy } from "./ledger-copy.ts";
import { Reserve } from "./reserve.ts";
import { createTables } from "./schema.ts";
import { type Damage, emptyState, type State, StateRow } from "./state.ts";
import { storeFile } from "./store.ts";
import { Texts, textOf } from "./texts.ts";

/** For the report, and what a new file takes more than the old. */
const roomBeside = 262_144;

/** So many texts may have been taken since a memory that is not whole; as many can wait. */
const unknownTexts = 100_000;

/** What is known of the damage before the file is read. */
export interface Finding {
  readonly reason: string;
  /** Commits are missing at the end: what can be read is whole, and out of date. */
  readonly isOutOfDate: boolean;
}

/**
 * Makes a new store of what can be read of a damaged one. The damaged file is set aside beside it with a report;
 * what is missing is counted in the ledger, and told to the hub as a gap of each source.
 * A kill at any moment leaves either the damaged store, or the new one and the way to it (`finishSalvage`).
 * @throws TransientError STORE_UNUSABLE when the disk has no room for both
 */
export function salvage(folder: string, finding: Finding, nowMs: number): Damage {
  const path = join(folder, storeFile);
  enterPhase("salvage");
  removeLeftovers(folder);
  const name = `${storeFile}.damaged-${new Date(nowMs).toISOString().replaceAll(/[:.]/g, "-")}`;
  const damage: Damage = { atMs: nowMs, reason: finding.reason, file: name, report: `${name}.json` };
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  haveRoom(folder, bytes);
  const damaged = new DamagedStore(bytes > 0 ? path : undefined);
  try {
    const report = rebuild(`${path}.tmp`, damaged, new LedgerCopy(folder, storeFile), finding, damage);
    writeDurably(join(folder, damage.report), `${JSON.stringify({ ...damage, ...report }, null, 2)}\n`);
  } catch (error) {
    rmSync(`${path}.tmp`, { force: true });
    throw storeError(`salvaging ${path}`, error);
  } finally {
    damaged.close();
  }
  enterPhase("salvage");
  // From here on the new store is the truth, whatever happens.
  renameDurably(`${path}.tmp`, `${path}.new`);
  finishSalvage(folder, name);
  return damage;
}

/** Puts a salvaged store in the place of the damaged one; also at a start after a kill in the middle of it. */
export function finishSalvage(folder: string, aside = `${storeFile}.damaged`): void {
  const path = join(folder, storeFile);
  rmSync(`${path}.tmp`, { force: true });
  if (!existsSync(`${path}.new`)) return;
  // The log first: beside the new file it would be taken for the new file's.
  if (existsSync(`${path}-wal`)) renameDurably(`${path}-wal`, join(folder, `${aside}-wal`));
  enterPhase("salvage");
  rmSync(`${path}-shm`, { force: true });
  if (existsSync(path)) renameSync(path, join(folder, aside));
  enterPhase("salvage");
  renameDurably(`${path}.new`, path);
}

/** Each try would write until the disk is full, over and over. @throws TransientError STORE_UNUSABLE */
function haveRoom(folder: string, bytes: number): void {
  const wanted = bytes + roomBeside;
  const free = () => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  if (free() < wanted) new Reserve(folder, storeFile, 0).release();
  if (free() < wanted) {
    const message = `the store is damaged, and ${free()} bytes are free where ${wanted} are needed to mend it`;
    throw new TransientError("STORE_UNUSABLE", message);
  }
}

/** One damaged store is kept for whoever wants to look; the reports of all of them are. */
function removeLeftovers(folder: string): void {
  for (const file of readdirSync(folder)) {
    if (file.startsWith(`${storeFile}.damaged`) && !file.endsWith(".json")) rmSync(join(folder, file));
  }
}

function rebuild(path: string, damaged: DamagedStore, copies: LedgerCopy, finding: Finding, damage: Damage) {
  const copy = copies.read();
  const own = damaged.state();
  const state = structuredClone(own ?? copy ?? emptyState(""));
  const isExact = own !== undefined && !finding.isOutOfDate;
  const oldId = own?.storeId ?? damaged.storeId() ?? copy?.storeId;

  const memory = recoverMemory(damaged, state.position);
  const isWhole = isExact && oldId !== undefined && memory.isWhole;
  // What is sent from here on may not repeat an id with other content.
  const storeId = isWhole ? oldId : randomUUID();
  const pipeline = new Pipeline(storeId);
  if (memory.snapshot) pipeline.restore(memory.snapshot);
  let faults = 0;
  for (const { batch } of memory.batches) {
    try {
      pipeline.apply(batch);
    } catch {
      // A stage that stumbles over what a hole left behind: its readings are among those counted below.
      faults++;
    }
  }
  if (!isWhole) pipeline.markDamaged();

  const database = createDatabase(path);
  let told: Record<string, number>;
  try {
    createTables(database, storeId);
    database.exec("BEGIN");
    state.outbox = copyOutbox(database, damaged, state.outbox, isExact);
    // Numbers were given since then that nobody knows of; an acknowledgement under way must not meet another message.
    if (!isExact) state.outbox.nextMessage += unknownNumbers(copy, damage.atMs);
    const lostTexts = copyTexts(database, damaged, pipeline, isWhole ? undefined : damage.atMs);
    const { bytes, checksum } = pack(Buffer.from(JSON.stringify(pipeline.snapshot())));
    database.prepare("INSERT INTO snapshot VALUES (1, ?, ?, ?)").run(state.position, checksum, bytes);
    state.storeId = storeId;
    state.evictions = {};
    state.damage = damage;
    // Frames that wait for the clock are in no book: nobody knows whether some were lost with the memory.
    const mayHold = !isWhole && (memory.snapshot === undefined || pipeline.time.isHolding);
    told = balance(state, pipeline, isExact, mayHold);
    if (isWhole) countLostTexts(state, lostTexts);
    const outbox = new Outbox(database, storeId, state.outbox);
    for (const [source, count] of Object.entries(told)) {
      const gap = { gateway: pipeline.config?.gateway ?? "", source, fromMs: 0, toMs: damage.atMs };
      const key = `${source} ${damage.atMs}`;
      const isKnown = isExact && !mayHold;
      outbox.insert([
        gapEntry(storeId, key, { ...gap, count: isKnown ? count : "unknown", reason: "damage" }),
      ]);
    }
    new StateRow(database).write(state);
    database.exec("COMMIT");
  } finally {
    database.close();
  }
  sync(path);
  const { problems, problemCount } = damaged;
  return {
    books: isExact ? "exact" : own ? "out of date" : copy ? "from the copy" : "lost",
    openWindows: isWhole ? "whole" : memory.snapshot ? "in part" : "lost",
    storeId: { before: oldId, after: storeId },
    entries: state.outbox.entries,
    messages: state.outbox.messages,
    lostReadings: told,
    faults,
    problemCount,
    problems,
  };
}

/** Snapshot and journal, and whether both are all there. */
function recoverMemory(damaged: DamagedStore, position: number) {
  const snapshot = damaged.snapshot();
  const from = snapshot?.position ?? 0;
  const batches = damaged.journal(position).filter((row) => row.position > from && row.position <= position);
  const isGapless = batches.every((row, index) => row.position === from + index + 1);
  // Without a snapshot, the journal must reach back to the first commit, where the configuration stands.
  const isUsable = snapshot !== undefined || batches[0]?.position === 1 || position === 0;
  return {
    snapshot: snapshot?.snapshot,
    batches: isUsable ? batches : [],
    isWhole: isUsable && isGapless && from + batches.length === position,
  };
}

/**
 * Returns the sources of those that wait, as far as anyone knows, and are not there. `damagedMs`: now, where the memory
 * is not whole.
 */
function copyTexts(
  database: Database,
  damaged: DamagedStore,
  pipeline: Pipeline,
  damagedMs: number | undefined,
): string[] {
  const { next } = pipeline.texts.queue.snapshot();
  const known = new Map(pipeline.texts.queue.entries());
  const unknown = damagedMs === undefined ? 0 : unknownTexts;
  const texts = new Texts(database);
  const kept: [number: number, source: string, bytes: number, timeMs: number][] = [];
  let highest = next;
  for (const row of damaged.texts(next, unknown)) {
    const text = textOf(row);
    if (!text) continue;
    texts.add(text);
    kept.push([text.number, text.source, Buffer.byteLength(text.text), text.timeMs]);
    highest = Math.max(highest, text.number + 1);
    known.delete(text.number);
  }
  // A score on its way of a text that nobody knows of must not meet another.
  const jumped = Math.max(highest + unknown, Math.floor(damagedMs ?? 0));
  pipeline.texts.queue.restore({ next: jumped, waiting: kept });
  return [...known.values()];
}

/** A memory that is out of date may count as waiting what was scored since; nothing is made of that. */
function countLostTexts(state: State, sources: readonly string[]): void {
  const ledger: Ledger = new Map(state.ledger);
  for (const source of sources) {
    const account = accountOf(ledger, source);
    account.frames++;
    countFrameDiscard(account, "damaged");
  }
  state.ledger = [...ledger];
}

/** Messages that are all there keep their composition; of the others, the entries that can be read wait anew. */
function copyOutbox(
  database: Database,
  damaged: DamagedStore,
  before: OutboxCounters,
  isExact: boolean,
): OutboxCounters {
  const { nextEntry, nextMessage, unchecked, bill } = { ...emptyOutbox(), ...before };
  const counters = { ...emptyOutbox(), nextEntry, nextMessage, unchecked, bill };
  // A damaged tree may lead to one row on two ways.
  const insert = database.prepare("INSERT OR IGNORE INTO outbox VALUES (?, ?, ?, ?, ?, ?)");
  const known = isExact && before.lanes ? Object.keys(before.lanes).map(Number) : undefined;
  for (const row of damaged.entries(nextEntry - 1, unchecked, known)) {
    const { changes } = insert.run(row.entry, row.ready, row.accounts, row.body, row.source, row.checksum);
    if (changes === 0) continue;
    counters.entries++;
    counters.bytes += Buffer.byteLength(row.body);
    counters.nextEntry = Math.max(counters.nextEntry, placeOf(row.entry) + 1);
    addAccounts(counters.held, JSON.parse(row.accounts));
  }
  const kept = keptMessages(database, damaged.messages(nextMessage - 1, unchecked));
  const keep = database.prepare("INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  for (const row of kept) {
    const { sequence, id, output, first, last, count, checksum, spans, form, body } = row;
    keep.run(sequence, id, output, first, last, count, checksum, spans, form, body);
    counters.messages++;
    counters.nextMessage = Math.max(counters.nextMessage, sequence + 1);
  }
  countLoose(database, new ComposedMessages(database, unchecked), counters);
  return counters;
}

function keptMessages(database: Database, messages: readonly MessageRow[]): MessageRow[] {
  const within = database
    .prepare<[number, number], number>("SELECT count(*) FROM outbox WHERE entry BETWEEN ? AND ?")
    .pluck();
  return messages.filter((message) => {
    const spans = spansOf(message);
    const count = spans.reduce((sum, [first, last]) => sum + (within.get(first, last) ?? 0), 0);
    const expected = message.count ?? spans.reduce((sum, [first, last]) => sum + last - first + 1, 0);
    return expected > 0 && count === expected;
  });
}

/** What stands in no message waits anew, wherever in its lane it stands. */
function countLoose(database: Database, composed: ComposedMessages, counters: OutboxCounters): void {
  type Row = { entry: number; source: string; size: number };
  const rows = database.prepare<[], Row>(
    `SELECT entry, coalesce(source, (SELECT key FROM json_each(accounts) LIMIT 1), '') AS source,
       length(CAST(body AS BLOB)) AS size FROM outbox`,
  );
  for (const { entry, source, size } of rows.iterate()) {
    if (composed.spanAt(entry)) continue;
    countIntoLane(counters, entry);
    addAccounts(counters.loose, { [source]: size });
  }
}

/**
 * Brings the books to what is there. What is missing is `damaged` when the books are known to be up to date;
 * otherwise nobody knows whether it was published before or is lost: it is `unaccounted`.
 * Returns the sources that something is missing of, with how much.
 */
function balance(
  state: State,
  pipeline: Pipeline,
  isExact: boolean,
  mayHold: boolean,
): Record<string, number> {
  const ledger: Ledger = new Map(state.ledger);
  const held: Record<string, number> = { ...pipeline.held() };
  addAccounts(held, state.outbox.held);
  const missing = settle(ledger, held, isExact ? "damaged" : "unaccounted");
  if (!isExact || mayHold) {
    for (const source of [...ledger.keys(), ...Object.keys(pipeline.config?.sources ?? {})]) {
      accountOf(ledger, source).gaps.unknown++;
      missing[source] ??= 0;
    }
  }
  state.ledger = [...ledger];
  return missing;
}

/** Far more messages than a store makes between two copies of its books; without a copy, than it made ever. */
function unknownNumbers(copy: State | undefined, nowMs: number): number {
  return copy ? 1_000_000 : Math.floor(nowMs / 1_000);
}

function sync(path: string): void {
  const handle = openSync(path, "r+");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
