import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { zstdDecompressSync } from "node:zlib";
import { framesOf, parse } from "../kill/oracle.ts";

/** A journal of which nothing was trimmed: rows numbered from 1 without a hole. */
export interface KeptJournal {
  readonly position: number;
  /** Of the stored bytes, by position − 1. */
  readonly digests: readonly string[];
  readonly lines: readonly string[];
  /** How many lines stand in the rows up to a position. */
  readonly linesUpTo: readonly number[];
  /** What SQLite's own check says: `ok`. */
  readonly integrity: string;
  /** Bodies of the entries that wait. */
  readonly waiting: readonly string[];
}

/** @throws Error when the journal has a hole */
export function readKeptJournal(path: string, options: { readonly withLines: boolean }): KeptJournal {
  const database = new DatabaseSync(path);
  try {
    const rows = database.prepare("SELECT position, batch FROM journal ORDER BY position").all() as {
      position: number;
      batch: Uint8Array;
    }[];
    const lines: string[] = [];
    const linesUpTo = [0];
    const digests = rows.map(({ position, batch }, index) => {
      if (position !== index + 1) throw new Error(`journal position ${index + 1} is missing`);
      if (options.withLines) lines.push(...framesOf(zstdDecompressSync(batch)));
      linesUpTo.push(lines.length);
      return createHash("sha1").update(batch).digest("base64");
    });
    const check = database.prepare("PRAGMA integrity_check").get() as { integrity_check: string };
    const waiting = database.prepare("SELECT body FROM outbox").all() as { body: string }[];
    return {
      position: rows.length,
      digests,
      lines,
      linesUpTo,
      integrity: check.integrity_check,
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
