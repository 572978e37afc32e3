import { DatabaseSync } from "node:sqlite";
import { zstdDecompressSync } from "node:zlib";
import { framesOf, parse } from "../kill/oracle.ts";

/** A journal of which nothing was trimmed: rows numbered from 1 without a hole. */
export interface KeptJournal {
  readonly position: number;
  readonly lines: readonly string[];
  /** How many lines stand in the rows up to a position. */
  readonly linesUpTo: readonly number[];
}

/** @throws Error when the journal has a hole */
export function readKeptJournal(path: string): KeptJournal {
  const database = new DatabaseSync(path);
  try {
    const rows = database.prepare("SELECT position, batch FROM journal ORDER BY position").iterate();
    const lines: string[] = [];
    const linesUpTo = [0];
    for (const { position, batch } of rows as Iterable<{ position: number; batch: Uint8Array }>) {
      if (position !== linesUpTo.length) throw new Error(`journal position ${linesUpTo.length} is missing`);
      lines.push(...framesOf(zstdDecompressSync(batch)));
      linesUpTo.push(lines.length);
    }
    return { position: linesUpTo.length - 1, lines, linesUpTo };
  } finally {
    database.close();
  }
}

export interface StoreOnDisk {
  readonly position: number;
  /** What SQLite's own check says: `ok`. */
  readonly integrity: string;
  /** Bodies of the entries that wait. */
  readonly waiting: readonly string[];
}

export function readStore(path: string): StoreOnDisk {
  const database = new DatabaseSync(path);
  try {
    const last = database.prepare("SELECT ifnull(max(position), 0) AS position FROM journal").get();
    const check = database.prepare("PRAGMA integrity_check").get();
    const waiting = database.prepare("SELECT body FROM outbox").all() as { body: string }[];
    return {
      position: Number(last?.position),
      integrity: String(check?.integrity_check),
      waiting: waiting.map(({ body }) => body),
    };
  } finally {
    database.close();
  }
}

/** The numbers of the whole readings among lines. */
export function numbersIn(lines: readonly string[]): number[] {
  return lines.flatMap((line) => parse(line)?.seq ?? []);
}
