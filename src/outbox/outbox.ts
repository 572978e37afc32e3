import type { Database, Statement } from "../core/database.ts";
import { type Accounts, addAccounts, type Entry } from "../core/entry.ts";

/** A message composed of entries; its composition never changes, so every send of it is byte-identical. */
export interface OutboxMessage {
  readonly sequence: number;
  readonly id: string;
  readonly output: string;
  /** JSON array of the entries, UTF-8. */
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
  nextEntry: number;
  nextMessage: number;
  /** Entries below this number stand in a message. */
  composedBelow: number;
}

export function emptyOutbox(): OutboxCounters {
  return { entries: 0, messages: 0, bytes: 0, held: {}, nextEntry: 1, nextMessage: 1, composedBelow: 1 };
}

interface EntryRow {
  entry: number;
  ready: number;
  size: number;
  accounts: string;
}
interface MessageRow {
  sequence: number;
  id: string;
  output: string;
  first: number;
  last: number;
}

/**
 * Entries wait here, durable, until the hub acknowledged the message that holds them.
 * Entries and messages are numbered without gaps in order of their making; a message holds a range of entries.
 */
export class Outbox {
  readonly #storeId: string;
  readonly #counters: OutboxCounters;
  readonly #insert: Statement<[number, number, string, string]>;
  readonly #bodies: Statement<[number, number], { body: string }>;
  readonly #told: Statement<[number, number], { accounts: string; size: number }>;
  readonly #deleteEntries: Statement<[number, number]>;
  readonly #insertMessage: Statement<[number, string, string, number, number]>;
  readonly #nextMessage: Statement<[number], MessageRow>;
  readonly #messageBySequence: Statement<[number], MessageRow>;
  readonly #deleteMessage: Statement<[number]>;
  readonly #waiting: Statement<[number], EntryRow>;
  readonly #oldest: Statement<[], { ready: number }>;

  static readonly schema = `
    CREATE TABLE outbox (entry INTEGER PRIMARY KEY, ready INTEGER NOT NULL, accounts TEXT NOT NULL, body TEXT NOT NULL);
    CREATE TABLE message (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, output TEXT NOT NULL,
      first INTEGER NOT NULL, last INTEGER NOT NULL)`;

  /** `counters` is updated in place, and is the caller's to store and to restore. */
  constructor(database: Database, storeId: string, counters: OutboxCounters) {
    this.#storeId = storeId;
    this.#counters = counters;
    this.#insert = database.prepare("INSERT INTO outbox VALUES (?, ?, ?, ?)");
    this.#bodies = database.prepare("SELECT body FROM outbox WHERE entry BETWEEN ? AND ? ORDER BY entry");
    this.#told = database.prepare(
      "SELECT accounts, length(CAST(body AS BLOB)) AS size FROM outbox WHERE entry BETWEEN ? AND ?",
    );
    this.#deleteEntries = database.prepare("DELETE FROM outbox WHERE entry BETWEEN ? AND ?");
    this.#insertMessage = database.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?)");
    this.#nextMessage = database.prepare(
      "SELECT * FROM message WHERE sequence > ? ORDER BY sequence LIMIT 1",
    );
    this.#messageBySequence = database.prepare("SELECT * FROM message WHERE sequence = ?");
    this.#deleteMessage = database.prepare("DELETE FROM message WHERE sequence = ?");
    this.#waiting = database.prepare(
      "SELECT entry, ready, length(CAST(body AS BLOB)) AS size FROM outbox WHERE entry >= ? ORDER BY entry",
    );
    this.#oldest = database.prepare("SELECT ready FROM outbox ORDER BY entry LIMIT 1");
  }

  insert(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const number = this.#counters.nextEntry++;
      this.#insert.run(number, Math.round(entry.readyMs), JSON.stringify(entry.accounts), entry.body);
      this.#counters.entries++;
      this.#counters.bytes += Buffer.byteLength(entry.body);
      addAccounts(this.#counters.held, entry.accounts);
    }
  }

  /**
   * Composes messages: full ones at once, the rest when its oldest entry has waited long enough.
   * Times are steady ms. Returns that at which the rest falls due, or undefined when nothing waits.
   */
  compose(nowMs: number, settings: ComposeSettings): number | undefined {
    let first: number | undefined;
    let last = 0;
    let size = 0;
    let oldest = Number.POSITIVE_INFINITY;
    // Collected first: the driver allows no write while a statement iterates.
    for (const row of this.#waiting.all(this.#counters.composedBelow)) {
      if (first !== undefined && size + row.size + 1 > settings.maxMessageBytes) {
        this.#message(first, last, settings.output);
        first = undefined;
        oldest = Number.POSITIVE_INFINITY;
      }
      if (first === undefined) {
        first = row.entry;
        size = 2;
      }
      last = row.entry;
      size += row.size + 1;
      oldest = Math.min(oldest, row.ready);
    }
    if (first === undefined) return undefined;
    const dueMs = oldest + settings.maxDelayMs;
    // One finished later than now was told so by another clock, before a boot: it has waited for who knows how long.
    if (dueMs > nowMs && oldest <= nowMs) return dueMs;
    this.#message(first, last, settings.output);
    return undefined;
  }

  /** The first message behind `sequence`, or undefined. */
  next(sequence: number): OutboxMessage | undefined {
    const row = this.#nextMessage.get(sequence);
    if (!row) return undefined;
    const bodies = this.#bodies.all(row.first, row.last).map(({ body }) => body);
    const body = new Uint8Array(new TextEncoder().encode(`[${bodies.join(",")}]`));
    return { sequence: row.sequence, id: row.id, output: row.output, body };
  }

  /** Forgets a message and its entries; returns what they accounted for. A message already forgotten gives nothing. */
  remove(sequence: number): Accounts {
    const row = this.#messageBySequence.get(sequence);
    if (!row) return {};
    const accounts: Record<string, number> = {};
    for (const entry of this.#told.iterate(row.first, row.last)) {
      addAccounts(accounts, JSON.parse(entry.accounts));
      this.#counters.entries--;
      this.#counters.bytes -= entry.size;
    }
    for (const [source, count] of Object.entries(accounts)) {
      this.#counters.held[source] = (this.#counters.held[source] ?? 0) - count;
    }
    this.#counters.messages--;
    this.#deleteEntries.run(row.first, row.last);
    this.#deleteMessage.run(sequence);
    return accounts;
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

  #message(first: number, last: number, output: string): void {
    const sequence = this.#counters.nextMessage++;
    this.#insertMessage.run(sequence, `${this.#storeId.slice(0, 8)}-${sequence}`, output, first, last);
    this.#counters.messages++;
    this.#counters.composedBelow = last + 1;
  }
}
