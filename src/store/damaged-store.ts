import { zstdDecompressSync } from "node:zlib";
import { type Database, openForReading } from "../core/database.ts";
import { messageOf } from "../core/errors.ts";
import { unpack } from "../journal/journal.ts";
import {
  type EntryRow,
  isSoundEntry,
  isSoundMessage,
  type MessageRow,
  type Unchecked,
} from "../outbox/checksum.ts";
import { allLanes, numberIn } from "../outbox/lanes.ts";
import type { PipelineSnapshot } from "../pipeline-contract.ts";
import { isStoreId } from "./schema.ts";
import { type State, StateRow } from "./state.ts";
import { type TextRow, textOf } from "./texts.ts";

/** A hole in a table, or the holes of all lanes together, are searched row by row up to this many numbers. */
const longestHole = 2_000_000;
/** Beyond what can wait at a time. */
const longestTextHole = 200_000;
const longestList = 100;

/** Reads what can be read of a damaged store, and remembers what could not. Changes nothing. */
export class DamagedStore {
  /** The first of them, in words. */
  readonly problems: string[] = [];
  problemCount = 0;
  readonly #database: Database | undefined;

  constructor(path: string | undefined) {
    this.#database = path === undefined ? undefined : this.#try("opening", () => openForReading(path));
  }

  close(): void {
    this.#database?.close();
  }

  storeId(): string | undefined {
    return this.#query("the store's id", (database) => {
      const row = database.prepare<[], { id: unknown }>("SELECT id FROM store").get();
      return isStoreId(row?.id) ? row.id : undefined;
    });
  }

  state(): State | undefined {
    return this.#query("the state", (database) => {
      // Schema 1 had no checksum.
      const columns = database.prepare<[], { name: string }>("PRAGMA table_info(state)").all();
      if (columns.some(({ name }) => name === "checksum")) return new StateRow(database).read();
      return undefined;
    });
  }

  /** Snapshot and its position. */
  snapshot(): { position: number; snapshot: PipelineSnapshot } | undefined {
    return this.#query("the snapshot", (database) => {
      const row = database
        .prepare<[], { position: number; checksum: number; snapshot: Buffer }>("SELECT * FROM snapshot")
        .get();
      if (!row) return undefined;
      const plain = unpack(row.snapshot, row.checksum, "the snapshot");
      return {
        position: row.position,
        snapshot: JSON.parse(Buffer.from(plain).toString("utf8")) as PipelineSnapshot,
      };
    });
  }

  /** Batches that match their checksum, in order. */
  journal(last: number): { position: number; batch: Uint8Array }[] {
    const batches: { position: number; batch: Uint8Array }[] = [];
    type Row = { position: number; checksum: number; batch: Buffer };
    for (const row of this.#rows<Row>("journal", "position", 1, last)) {
      const batch = this.#try(`journal position ${row.position}`, () => {
        unpack(row.batch, row.checksum, `journal position ${row.position}`);
        return zstdDecompressSync(row.batch);
      });
      if (batch) batches.push({ position: row.position, batch });
    }
    return batches;
  }

  /**
   * Entries that match their checksum, in order. `last`: the last place that was given; `known`: the lanes that have
   * entries, if that is known.
   */
  *entries(last: number, unchecked: Unchecked, known?: readonly number[]): Generator<EntryRow> {
    const lanes = [...(known ?? allLanes)].sort((a, b) => a - b);
    const longest = Math.floor(longestHole / lanes.length);
    for (const lane of lanes) {
      const from = numberIn(lane, 1);
      for (const row of this.#rows<EntryRow>("outbox", "entry", from, numberIn(lane, last), longest)) {
        const whole = { ...row, source: row.source ?? null, checksum: row.checksum ?? null };
        if (this.#isGood(`entry ${row.entry}`, () => isSoundEntry(whole, unchecked) && isReadable(whole)))
          yield whole;
      }
    }
  }

  messages(last: number, unchecked: Unchecked): MessageRow[] {
    return [...this.#rows<MessageRow>("message", "sequence", 1, last)]
      .map((row) => ({
        ...row,
        count: row.count ?? null,
        checksum: row.checksum ?? null,
        spans: row.spans ?? null,
        form: row.form ?? null,
        body: row.body ?? null,
      }))
      .filter((row) => this.#isGood(`message ${row.sequence}`, () => isSoundMessage(row, unchecked)));
  }

  /**
   * Texts that match their checksum, in order; none of schemas that had no such table. `next`: the number behind the
   * last that is known to be given. Where the end of the table cannot be read, some more may have been given:
   * `unknown` of them.
   */
  *texts(next: number, unknown: number): Generator<TextRow> {
    const hasTable = this.#query("the tables", (database) => {
      return database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'text'").get();
    });
    if (hasTable === undefined) return;
    const endAt = (reached: number) => Math.max(reached + 1, next) + unknown;
    const last = Number.MAX_SAFE_INTEGER;
    for (const row of this.#rows<TextRow>("text", "number", 1, last, longestTextHole, endAt)) {
      if (this.#isGood(`text ${row.number}`, () => textOf(row) !== undefined)) yield row;
    }
  }

  /**
   * Rows of numbers between two: forward up to the first page that cannot be read, then number by number up to the last such page,
   * which finds every row whose own path through the pages is whole, and from there on in one go again.
   * `endAt`: where the search ends when no row can be read from the end, behind the row that was reached.
   */
  *#rows<R extends object>(
    table: string,
    key: string & keyof R,
    first: number,
    last: number,
    longest = longestHole,
    endAt = (_reached: number) => last + 1,
  ): Generator<R> {
    const database = this.#database;
    if (!database) return;
    const select = `SELECT * FROM ${table}`;
    let reached = first - 1;
    const within = `${key} BETWEEN ${first} AND ${last}`;
    const scan = this.#scan<R>(database, `${select} WHERE ${within} ORDER BY ${key}`, (row) => {
      reached = Math.max(reached, row[key] as number);
    });
    if (yield* scan) return;
    let until = Number.POSITIVE_INFINITY;
    const keys = this.#scan<R>(
      database,
      `SELECT ${key} FROM ${table} WHERE ${key} > ${reached} AND ${key} <= ${last} ORDER BY ${key} DESC`,
    );
    for (const row of keys) until = Math.min(until, row[key] as number);
    if (until > last) until = endAt(reached);
    const one = this.#try(select, () => database.prepare<[number], R>(`${select} WHERE ${key} = ?`));
    for (let number = Math.max(reached + 1, until - longest); one && number < until; number++) {
      const row = this.#try(`${table} ${number}`, () => one.get(number));
      if (row) yield row;
    }
    yield* this.#scan<R>(
      database,
      `${select} WHERE ${key} >= ${until} AND ${key} <= ${last} ORDER BY ${key}`,
    );
  }

  /** Rows up to the first error; returns whether there was none. */
  *#scan<R>(database: Database, sql: string, seen?: (row: R) => void): Generator<R, boolean> {
    try {
      for (const row of database.prepare<[], R>(sql).iterate()) {
        seen?.(row);
        yield row;
      }
      return true;
    } catch (error) {
      this.#problem(`${sql}: ${messageOf(error)}`);
      return false;
    }
  }

  #isGood(what: string, check: () => boolean): boolean {
    const good = this.#try(what, check);
    if (good === false) this.#problem(`${what} does not match its checksum`);
    return good ?? false;
  }

  #query<T>(what: string, work: (database: Database) => T | undefined): T | undefined {
    const database = this.#database;
    return database ? this.#try(what, () => work(database)) : undefined;
  }

  #try<T>(what: string, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#problem(`${what}: ${messageOf(error)}`);
      return undefined;
    }
  }

  #problem(text: string): void {
    this.problemCount++;
    if (this.problems.length < longestList) this.problems.push(text);
  }
}

/** Rows of schema 1 have no checksum; they must at least be what they claim to be. */
function isReadable({ accounts, body, entry, ready }: EntryRow): boolean {
  JSON.parse(accounts);
  JSON.parse(body);
  return Number.isSafeInteger(entry) && Number.isFinite(ready);
}
