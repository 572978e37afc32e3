import Sqlite from "better-sqlite3";
import { HeadgateError, messageOf, PermanentError, TransientError } from "./errors.ts";

/** The only file that imports better-sqlite3; its errors leave wrapped, with `cause`. */
export type Database = Sqlite.Database;
export type Statement<P extends unknown[] = unknown[], R = unknown> = Sqlite.Statement<P, R>;

/**
 * Opens a database for one process alone. `FULL` syncs the write-ahead log at every commit
 * (https://www.sqlite.org/pragma.html#pragma_synchronous): with `NORMAL` a power cut may roll back commits that
 * were already answered. The exclusive lock keeps a second gateway off and spares the shared-memory file.
 *
 * @throws what `check` throws; PermanentError STORE_BUSY, TransientError STORE_UNUSABLE
 */
export function openDatabase(path: string, check: (database: Database) => void = () => undefined): Database {
  let database: Database | undefined;
  try {
    database = new Sqlite(path, { timeout: 0 });
    // Before anything is written: a store of a newer version must stay as it is, to the byte.
    check(database);
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    return database;
  } catch (error) {
    database?.close();
    throw storeError(`opening ${path}`, error);
  }
}

/** Says which of our errors a failure of SQLite is. Errors of ours pass unchanged. */
export function storeError(doing: string, error: unknown): Error {
  if (error instanceof HeadgateError) return error;
  const code = error instanceof Sqlite.SqliteError ? error.code : "";
  const message = `${doing}: ${messageOf(error)}`;
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) {
    return new PermanentError("STORE_BUSY", message, { cause: error });
  }
  if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB") {
    return new PermanentError("STORE_CORRUPT", message, { cause: error });
  }
  if (code !== "" || (error instanceof Error && "code" in error)) {
    return new TransientError("STORE_UNUSABLE", message, { cause: error });
  }
  // Not SQLite's and not the system's: a bug of ours in the middle of a commit.
  return error instanceof Error ? error : new Error(message);
}
