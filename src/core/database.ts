import { closeSync, existsSync, openSync, readSync } from "node:fs";
import Sqlite from "better-sqlite3";
import { HeadgateError, messageOf, PermanentError, TransientError } from "./errors.ts";

/** The two numbers of its own that a program may write into the header of a file. */
export interface FileMark {
  readonly userVersion: number;
  readonly applicationId: number;
}

/** The only file that imports better-sqlite3; its errors leave wrapped, with `cause`. */
export type Database = Sqlite.Database;
export type Statement<P extends unknown[] = unknown[], R = unknown> = Sqlite.Statement<P, R>;

/**
 * Of a new file; one that is there keeps its own. A commit rewrites a few pages of which it changes a few bytes each, so
 * that SQLite's 4,096 made the disk write half as much again; at 1,024 there is little room beside a window.
 */
export const pageBytes = 2_048;

/**
 * Opens a database for one process alone. `FULL` syncs the write-ahead log at every commit
 * (https://www.sqlite.org/pragma.html#pragma_synchronous): with `NORMAL` a power cut may roll back commits that
 * were already answered. The exclusive lock keeps a second gateway off and spares the shared-memory file.
 *
 * `check` is given what an existing file says of its schema before anything is written.
 * @throws what `check` throws; PermanentError STORE_BUSY, TransientError STORE_UNUSABLE
 */
export function openDatabase(path: string, check: (mark: FileMark) => void = () => undefined): Database {
  let database: Database | undefined;
  try {
    // From the bytes of the file first: SQLite's own look would make, merge or delete files beside it.
    check(markInHeader(path));
    database = new Sqlite(path, { timeout: 0 });
    // Before the first read, or a file for shared memory would be made, for which a full disk has no room.
    database.pragma("locking_mode = EXCLUSIVE");
    check(markOf(database));
    database.pragma(`page_size = ${pageBytes}`);
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    return database;
  } catch (error) {
    database?.close();
    throw storeError(`opening ${path}`, error);
  }
}

/**
 * Opens a file to read what can be read of it, and changes nothing. A write-ahead log beside it counts.
 * @throws PermanentError STORE_CORRUPT, STORE_BUSY; TransientError STORE_UNUSABLE
 */
export function openForReading(path: string): Database {
  let database: Database | undefined;
  try {
    database = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: 0 });
    database.pragma("schema_version");
    return database;
  } catch (error) {
    database?.close();
    throw storeError(`reading ${path}`, error);
  }
}

/**
 * A new file that is filled in one go and is of no use before it is whole: nothing is synced or journaled on the way.
 * The caller syncs it when it is closed.
 */
export function createDatabase(path: string): Database {
  try {
    const database = new Sqlite(path);
    database.pragma(`page_size = ${pageBytes}`);
    database.pragma("journal_mode = OFF");
    database.pragma("synchronous = OFF");
    return database;
  } catch (error) {
    throw storeError(`making ${path}`, error);
  }
}

/**
 * Bounds the write-ahead log: SQLite merges it into the file when it has grown to `bytes`, and cuts it back to that
 * after a larger transaction (https://www.sqlite.org/pragma.html#pragma_journal_size_limit).
 */
export function boundLog(database: Database, bytes: number): void {
  const pageBytes = database.pragma("page_size", { simple: true }) as number;
  database.pragma(`wal_autocheckpoint = ${Math.max(16, Math.floor(bytes / pageBytes))}`);
  database.pragma(`journal_size_limit = ${Math.floor(bytes)}`);
}

const figure = (database: Database, name: string) => database.pragma(name, { simple: true }) as number;

export function fileBytes(database: Database): number {
  return figure(database, "page_count") * figure(database, "page_size");
}

/** Bytes of the file that hold something: its pages, without those that are free to be used again. */
export function usedBytes(database: Database): number {
  return fileBytes(database) - figure(database, "freelist_count") * figure(database, "page_size");
}

export function markOf(database: Database): FileMark {
  return {
    userVersion: database.pragma("user_version", { simple: true }) as number,
    applicationId: database.pragma("application_id", { simple: true }) as number,
  };
}

/** The mark as the file's header has it (https://www.sqlite.org/fileformat.html section 1.3); zeros without one. */
function markInHeader(path: string): FileMark {
  const none = { userVersion: 0, applicationId: 0 };
  if (!existsSync(path)) return none;
  const header = Buffer.alloc(72);
  const file = openSync(path, "r");
  try {
    const length = readSync(file, header);
    return length === header.length && header.toString("latin1", 0, 15) === "SQLite format 3"
      ? { userVersion: header.readInt32BE(60), applicationId: header.readInt32BE(68) }
      : none;
  } finally {
    closeSync(file);
  }
}

/** Whether a failure, wrapped or not, means that the disk has no room. */
export function isDiskFull(error: unknown): boolean {
  const { code, cause } = error as { readonly code?: unknown; readonly cause?: unknown };
  return code === "SQLITE_FULL" || code === "ENOSPC" || (cause instanceof Error && isDiskFull(cause));
}

/**
 * Merges the write-ahead log into the file when `bytes` of it wait for that. It takes two syncs, which the commit that
 * would merge them by itself (`boundLog`) had to wait for.
 */
export function mergeLog(database: Database, bytes: number): void {
  const { log, checkpointed } = checkpoint(database, "NOOP");
  if ((log - checkpointed) * figure(database, "page_size") >= bytes) checkpoint(database, "PASSIVE");
}

/** Pages of the log, and how many of them are merged (https://www.sqlite.org/pragma.html#pragma_wal_checkpoint). */
function checkpoint(
  database: Database,
  mode: "NOOP" | "PASSIVE",
): { readonly log: number; readonly checkpointed: number } {
  const [row] = database.pragma(`wal_checkpoint(${mode})`) as { log: number; checkpointed: number }[];
  return row ?? { log: 0, checkpointed: 0 };
}

/** Merges the write-ahead log into the file, so that it is written over from its beginning and need not grow. */
export function restartLog(database: Database): void {
  database.pragma("wal_checkpoint(RESTART)");
}

/** Says which of our errors a failure of SQLite is. Errors of ours pass unchanged. */
export function storeError(doing: string, error: unknown): Error {
  if (error instanceof HeadgateError) return error;
  const code = error instanceof Sqlite.SqliteError ? error.code : "";
  const message = `${doing}: ${messageOf(error)}`;
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) {
    return new PermanentError("STORE_BUSY", message, { cause: error });
  }
  // Our statements are constants: one that SQLite does not understand does not find the schema it was written for.
  if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB" || code === "SQLITE_ERROR") {
    return new PermanentError("STORE_CORRUPT", message, { cause: error });
  }
  if (code !== "" || (error instanceof Error && "code" in error)) {
    return new TransientError("STORE_UNUSABLE", message, { cause: error });
  }
  // Not SQLite's and not the system's: a bug of ours in the middle of a commit.
  return error instanceof Error ? error : new Error(message);
}
