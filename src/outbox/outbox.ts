import type { Database, Statement } from "../core/database.ts";
import { type Accounts, addAccounts, type Entry } from "../core/entry.ts";
import type { HubMessage } from "../hub/hub-client.ts";
import { type Bill, emptyBill } from "./bill.ts";
import { corrupt, type EntryRow, entryChecksum, soundEntry, type Unchecked } from "./checksum.ts";
import { ComposedMessages, type Span } from "./composed.ts";
import { allLanes, defaultPriority, laneFor, laneOf, numberIn } from "./lanes.ts";
import {
  bodyOf,
  type Done,
  headersOf,
  type MessageClass,
  type MessageForm,
  messageClasses,
} from "./message-body.ts";

/** A message composed of entries; its composition never changes, so every send of it is byte-identical. */
export interface OutboxMessage extends HubMessage {
  readonly sequence: number;
  /** The message of its class before it that waits as well; 0 if there is none. */
  readonly previous: number;
  readonly class: MessageClass;
  readonly body: Uint8Array<ArrayBuffer>;
}

export interface OutboxStatus {
  readonly entries: number;
  readonly messages: number;
  readonly bytes: number;
  /** When the oldest entry was finished, steady ms; undefined when empty. */
  readonly oldestMs: number | undefined;
}

export interface LaneCounters {
  /** Entries that stand in no message yet. */
  entries: number;
  /** Numbers from which on there may be such: the backlog, and behind it what is new. */
  from: number;
  live: number;
}

/**
 * The numbers that say what is composed, what comes next and how much is here.
 * They are committed with everything else, so that neither a start nor a commit has to count rows.
 */
export interface OutboxCounters {
  entries: number;
  messages: number;
  bytes: number;
  /** Readings that the entries account for, per source. */
  held: Record<string, number>;
  /** Bytes of the entries that stand in no message yet, per source: what can be thinned or evicted. */
  loose: Record<string, number>;
  /** By their number, those in use. */
  lanes: Record<string, LaneCounters>;
  /** Place of the next entry, and number of the next message. */
  nextEntry: number;
  nextMessage: number;
  unchecked: Unchecked;
  bill: Bill;
}

export function emptyOutbox(): OutboxCounters {
  return {
    entries: 0,
    messages: 0,
    bytes: 0,
    held: {},
    loose: {},
    lanes: {},
    nextEntry: 1,
    nextMessage: 1,
    unchecked: { entriesBelow: 0, messagesBelow: 0 },
    bill: emptyBill(),
  };
}

/** Counts an entry that stands in no message into its lane. */
export function countIntoLane(counters: OutboxCounters, entry: number): void {
  const of = laneOf(entry);
  counters.lanes[of] ??= { entries: 0, from: numberIn(of, 0), live: numberIn(of, 0) };
  counters.lanes[of].entries++;
}

/** Rows looked at in one go. */
const chunkRows = 500;

/** What composing reads of an entry. */
export interface WaitingRow {
  readonly entry: number;
  /** Steady ms. */
  readonly ready: number;
  readonly size: number;
  readonly source: string;
}

/** Source of a row; rows of schema 1 tell it in their accounts alone. */
const sourceColumn = "coalesce(source, (SELECT key FROM json_each(accounts) LIMIT 1), '') AS source";
const sizeColumn = "length(CAST(body AS BLOB)) AS size";

/** Entries wait here, durable, until the hub acknowledged the message that holds them. */
export class Outbox {
  readonly composed: ComposedMessages;
  readonly #storeId: string;
  readonly #counters: OutboxCounters;
  readonly #insert: Statement<[number, number, string, string, string, number]>;
  readonly #entries: Statement<[number, number], EntryRow>;
  readonly #all: Statement<[number, number], EntryRow>;
  readonly #told: Statement<[number, number], { accounts: string; size: number }>;
  readonly #deleteEntries: Statement<[number, number]>;
  readonly #waiting: Statement<[number, number, number], WaitingRow>;
  readonly #first: Statement<[number, number], { entry: number; ready: number }>;

  static readonly schema = `
    CREATE TABLE outbox (entry INTEGER PRIMARY KEY, ready INTEGER NOT NULL, accounts TEXT NOT NULL, body TEXT NOT NULL,
      source TEXT, checksum INTEGER);
    ${ComposedMessages.schema}`;

  /**
   * `counters` is updated in place, and is the caller's to store and to restore.
   * @throws PermanentError STORE_CORRUPT
   */
  constructor(database: Database, storeId: string, counters: OutboxCounters) {
    this.#storeId = storeId;
    this.#counters = counters;
    this.composed = new ComposedMessages(database, counters.unchecked);
    this.#insert = database.prepare("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)");
    this.#entries = database.prepare("SELECT * FROM outbox WHERE entry BETWEEN ? AND ? ORDER BY entry");
    this.#all = database.prepare("SELECT * FROM outbox WHERE entry >= ? ORDER BY entry LIMIT ?");
    this.#told = database.prepare(
      `SELECT accounts, ${sizeColumn} FROM outbox WHERE entry BETWEEN ? AND ? ORDER BY entry`,
    );
    this.#deleteEntries = database.prepare("DELETE FROM outbox WHERE entry BETWEEN ? AND ?");
    this.#waiting = database.prepare(
      `SELECT entry, ready, ${sizeColumn}, ${sourceColumn} FROM outbox WHERE entry >= ? AND entry < ?
       ORDER BY entry LIMIT ?`,
    );
    this.#first = database.prepare(
      "SELECT entry, ready FROM outbox WHERE entry >= ? AND entry < ? ORDER BY entry LIMIT 1",
    );
  }

  get counters(): Readonly<OutboxCounters> {
    return this.#counters;
  }

  /**
   * `priorityOf` a source, by which its entries go out before those of others. `within`: steady ms between which they
   * are taken for finished, because one that tells of long ago, such as a late revision, has not waited since then.
   */
  insert(
    entries: Iterable<Omit<Entry, "id" | "revision">>,
    priorityOf: (source: string) => number = () => defaultPriority,
    [earliestMs, latestMs] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
  ): void {
    const counters = this.#counters;
    for (const { kind, readyMs, source, body, accounts } of entries) {
      const entry = numberIn(laneFor(kind, priorityOf(source)), counters.nextEntry++);
      const ready = Math.round(Math.max(earliestMs, Math.min(latestMs, readyMs)));
      const row = { entry, ready, accounts: JSON.stringify(accounts), body, source };
      this.#insert.run(entry, row.ready, row.accounts, body, source, entryChecksum(row));
      const size = Buffer.byteLength(body);
      counters.entries++;
      counters.bytes += size;
      countIntoLane(counters, entry);
      addAccounts(counters.loose, { [source]: size });
      addAccounts(counters.held, accounts);
    }
  }

  /** Whether an entry is here and stands in no message. */
  isLoose(entry: number): boolean {
    return this.#first.get(entry, entry + 1) !== undefined && this.composed.spanAt(entry) === undefined;
  }

  /** Makes a message of entries, whose final order is that of the parts, with its body where that is compressed. */
  message(
    parts: readonly (readonly WaitingRow[])[],
    output: string,
    form: MessageForm,
    body?: Uint8Array<ArrayBuffer>,
  ): void {
    const counters = this.#counters;
    const sequence = counters.nextMessage++;
    const filled = parts.filter((rows) => rows.length > 0);
    const spans = filled.flatMap((rows) => this.#spansOf(rows));
    const count = filled.reduce((sum, rows) => sum + rows.length, 0);
    this.composed.add({ sequence, id: this.messageId(sequence), output, spans, count, form, body });
    counters.messages++;
    for (const rows of filled) {
      const lane = counters.lanes[laneOf(rows[0]?.entry ?? 0)];
      if (lane) lane.entries -= rows.length;
      for (const { source, size } of rows) counters.loose[source] = (counters.loose[source] ?? 0) - size;
    }
  }

  /** @throws PermanentError STORE_CORRUPT */
  bodiesOf(parts: readonly (readonly WaitingRow[])[]): string[] {
    return parts.flatMap((rows) => this.#bodies(this.#spansOf(rows)));
  }

  /** Of the next message, unless another is asked for. */
  messageId(sequence = this.#counters.nextMessage): string {
    return `${this.#storeId.slice(0, 8)}-${sequence}`;
  }

  /** The first message behind those that are done with, alarms before the rest. @throws PermanentError STORE_CORRUPT */
  next(done: Done, isBackfillWanted = true): OutboxMessage | undefined {
    for (const name of messageClasses) {
      if (name === "backfill" && !isBackfillWanted) return undefined;
      const sequence = this.composed.next(name, done[name]);
      if (sequence !== undefined) return this.read(sequence);
    }
    return undefined;
  }

  /** Messages of a class from a number on. @throws PermanentError STORE_CORRUPT */
  messagesFrom(of: MessageClass, sequence: number): OutboxMessage[] {
    return this.composed.from(of, sequence).flatMap((each) => this.read(each) ?? []);
  }

  /**
   * Forgets a message and its entries; returns what they accounted for. A message already forgotten gives nothing.
   * @throws PermanentError STORE_CORRUPT when entries of it are missing
   */
  remove(sequence: number): Accounts {
    const message = this.composed.read(sequence);
    if (!message) return {};
    const { spans, count, id } = message;
    const accounts: Record<string, number> = {};
    let rows = 0;
    for (const [first, last] of spans) {
      for (const entry of this.#told.iterate(first, last)) {
        rows++;
        addAccounts(accounts, JSON.parse(entry.accounts));
        this.#counters.bytes -= entry.size;
      }
      this.#deleteEntries.run(first, last);
    }
    if (count !== null && rows !== count)
      throw corrupt(`message ${id} holds ${count} entries, and ${rows} are there`);
    for (const [source, readings] of Object.entries(accounts)) {
      this.#counters.held[source] = (this.#counters.held[source] ?? 0) - readings;
    }
    this.#counters.entries -= rows;
    this.#counters.messages--;
    this.composed.forget(sequence);
    return accounts;
  }

  /** Every entry, in order, whether it stands in a message or not. @throws PermanentError STORE_CORRUPT */
  *entries(): Generator<Omit<Entry, "id" | "revision">> {
    for (let from = 0; ; ) {
      const rows = this.#all.all(from, chunkRows);
      for (const row of rows) {
        const { ready, source, body, accounts } = soundEntry(row, this.#counters.unchecked);
        const { kind } = JSON.parse(body) as Pick<Entry, "kind">;
        yield {
          kind,
          readyMs: ready,
          source: source ?? "",
          body,
          accounts: JSON.parse(accounts) as Accounts,
        };
      }
      if (rows.length < chunkRows) return;
      from = (rows.at(-1)?.entry ?? from) + 1;
    }
  }

  /** Takes back an entry that stands in no message and accounts for no reading. */
  withdraw(entry: number): void {
    const [row] = this.#entries.all(entry, entry);
    const lane = this.#counters.lanes[laneOf(entry)];
    if (!row || !lane) throw corrupt(`entry ${entry} of the outbox is missing`);
    const size = Buffer.byteLength(row.body);
    this.#deleteEntries.run(entry, entry);
    this.#counters.entries--;
    lane.entries--;
    this.#counters.bytes -= size;
    addAccounts(this.#counters.loose, { [row.source ?? ""]: -size });
  }

  /** Readings that the entries account for, per source, counted from the rows: slow, and the truth. */
  heldByRows(): Record<string, number> {
    const held: Record<string, number> = {};
    for (const row of this.#told.iterate(0, Number.MAX_SAFE_INTEGER))
      addAccounts(held, JSON.parse(row.accounts));
    return held;
  }

  status(): OutboxStatus {
    const { entries, messages, bytes } = this.#counters;
    let oldestMs: number | undefined;
    for (const lane of entries > 0 ? allLanes : []) {
      if (this.#counters.lanes[lane] === undefined) continue;
      const ready = this.#first.get(numberIn(lane, 0), numberIn(lane + 1, 0))?.ready;
      if (ready !== undefined) oldestMs = Math.min(oldestMs ?? ready, ready);
    }
    return { entries, messages, bytes, oldestMs };
  }

  /** The first entry from `from` on and before `to`, whether it stands in a message or not. */
  firstFrom(from: number, to: number): { readonly entry: number; readonly ready: number } | undefined {
    return this.#first.get(from, to);
  }

  /** Entries that stand in no message; chunk by chunk, because the driver allows no write while a statement iterates. */
  *looseFrom(from: number, to: number): Generator<WaitingRow, void> {
    for (let next = from; ; ) {
      const rows = this.#waiting.all(next, to, chunkRows);
      for (const row of rows) if (!this.composed.spanAt(row.entry)) yield row;
      if (rows.length < chunkRows) return;
      next = (rows.at(-1)?.entry ?? next) + 1;
    }
  }

  /** Where entries of another message stand in between, a span ends before them. */
  #spansOf(rows: readonly WaitingRow[]): Span[] {
    if (rows.length === 0) return [];
    const spans: Span[] = [];
    let first = rows[0]?.entry ?? 0;
    let last = first;
    for (const { entry } of rows) {
      if (entry > last + 1 && this.composed.isAnyBetween(last, entry)) {
        spans.push([first, last]);
        first = entry;
      }
      last = entry;
    }
    return [...spans, [first, last]];
  }

  /** A message with its body. @throws PermanentError STORE_CORRUPT */
  read(sequence: number): OutboxMessage | undefined {
    const message = this.composed.read(sequence);
    if (!message) return undefined;
    const { id, output, spans, count, form } = message;
    const bodies = this.#bodies(spans);
    if (count !== null && bodies.length !== count)
      throw corrupt(`message ${id} holds ${count} entries, and ${bodies.length} are there`);
    const body = message.body ?? bodyOf(bodies, form);
    const previous = this.composed.previous(form.class, sequence);
    const headers = headersOf(form, message.body !== undefined);
    return { sequence, previous, id, output, class: form.class, body, ...headers };
  }

  #bodies(spans: readonly Span[]): string[] {
    return spans.flatMap(([first, last]) =>
      this.#entries.all(first, last).map((row) => soundEntry(row, this.#counters.unchecked).body),
    );
  }
}
