/** Stores of every earlier schema, kept as fixtures, are brought forward with all they hold. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Sqlite from "better-sqlite3";
import { describe, expect, test } from "vitest";
import { imbalances } from "../../src/ledger/ledger.ts";
import { schemaVersion } from "../../src/store/schema.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { tick } from "../journal/batches.ts";
import { commitOf, messagesOf, openStore, reading, t0, truth } from "./stores.ts";

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

interface Said {
  readonly status: { position: number; openWindows: number; books: Record<string, { ingested: number }> };
  readonly messages: { sequence: number; id: string; output: string; body: string }[];
}

function oldStore(schema: number): string {
  const folder = temporaryFolder();
  cpSync(fixture(`store-${schema}.db`), join(folder, "headgate.db"));
  return folder;
}

describe.each([1, 2, 3])("a store of schema %i", (schema) => {
  /** What it said of itself when it was made. */
  const said = JSON.parse(readFileSync(fixture(`store-${schema}.json`), "utf8")) as Said;

  test("is brought forward with its messages, windows and books", () => {
    const folder = oldStore(schema);
    const { store, opened, close } = openStore(folder);
    expect(opened.status).toMatchObject({
      position: said.status.position,
      openWindows: said.status.openWindows,
    });
    expect(store.audit()).toEqual(said.status.books);
    expect(messagesOf(store)).toMatchObject(said.messages);
    const before = truth(store, opened.status);
    close();
    const file = new Sqlite(join(folder, "headgate.db"));
    // What a new one would have it cannot be given in place.
    expect(file.pragma("page_size", { simple: true })).toBe(4_096);
    file.close();
    const again = openStore(folder);
    expect(truth(again.store, again.opened.status)).toEqual(before);
  });

  test("goes on: new readings come into its windows, old messages are acknowledged, and the books add up", () => {
    const { store } = openStore(oldStore(schema));
    const sequences = messagesOf(store).map(({ sequence }) => sequence);
    const status = store.commit(
      commitOf([reading(6_500, { id: "oven-0", t: 21 }, "oven"), tick(t0 + 120_000)], t0 + 130_000, {
        acknowledged: sequences,
      }),
    );
    expect(status.outbox.messages).toBeGreaterThan(0);
    expect(imbalances(store.audit())).toEqual([]);
    expect(status.books.oven?.ingested).toBe((said.status.books.oven?.ingested ?? 0) + 1);
  });

  test("a migration that is cut off leaves the old store, and the next start brings it forward", () => {
    const folder = oldStore(schema);
    const path = join(folder, "headgate.db");
    const { close } = openStore(folder);
    // As a kill leaves it: the migration stands in the write-ahead log, in one transaction.
    const log = readFileSync(`${path}-wal`);
    const file = readFileSync(path);
    close();
    for (let cut = 0; cut <= log.length; cut += 4_096 + 24) {
      const other = temporaryFolder();
      writeFileSync(join(other, "headgate.db"), file);
      writeFileSync(join(other, "headgate.db-wal"), log.subarray(0, cut));
      const { store, close: closeOther } = openStore(other);
      expect(store.audit()).toEqual(said.status.books);
      expect(messagesOf(store)).toMatchObject(said.messages);
      closeOther();
      const database = new Sqlite(join(other, "headgate.db"));
      expect(database.pragma("user_version", { simple: true })).toBe(schemaVersion);
      database.close();
    }
  });
});
