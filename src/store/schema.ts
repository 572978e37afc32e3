import { randomUUID } from "node:crypto";
import type { Database } from "../core/database.ts";
import { PermanentError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import { Journal } from "../journal/journal.ts";
import { corrupt } from "../outbox/checksum.ts";
import { Outbox, type OutboxCounters } from "../outbox/outbox.ts";
import { emptyState, parseState, StateRow } from "./state.ts";

/** Of the file, in `user_version`. Appended only: a store of any earlier version is brought forward step by step. */
export const schemaVersion = 2;

/** @throws PermanentError STORE_NEWER */
export function refuseNewer(version: number, path: string): void {
  if (version <= schemaVersion) return;
  const message = `${path} has schema ${version}, this version of Headgate knows ${schemaVersion}; nothing was changed`;
  throw new PermanentError("STORE_NEWER", message);
}

/** Makes the tables of a new store, or brings an older one forward. Returns the store's id. */
export function prepareSchema(database: Database, path: string): string {
  const version = database.pragma("user_version", { simple: true }) as number;
  if (version === 0) createTables(database, randomUUID());
  else if (version < schemaVersion) {
    // One transaction: a kill in the middle leaves the older store, which is brought forward at the next start.
    database.transaction(() => {
      for (let from = version; from < schemaVersion; from++) migrations[from]?.(database);
      database.pragma(`user_version = ${schemaVersion}`);
      enterPhase("migration");
    })();
  }
  const row = database.prepare<[], { id: string }>("SELECT id FROM store").get();
  if (!row) throw new PermanentError("STORE_CORRUPT", `${path} has no id`);
  return row.id;
}

export function createTables(database: Database, storeId: string): void {
  database.transaction(() => {
    database.exec(`
      CREATE TABLE store (id TEXT NOT NULL);
      ${StateRow.schema};
      CREATE TABLE snapshot (one INTEGER PRIMARY KEY, position INTEGER NOT NULL, checksum INTEGER NOT NULL, snapshot BLOB NOT NULL);
      ${Journal.schema};
      ${Outbox.schema};`);
    database.prepare("INSERT INTO store VALUES (?)").run(storeId);
    database.prepare("INSERT INTO state (state) VALUES ('')").run();
    new StateRow(database).write(emptyState());
    database.pragma(`user_version = ${schemaVersion}`);
  })();
}

/** By the version they start from. Columns are added, not rows rewritten: a full store has no room for a copy. */
const migrations: Readonly<Record<number, (database: Database) => void>> = {
  1: (database) => {
    database.exec(`
      ALTER TABLE outbox ADD COLUMN source TEXT;
      ALTER TABLE outbox ADD COLUMN checksum INTEGER;
      ALTER TABLE message ADD COLUMN count INTEGER;
      ALTER TABLE message ADD COLUMN checksum INTEGER;
      ALTER TABLE state ADD COLUMN checksum INTEGER;`);
    const row = database.prepare<[], { state: string }>("SELECT state FROM state").get();
    if (!row) throw corrupt("the store has no state");
    const state = parseState(row.state);
    new StateRow(database).write({ ...state, evictions: {}, outbox: countLoose(database, state.outbox) });
  },
};

/** Schema 1 did not count what stands in no message. */
export function countLoose(database: Database, counters: OutboxCounters): OutboxCounters {
  const rows = database
    .prepare<[number], { source: string; entries: number; bytes: number }>(
      `SELECT coalesce(source, (SELECT key FROM json_each(accounts) LIMIT 1), '') AS source,
         count(*) AS entries, sum(length(CAST(body AS BLOB))) AS bytes
       FROM outbox WHERE entry >= ? GROUP BY 1`,
    )
    .all(counters.composedBelow);
  return {
    ...counters,
    loose: Object.fromEntries(rows.map(({ source, bytes }) => [source, bytes])),
    looseEntries: rows.reduce((sum, { entries }) => sum + entries, 0),
  };
}
