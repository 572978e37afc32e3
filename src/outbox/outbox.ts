import type { Database, Statement } from "../core/database.ts";
import { type Accounts, addAccounts, type Entry } from "../core/entry.ts";
import type { HubMessage } from "../hub/hub-client.ts";
import {
  corrupt,
  type EntryRow,
  entryChecksum,
  type MessageRow,
  messageChecksum,
  soundEntry,
  soundMessage,
  type Unchecked,
} from "./checksum.ts";

/** A message composed of entries; its composition never changes, so every send of it is byte-identical. */
export interface OutboxMessage extends HubMessage {
  readonly sequence: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

export interface ComposeSettings {
  readonly maxDelayMs: number;
  readonly maxMessageBytes: number;
  readonly output: string;
}

export interface OutboxStatus {
  readonly entries: number;
  readonly messages: number;
  readonly bytes: number;
  /** When the oldest entry was finished, steady ms; undefined when empty. */
  readonly oldestMs: number | undefined;
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
  /** Entries that stand in no message yet. */
  looseEntries: number;
  nextEntry: number;
  nextMessage: number;
  /** Entries below this number stand in a message, or are gone. */
  composedBelow: number;
  unchecked: Unchecked;
}

export function emptyOutbox(): OutboxCounters {
  return {
    entries: 0,
    messages: 0,
    bytes: 0,
    held: {},
    loose: {},
    looseEntries: 0,
    nextEntry: 1,
    nextMessage: 1,
    composedBelow: 1,
    unchecked: { entriesBelow: 0, messagesBelow: 0 },
  };
}

/**
 * Messages composed ahead of the hub. Their composition is final, so what stands in them can neither be thinned nor
 * evicted; a few are enough to keep a fast hub busy from one commit to the next.
 */
const composedAhead = 64;
/** Rows looked at in one go. */
const chunkRows = 500;

interface WaitingRow {
  entry: number;
  ready: number;
  size: number;
  source: string;
}

/** Source of a row; rows of schema 1 tell it in their accounts alone. */
const sourceColumn = "coalesce(source, (SELECT key FROM json_each(accounts) LIMIT 1), '') AS source";
const sizeColumn = "length(CAST(body AS BLOB)) AS size";

/**
 * Entries wait here, durable, until the hub acknowledged the message that holds them.
 * Entries and messages are numbered in order of their making; a message holds a range of entries.
 */
export class Outbox {
  readonly #storeId: string;
  readonly #counters: OutboxCounters;
  readonly #insert: Statement<[number, number, string, string, string, number]>;
  readonly #entries: Statement<[number, number], EntryRow>;
  readonly #told: Statement<[number, number], { accounts: string; size: number }>;
  readonly #deleteEntries: Statement<[number, number]>;
  readonly #insertMessage: Statement<[number, string, string, number, number, number, number]>;
  readonly #nextMessage: Statement<[number], MessageRow>;
  readonly #messageBySequence: Statement<[number], MessageRow>;
  readonly #deleteMessage: Statement<[number]>;
  readonly #waiting: Statement<[number, number], WaitingRow>;
  readonly #oldest: Statement<[], { ready: number }>;

  static readonly schema = `
    CREATE TABLE outbox (entry INTEGER PRIMARY KEY, ready INTEGER NOT NULL, accounts TEXT NOT NULL, body TEXT NOT NULL,
      source TEXT, checksum INTEGER);
    CREATE TABLE message (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, output TEXT NOT NULL,
      first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER, checksum INTEGER)`;

  /** `counters` is updated in place, and is the caller's to store and to restore. */
  constructor(database: Database, storeId: string, counters: OutboxCounters) {
    this.#storeId = storeId;
    this.#counters = counters;
    this.#insert = database.prepare("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)");
    this.#entries = database.prepare("SELECT * FROM outbox WHERE entry BETWEEN ? AND ? ORDER BY entry");
    this.#told = database.prepare(
      `SELECT accounts, ${sizeColumn} FROM outbox WHERE entry BETWEEN ? AND ? ORDER BY entry`,
    );
    this.#deleteEntries = database.prepare("DELETE FROM outbox WHERE entry BETWEEN ? AND ?");
    this.#insertMessage = database.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#nextMessage = database.prepare(
      "SELECT * FROM message WHERE sequence > ? ORDER BY sequence LIMIT 1",
    );
    this.#messageBySequence = database.prepare("SELECT * FROM message WHERE sequence = ?");
    this.#deleteMessage = database.prepare("DELETE FROM message WHERE sequence = ?");
    this.#waiting = database.prepare(
      `SELECT entry, ready, ${sizeColumn}, ${sourceColumn} FROM outbox WHERE entry >= ? ORDER BY entry LIMIT ?`,
    );
    this.#oldest = database.prepare("SELECT ready FROM outbox ORDER BY entry LIMIT 1");
  }

  insert(entries: Iterable<Omit<Entry, "id" | "revision">>): void {
    const counters = this.#counters;
    for (const { readyMs, source, body, accounts } of entries) {
      const row = {
        entry: counters.nextEntry++,
        ready: Math.round(readyMs),
        accounts: JSON.stringify(accounts),
        body,
        source,
      };
      this.#insert.run(row.entry, row.ready, row.accounts, row.body, row.source, entryChecksum(row));
      const size = Buffer.byteLength(body);
      counters.entries++;
      counters.bytes += size;
      counters.looseEntries++;
      addAccounts(counters.loose, { [source]: size });
      addAccounts(counters.held, accounts);
    }
  }

  /**
   * Composes messages: full ones at once, the rest when its oldest entry has waited long enough; no more than the hub
   * is likely to take until the next commit, and than `aheadBytes`, because composed entries cannot make room.
   * Times are steady ms. Returns that at which the rest falls due, or undefined when nothing waits for that.
   * @throws PermanentError STORE_CORRUPT when rows are missing
   */
  compose(
    nowMs: number,
    settings: ComposeSettings,
    aheadBytes = Number.POSITIVE_INFINITY,
  ): number | undefined {
    const isAhead = () => this.#isAhead(aheadBytes);
    let waiting: WaitingRow[] = [];
    let size = 2;
    let seen = 0;
    const expected = this.#counters.looseEntries;
    for (const row of this.#rowsFrom(this.#counters.composedBelow)) {
      if (isAhead()) return undefined;
      seen++;
      if (waiting.length > 0 && size + row.size + 1 > settings.maxMessageBytes) {
        this.#message(waiting, settings.output);
        waiting = [];
        size = 2;
      }
      waiting.push(row);
      size += row.size + 1;
    }
    if (seen !== expected) throw corrupt(`${expected} entries wait in the outbox, and ${seen} are there`);
    if (waiting.length === 0) return undefined;
    const oldest = waiting.reduce((min, { ready }) => Math.min(min, ready), Number.POSITIVE_INFINITY);
    const dueMs = oldest + settings.maxDelayMs;
    // One finished later than now was told so by another clock, before a boot: it has waited for who knows how long.
    if (dueMs > nowMs && oldest <= nowMs) return dueMs;
    if (!isAhead()) this.#message(waiting, settings.output);
    return undefined;
  }

  /** The first message behind `sequence`, or undefined. @throws PermanentError STORE_CORRUPT */
  next(sequence: number): OutboxMessage | undefined {
    const row = this.#nextMessage.get(sequence);
    if (!row) return undefined;
    const { first, last, count, id, output } = soundMessage(row, this.#counters.unchecked);
    const bodies = this.#entries
      .all(first, last)
      .map((entry) => soundEntry(entry, this.#counters.unchecked).body);
    if (count !== null && bodies.length !== count)
      throw corrupt(`message ${id} holds ${count} entries, and ${bodies.length} are there`);
    const body = new Uint8Array(new TextEncoder().encode(`[${bodies.join(",")}]`));
    return {
      sequence: row.sequence,
      id,
      output,
      body,
      contentType: "application/json",
      contentEncoding: "utf-8",
      properties: {},
    };
  }

  /**
   * Forgets a message and its entries; returns what they accounted for. A message already forgotten gives nothing.
   * @throws PermanentError STORE_CORRUPT when entries of it are missing
   */
  remove(sequence: number): Accounts {
    const row = this.#messageBySequence.get(sequence);
    if (!row) return {};
    const { first, last, count, id } = soundMessage(row, this.#counters.unchecked);
    const accounts: Record<string, number> = {};
    let rows = 0;
    for (const entry of this.#told.iterate(first, last)) {
      rows++;
      addAccounts(accounts, JSON.parse(entry.accounts));
      this.#counters.bytes -= entry.size;
    }
    if (count !== null && rows !== count)
      throw corrupt(`message ${id} holds ${count} entries, and ${rows} are there`);
    for (const [source, readings] of Object.entries(accounts)) {
      this.#counters.held[source] = (this.#counters.held[source] ?? 0) - readings;
    }
    this.#counters.entries -= rows;
    this.#counters.messages--;
    this.#deleteEntries.run(first, last);
    this.#deleteMessage.run(sequence);
    return accounts;
  }

  /** Every entry, in order, whether it stands in a message or not. @throws PermanentError STORE_CORRUPT */
  *entries(): Generator<Omit<Entry, "id" | "revision">> {
    for (let from = 0; ; ) {
      const rows = this.#entries.all(from, from + chunkRows - 1);
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
      from += chunkRows;
      if (from >= this.#counters.nextEntry) return;
    }
  }

  /** Takes back an entry that stands in no message and accounts for no reading. */
  withdraw(entry: number): void {
    const [row] = this.#entries.all(entry, entry);
    if (!row) throw corrupt(`entry ${entry} of the outbox is missing`);
    const size = Buffer.byteLength(row.body);
    this.#deleteEntries.run(entry, entry);
    this.#counters.entries--;
    this.#counters.looseEntries--;
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
    return { entries, messages, bytes, oldestMs: this.#oldest.get()?.ready };
  }

  #isAhead(bytes: number): boolean {
    const { messages, loose } = this.#counters;
    if (messages === 0) return false;
    if (messages >= composedAhead) return true;
    const inLoose = Object.values(loose).reduce((sum, size) => sum + size, 0);
    return this.#counters.bytes - inLoose >= bytes;
  }

  /** Chunk by chunk, because the driver allows no write while a statement iterates. */
  *#rowsFrom(entry: number): Generator<WaitingRow> {
    for (;;) {
      const rows = this.#waiting.all(entry, chunkRows);
      yield* rows;
      if (rows.length < chunkRows) return;
      entry = (rows.at(-1)?.entry ?? entry) + 1;
    }
  }

  #message(rows: readonly WaitingRow[], output: string): void {
    const sequence = this.#counters.nextMessage++;
    const first = rows[0]?.entry ?? 0;
    const last = rows.at(-1)?.entry ?? 0;
    const row = {
      sequence,
      id: `${this.#storeId.slice(0, 8)}-${sequence}`,
      output,
      first,
      last,
      count: rows.length,
    };
    this.#insertMessage.run(sequence, row.id, output, first, last, row.count, messageChecksum(row));
    this.#counters.messages++;
    this.#counters.looseEntries -= rows.length;
    for (const { source, size } of rows)
      this.#counters.loose[source] = (this.#counters.loose[source] ?? 0) - size;
    this.#counters.composedBelow = last + 1;
  }
}
