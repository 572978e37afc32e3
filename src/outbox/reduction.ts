import type { Database, Statement } from "../core/database.ts";
import { type Accounts, addAccounts } from "../core/entry.ts";
import { type EntryRow, entryChecksum, soundEntry } from "./checksum.ts";
import type { ComposedMessages } from "./composed.ts";
import type { EntryBody, WindowEntryBody } from "./entry-schema.ts";
import { laneOf, numberIn } from "./lanes.ts";
import type { OutboxCounters } from "./outbox.ts";
import { merged, thinnedTo, thinningKey } from "./thinning.ts";

/** Rows read in one go: of ten thousand devices, two windows each. */
const thinnedRows = 20_000;
const evictedRows = 500;

/** What eviction took. */
export interface Evicted {
  readonly entries: number;
  readonly bytes: number;
  readonly accounts: Accounts;
  /** Wall ms: begin of the first of their windows, and end of the last; of readings, their times. */
  readonly fromMs: number;
  readonly toMs: number;
}

/**
 * Makes the outbox smaller, oldest entries first: by merging windows of one device, then by giving entries up.
 * What stands in a message is never touched, because its composition may have been sent.
 */
export class Reduction {
  readonly #storeId: string;
  readonly #counters: OutboxCounters;
  readonly #composed: ComposedMessages;
  readonly #ofSource: Statement<[number, number, string, string, number], EntryRow>;
  readonly #delete: Statement<[number]>;
  readonly #replace: Statement<[number, string, string, string, number, number]>;
  /** Per lane and source, below which entry all was thinned, and below which there is none of it: so that no scan begins anew. */
  readonly #thinnedBelow = new Map<string, number>();
  readonly #noneBelow = new Map<string, number>();
  readonly #noReadingBelow = new Map<string, number>();

  constructor(database: Database, storeId: string, counters: OutboxCounters, composed: ComposedMessages) {
    this.#storeId = storeId;
    this.#counters = counters;
    this.#composed = composed;
    // Rows of schema 1 have their source in the accounts alone.
    this.#ofSource = database.prepare(
      `SELECT * FROM outbox WHERE entry >= ? AND entry < ?
       AND (source = ? OR (source IS NULL AND (SELECT key FROM json_each(accounts) LIMIT 1) = ?))
       ORDER BY entry LIMIT ?`,
    );
    this.#delete = database.prepare("DELETE FROM outbox WHERE entry = ?");
    this.#replace = database.prepare(
      "UPDATE outbox SET ready = ?, accounts = ?, body = ?, source = ?, checksum = ? WHERE entry = ?",
    );
  }

  /**
   * Merges the oldest entries of a source that were not merged before, until `bytes` are freed: all of it goes through
   * the log in one transaction. Looks at no more than `thinnedRows` of a lane, whether there is something to merge among
   * them or not: raw readings are never merged, and a full store of them takes half a minute to read.
   * Returns the bytes that this freed; undefined when there is nothing left to merge.
   */
  thin(source: string, bytes = Number.POSITIVE_INFINITY): number | undefined {
    for (const lane of this.#lanes()) {
      const rows = this.#rows(lane, source, this.#thinnedBelow, thinnedRows);
      const last = rows.at(-1);
      if (!last) continue;
      let freed = 0;
      let next = last.entry + 1;
      for (const group of groupsOf(rows, (row) => this.#composed.spanAt(row.entry) !== undefined)) {
        if (freed < bytes) freed += this.#merge(source, group);
        // A single one has nobody to be merged with among those that were read.
        else if (group.length > 1) next = Math.min(next, group[0]?.entry ?? next);
      }
      this.#thinnedBelow.set(`${lane} ${source}`, next);
      if (freed > 0 || rows.length === thinnedRows) return freed;
    }
    return undefined;
  }

  /** Gives up the oldest entries of a source until `bytes` are freed or none is left; undefined when there was none. */
  evict(source: string, bytes: number): Evicted | undefined {
    return this.#giveUp(source, bytes, this.#noneBelow, () => false);
  }

  /** Gives up raw readings of a source like that. */
  evictReadings(source: string, bytes: number): Evicted | undefined {
    const isOther = ({ kind }: EntryBody) => kind !== "reading";
    return this.#giveUp(source, bytes, this.#noReadingBelow, isOther);
  }

  #giveUp(
    source: string,
    bytes: number,
    below: Map<string, number>,
    isSpared: (body: EntryBody) => boolean,
  ): Evicted | undefined {
    const counters = this.#counters;
    const accounts: Record<string, number> = {};
    let entries = 0;
    let freed = 0;
    let fromMs = Number.POSITIVE_INFINITY;
    let toMs = Number.NEGATIVE_INFINITY;
    for (const lane of this.#lanes()) {
      while (freed < bytes) {
        const rows = this.#rows(lane, source, below, evictedRows);
        for (const row of rows) {
          if (freed >= bytes) break;
          below.set(`${lane} ${source}`, row.entry + 1);
          if (this.#composed.spanAt(row.entry)) continue;
          const body = JSON.parse(row.body) as EntryBody;
          const span = isSpared(body) ? undefined : spanOf(body);
          if (!span) continue;
          this.#remove(source, row);
          addAccounts(accounts, JSON.parse(row.accounts) as Accounts);
          entries++;
          freed += Buffer.byteLength(row.body);
          fromMs = Math.min(fromMs, Date.parse(span[0]));
          toMs = Math.max(toMs, Date.parse(span[1]));
        }
        if (rows.length < evictedRows) {
          // Up to here there is none of it, also where no row of the source stands at the end.
          if (freed < bytes) below.set(`${lane} ${source}`, numberIn(lane, this.#counters.nextEntry));
          break;
        }
      }
    }
    if (entries === 0) return undefined;
    for (const [name, readings] of Object.entries(accounts))
      counters.held[name] = (counters.held[name] ?? 0) - readings;
    return { entries, bytes: freed, accounts, fromMs, toMs };
  }

  #lanes(): number[] {
    return Object.keys(this.#counters.lanes).map(Number);
  }

  #rows(lane: number, source: string, below: ReadonlyMap<string, number>, limit: number): EntryRow[] {
    const from = Math.max(below.get(`${lane} ${source}`) ?? 0, this.#counters.lanes[lane]?.from ?? 0);
    return this.#ofSource.all(from, numberIn(lane + 1, 0), source, source, limit);
  }

  /** The last of the rows becomes all of them, so that the order of entries stays that of their making. */
  #merge(source: string, rows: readonly EntryRow[]): number {
    const last = rows.at(-1);
    if (!last || rows.length < 2) return 0;
    const bodies = rows.map(
      (row) => JSON.parse(soundEntry(row, this.#counters.unchecked).body) as WindowEntryBody,
    );
    const body = JSON.stringify(merged(this.#storeId, bodies));
    const accounts: Record<string, number> = {};
    for (const row of rows) addAccounts(accounts, JSON.parse(row.accounts) as Accounts);
    const before = this.#counters.bytes;
    for (const row of rows.slice(0, -1)) this.#remove(source, row);
    const row = { ...last, accounts: JSON.stringify(accounts), body, source };
    this.#replace.run(row.ready, row.accounts, body, source, entryChecksum(row), row.entry);
    this.#grow(source, Buffer.byteLength(body) - Buffer.byteLength(last.body));
    return before - this.#counters.bytes;
  }

  #remove(source: string, row: EntryRow): void {
    this.#delete.run(row.entry);
    this.#counters.entries--;
    const lane = this.#counters.lanes[laneOf(row.entry)];
    if (lane) lane.entries--;
    this.#grow(source, -Buffer.byteLength(row.body));
  }

  #grow(source: string, bytes: number): void {
    this.#counters.bytes += bytes;
    this.#counters.loose[source] = (this.#counters.loose[source] ?? 0) + bytes;
  }
}

/** The times that an entry is about; undefined for what must not be lost. */
function spanOf(body: EntryBody): readonly [from: string, to: string] | undefined {
  switch (body.kind) {
    case "window":
      return [body.windowStart, body.windowEnd];
    case "reading":
      return [body.time, body.time];
    // They tell of a loss or an alarm, are few, and account for no reading.
    case "gap":
    case "alarm":
      return undefined;
    default:
      return body satisfies never;
  }
}

/** Rows that may become one, at most `thinnedTo` together, in order. */
function groupsOf(rows: readonly EntryRow[], isComposed: (row: EntryRow) => boolean): EntryRow[][] {
  const groups: EntryRow[][] = [];
  const open = new Map<string, EntryRow[]>();
  const told = new Map<string, number>();
  const bodies = rows.map((row) => JSON.parse(row.body) as WindowEntryBody);
  for (const { id } of bodies) told.set(id, (told.get(id) ?? 0) + 1);
  for (const [i, row] of rows.entries()) {
    const body = bodies[i] as WindowEntryBody;
    const key = thinningKey(body);
    // A window of which a revision waits, here or in a message, would be merged without it.
    if (key === undefined || told.get(body.id) !== 1 || isComposed(row)) continue;
    const group = open.get(key);
    if (group && group.length < thinnedTo) group.push(row);
    else {
      const begun = [row];
      open.set(key, begun);
      groups.push(begun);
    }
  }
  return groups;
}
