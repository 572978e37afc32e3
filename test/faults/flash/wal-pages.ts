import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** What the commits that stand in a write-ahead log wrote. */
export interface WalPages {
  readonly commits: number;
  readonly pages: number;
  /** Pages of each table. */
  readonly byTable: Readonly<Record<string, number>>;
  /** Different pages: what a checkpoint writes into the database. */
  readonly distinct: number;
}

const headerBytes = 32;
const frameHeaderBytes = 24;

/** Reads the log of a store that may be running, from a copy (https://www.sqlite.org/fileformat2.html section 4). */
export function readWalPages(store: string): WalPages {
  const copy = mkdtempSync(join(tmpdir(), "headgate-wal-"));
  try {
    for (const name of ["headgate.db", "headgate.db-wal"])
      if (existsSync(join(store, name))) copyFileSync(join(store, name), join(copy, name));
    const log = readFileSync(join(copy, "headgate.db-wal"));
    const owners = ownersOf(join(copy, "headgate.db"));
    const pageBytes = log.readUInt32BE(8);
    const byTable: Record<string, number> = {};
    const seen = new Set<number>();
    let [pages, commits] = [0, 0];
    for (let at = headerBytes; at + frameHeaderBytes + pageBytes <= log.length; ) {
      // Frames of another salt are of an earlier round.
      if (log.compare(log, 16, 24, at + 8, at + 16) !== 0) break;
      const page = log.readUInt32BE(at);
      const table = owners.get(page) ?? "free";
      byTable[table] = (byTable[table] ?? 0) + 1;
      seen.add(page);
      pages++;
      if (log.readUInt32BE(at + 4) !== 0) commits++;
      at += frameHeaderBytes + pageBytes;
    }
    return { commits, pages, byTable, distinct: seen.size };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Which table each page belongs to. */
function ownersOf(path: string): ReadonlyMap<number, string> {
  const database = new DatabaseSync(path);
  try {
    const rows = database.prepare("SELECT name, pageno FROM dbstat").all() as unknown as {
      name: string;
      pageno: number;
    }[];
    return new Map(rows.map(({ name, pageno }) => [pageno, name]));
  } finally {
    database.close();
  }
}
