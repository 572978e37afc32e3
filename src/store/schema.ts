import { randomUUID } from "node:crypto";
import { type Database, type FileMark, markOf } from "../core/database.ts";
import { PermanentError } from "../core/errors.ts";
import { enterPhase } from "../core/phase.ts";
import { Journal } from "../journal/journal.ts";
import { emptyBill } from "../outbox/bill.ts";
import { corrupt } from "../outbox/checksum.ts";
import { DeadLetters } from "../outbox/dead-letters.ts";
import { laneOf } from "../outbox/lanes.ts";
import { Outbox, type OutboxCounters } from "../outbox/outbox.ts";
import { emptyState, parseState, StateRow } from "./state.ts";
import { Suspects } from "./suspects.ts";
import { Texts } from "./texts.ts";

/** Of the file, in its header. Appended only: a store of any earlier version is brought forward step by step. */
export const schemaVersion = 4;

/** "HG", and the version once more: a flipped bit of it must not pass for the store of a newer program. */
const applicationId = (version: number): number => 0x48470000 | version;

/** @throws PermanentError STORE_CORRUPT */
function versionOf({ userVersion, applicationId: id }: FileMark, path: string): number {
  // Schema 1 had no application id.
  const expected = userVersion <= 1 ? 0 : applicationId(userVersion);
  if (id !== expected) throw corrupt(`${path} says version ${userVersion}, and in another place another`);
  return userVersion;
}

function mark(database: Database): void {
  database.pragma(`user_version = ${schemaVersion}`);
  database.pragma(`application_id = ${applicationId(schemaVersion)}`);
}

/** @throws PermanentError STORE_NEWER, STORE_CORRUPT */
export function refuseNewer(of: FileMark, path: string): void {
  const version = versionOf(of, path);
  if (version <= schemaVersion) return;
  const message = `${path} has schema ${version}, this version of Headgate knows ${schemaVersion}; nothing was changed`;
  throw new PermanentError("STORE_NEWER", message);
}

/**
 * Makes the tables of a new store, or brings an older one forward. Returns the store's id.
 * @throws PermanentError STORE_CORRUPT when it `hasHistory` and is empty all the same
 */
export function prepareSchema(database: Database, path: string, hasHistory: boolean): string {
  const version = versionOf(markOf(database), path);
  if (version === 0 && hasHistory) throw corrupt(`${path} is empty, and was not`);
  if (version === 0) createTables(database, randomUUID());
  else if (version < schemaVersion) {
    // One transaction: a kill in the middle leaves the older store, which is brought forward at the next start.
    database.transaction(() => {
      for (let from = version; from < schemaVersion; from++) migrations[from]?.(database);
      mark(database);
      enterPhase("migration");
    })();
  }
  const row = database.prepare<[], { id: string }>("SELECT id FROM store").get();
  if (!row || !isStoreId(row.id)) throw corrupt(`${path} has no id`);
  return row.id;
}

export const isStoreId = (id: unknown): id is string => typeof id === "string" && /^[0-9a-f-]{36}$/.test(id);

export function createTables(database: Database, storeId: string): void {
  database.transaction(() => {
    database.exec(`
      CREATE TABLE store (id TEXT NOT NULL);
      ${StateRow.schema};
      CREATE TABLE snapshot (one INTEGER PRIMARY KEY, position INTEGER NOT NULL, checksum INTEGER NOT NULL, snapshot BLOB NOT NULL);
      ${Journal.schema};
      ${Outbox.schema};
      ${DeadLetters.schema};
      ${Suspects.schema};
      ${Texts.schema};`);
    database.prepare("INSERT INTO store VALUES (?)").run(storeId);
    database.prepare("INSERT INTO state (state) VALUES ('')").run();
    new StateRow(database).write(emptyState(storeId));
    mark(database);
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
      ALTER TABLE state ADD COLUMN checksum INTEGER;
      ${Suspects.schema};`);
    const row = database.prepare<[], { state: string }>("SELECT state FROM state").get();
    if (!row) throw corrupt("the store has no state");
    const state = parseState(row.state);
    const storeId = database.prepare<[], string>("SELECT id FROM store").pluck().get() ?? "";
    const { nextEntry, nextMessage, composedBelow } = state.outbox as OutboxCounters & FormerCounters;
    const unchecked = { entriesBelow: nextEntry, messagesBelow: nextMessage };
    const { loose, looseEntries } = looseBelow(database, composedBelow);
    const outbox = { ...state.outbox, unchecked, loose, looseEntries };
    new StateRow(database).write({ ...state, storeId, evictions: {}, outbox });
  },
  2: (database) => {
    database.exec(`
      ALTER TABLE message ADD COLUMN spans TEXT;
      ALTER TABLE message ADD COLUMN form TEXT;
      ALTER TABLE message ADD COLUMN body BLOB;
      ${DeadLetters.schema};`);
    const row = new StateRow(database);
    const state = row.read();
    const { composedBelow, looseEntries, ...outbox } = state.outbox as OutboxCounters & FormerCounters;
    const lane = { entries: looseEntries, from: composedBelow, live: composedBelow };
    row.write({
      ...state,
      outbox: { ...outbox, lanes: { [laneOf(composedBelow)]: lane }, bill: emptyBill() },
    });
  },
  3: (database) => {
    database.exec(Texts.schema);
  },
};

/** Of schemas 1 and 2: entries stood in messages in the order of their making. */
interface FormerCounters {
  readonly composedBelow: number;
  readonly looseEntries: number;
}

/** What stands in no message, of a store of schema 1, which did not count it. */
function looseBelow(database: Database, composedBelow: number) {
  const rows = database
    .prepare<[number], { source: string; entries: number; bytes: number }>(
      `SELECT coalesce(source, (SELECT key FROM json_each(accounts) LIMIT 1), '') AS source,
         count(*) AS entries, sum(length(CAST(body AS BLOB))) AS bytes
       FROM outbox WHERE entry >= ? GROUP BY 1`,
    )
    .all(composedBelow);
  return {
    loose: Object.fromEntries(rows.map(({ source, bytes }) => [source, bytes])),
    looseEntries: rows.reduce((sum, { entries }) => sum + entries, 0),
  };
}
