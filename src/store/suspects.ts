import { crc32 } from "node:zlib";
import type { Database, Statement } from "../core/database.ts";
import { BatchWriter, readBatch } from "../journal/batch.ts";
import { withoutEntries } from "../journal/fault.ts";

/** Deaths in a row, without a commit between them, until a batch is looked for that kills the process. */
const patience = 3;

interface Row {
  readonly position: number;
  readonly attempts: number;
  readonly lo: number;
  readonly hi: number | null;
  readonly trial: number | null;
  readonly checksum: number | null;
  readonly batch: Buffer | null;
}

/** What is suspected of killing the process, as noted before it was tried. */
export interface Suspect {
  /** Of the batch in the journal; 0 when nothing is known yet. */
  readonly position: number;
  /** Times in a row that the process died. */
  readonly attempts: number;
  /** Entries of the batch among which it must be: from `lo`, up to and without `hi`; null: to its end. */
  readonly lo: number;
  readonly hi: number | null;
  /** The last try went up to this entry, and did not end. */
  readonly trial: number | null;
  /** The batch itself, when it is not in the journal yet. */
  readonly batch: Uint8Array | undefined;
}

/**
 * Remembers, across deaths of the process, what it was doing. An exception names its entry; a process that is killed by
 * what it processes (memory, an endless loop, a fault of the machine) names nothing, so this is noted before each step
 * that follows a death: first that a start was tried, then which batch, then which part of it.
 */
export class Suspects {
  readonly #read: Statement<[], Row>;
  readonly #write: Statement<
    [number, number, number, number | null, number | null, number | null, Uint8Array | null]
  >;
  readonly #delete: Statement<[]>;

  static readonly schema = `CREATE TABLE suspect (one INTEGER PRIMARY KEY, position INTEGER NOT NULL,
    attempts INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER, trial INTEGER, checksum INTEGER, batch BLOB)`;

  constructor(database: Database) {
    this.#read = database.prepare("SELECT * FROM suspect");
    this.#write = database.prepare("REPLACE INTO suspect VALUES (1, ?, ?, ?, ?, ?, ?, ?)");
    // With a condition: without one SQLite empties the table's page, and writes it, with every commit.
    this.#delete = database.prepare("DELETE FROM suspect WHERE one = 1");
  }

  /** Undefined when nothing is suspected, or what was noted cannot be believed. */
  read(): Suspect | undefined {
    const row = this.#read.get();
    if (!row || (row.batch && crc32(row.batch) !== row.checksum)) return undefined;
    return { ...row, batch: row.batch ?? undefined };
  }

  write({ position, attempts, lo, hi, trial, batch }: Suspect): void {
    this.#write.run(position, attempts, lo, hi, trial, batch ? crc32(batch) : null, batch ?? null);
  }

  /** Part of the transaction that shows that there was nothing. */
  clear(): void {
    this.#delete.run();
  }

  /** A process died: notes it, and returns what is known. */
  noteDeath(): Suspect {
    const before = this.read() ?? {
      position: 0,
      attempts: 0,
      lo: 0,
      hi: null,
      trial: null,
      batch: undefined,
    };
    const suspect = { ...before, attempts: before.attempts + 1 };
    this.write(suspect);
    return suspect;
  }
}

export const isPatient = ({ attempts }: Suspect): boolean => attempts < patience;

/**
 * Halves the batch until one entry is left that the process did not survive, and takes that out. `survive` applies the
 * first entries of the batch to memory as it was before; what it throws is no death. Each try is noted before it is
 * made, so a death goes on here at the next start.
 * Returns the batch without the entry, or the batch itself when all of it was survived.
 */
export function findKiller(
  suspect: Suspect,
  batch: Uint8Array,
  note: (suspect: Suspect) => void,
  survive: (prefix: Uint8Array) => void,
): Uint8Array {
  let { lo } = suspect;
  const hi = suspect.trial ?? suspect.hi ?? countEntries(batch);
  if (suspect.trial !== null && hi - lo === 1) {
    const error = "the process did not survive it";
    return withoutEntries(batch, (_, index) => index === lo, error) ?? batch;
  }
  while (lo < hi) {
    const trial = lo + Math.ceil((hi - lo) / 2);
    note({ ...suspect, lo, hi, trial });
    survive(firstEntries(batch, trial));
    lo = trial;
  }
  return batch;
}

function countEntries(batch: Uint8Array): number {
  let count = 0;
  for (const _ of readBatch(batch)) count++;
  return count;
}

function firstEntries(batch: Uint8Array, count: number): Uint8Array {
  const writer = new BatchWriter();
  let index = 0;
  for (const entry of readBatch(batch)) {
    if (index++ >= count) break;
    writer.entry(entry);
  }
  return writer.take();
}
