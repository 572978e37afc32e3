import { crc32 } from "node:zlib";
import type { Database, Statement } from "../core/database.ts";
import { isObject } from "../core/json.ts";
import type { Account } from "../ledger/ledger.ts";
import { corrupt } from "../outbox/checksum.ts";
import { emptyOutbox, type OutboxCounters } from "../outbox/outbox.ts";

/** What every commit rewrites, in one row: where it stands, and the books. */
export interface State {
  /** Again here, under the checksum: ids of entries and messages are made of it. */
  storeId: string;
  position: number;
  /** Written by an orderly stop only. */
  clean: boolean;
  /** Wall ms of the last commit. */
  committedMs: number;
  outbox: OutboxCounters;
  ledger: [string, Account][];
  /** Per source and reason, the entry in the outbox that tells what was given up, as long as it stands in no message. */
  evictions: Record<string, Eviction>;
  /** Since when, wall ms, something may be missing that an unclean end took; until the gap stands in the journal. */
  uncleanSinceMs?: number;
  /** Ids of stores that were taken over, the last ones. */
  adopted?: readonly string[];
  /** What was damaged last, for the status. */
  damage?: Damage;
}

/** What eviction took from a source since the hub was last told. */
export interface Eviction {
  /** Number of the outbox entry that tells it. */
  entry: number;
  fromMs: number;
  toMs: number;
  readings: number;
}

export interface Damage {
  /** Wall ms. */
  readonly atMs: number;
  readonly reason: string;
  /** Where the damaged file was put. */
  readonly file: string;
  readonly report: string;
}

export function emptyState(storeId: string): State {
  return {
    storeId,
    position: 0,
    clean: true,
    committedMs: 0,
    outbox: emptyOutbox(),
    ledger: [],
    evictions: {},
  };
}

/** The state's row, with a checksum over its text. */
export class StateRow {
  readonly #write: Statement<[string, number]>;
  readonly #read: Statement<[], { state: string; checksum: number | null }>;

  static readonly schema = "CREATE TABLE state (state TEXT NOT NULL, checksum INTEGER)";

  constructor(database: Database) {
    this.#write = database.prepare("UPDATE state SET state = ?, checksum = ?");
    this.#read = database.prepare("SELECT state, checksum FROM state");
  }

  write(state: State): void {
    const text = JSON.stringify(state);
    this.#write.run(text, crc32(text));
  }

  /** @throws PermanentError STORE_CORRUPT */
  read(): State {
    const row = this.#read.get();
    if (!row) throw corrupt("the store has no state");
    if (row.checksum !== crc32(row.state)) throw corrupt("the state does not match its checksum");
    return parseState(row.state);
  }
}

/** @throws PermanentError STORE_CORRUPT */
export function parseState(text: string): State {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch {
    throw corrupt("the state is no JSON");
  }
  if (!isObject(state) || typeof state.position !== "number" || !isObject(state.outbox))
    throw corrupt("the state is not what this program writes");
  return state as unknown as State;
}
