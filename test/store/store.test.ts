import { closeSync, openSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDatabase } from "../../src/core/database.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Commit } from "../../src/store/contract.ts";
import { schemaVersion } from "../../src/store/schema.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { frame, tick } from "../journal/batches.ts";
import { commitOf, configuration, messagesOf, openStore, reading, t0 } from "./stores.ts";

describe("a store", () => {
  test("begins empty and clean, in a folder it makes", () => {
    const folder = join(temporaryFolder(), "new", "data");
    const { opened } = openStore(folder);
    expect(opened).toMatchObject({
      configHash: undefined,
      uncleanSinceMs: undefined,
      sources: [],
      replayed: 0,
      status: { position: 0, openWindows: 0, outbox: { entries: 0, messages: 0 } },
    });
    expect(opened.status.books).toEqual({});
    expect(statSync(folder).mode & 0o007).toBe(0);
  });

  test("keeps its id", () => {
    const folder = temporaryFolder();
    const first = openStore(folder);
    first.close();
    expect(openStore(folder).opened.storeId).toBe(first.opened.storeId);
    expect(openStore(temporaryFolder()).opened.storeId).not.toBe(first.opened.storeId);
  });

  test("carries a reading from the batch to the acknowledged message, each in one book", () => {
    const { store } = openStore(temporaryFolder());
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 }), frame("s", t0, "?")], t0));
    expect(store.status().books.s).toMatchObject({
      frames: 2,
      decoded: 1,
      ingested: 1,
      held: 1,
      published: 0,
    });
    const { outbox, composeDueMs } = store.commit(commitOf([tick(t0 + 1_000)], t0 + 1_000));
    expect([outbox.entries, outbox.messages, composeDueMs]).toEqual([1, 0, t0 + 2_000]);
    store.commit(commitOf([], t0 + 2_000));
    const [message] = messagesOf(store);
    expect(JSON.parse(message?.body ?? "")).toMatchObject([{ window: "w", count: 1 }]);
    expect(store.status().books.s).toMatchObject({ held: 1, published: 0 });
    const done = store.commit(commitOf([], t0 + 2_001, { acknowledged: [message?.sequence ?? 0] }));
    expect(done.books.s).toMatchObject({ held: 0, published: 1 });
    expect(messagesOf(store)).toEqual([]);
  });

  test("a message refused for good is discarded, once, and an acknowledgement repeated counts nothing", () => {
    const { store } = openStore(temporaryFolder());
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 }), tick(t0 + 1_000)], t0 + 9_000));
    store.commit(commitOf([reading(1_000, { t: 1 }), tick(t0 + 2_000)], t0 + 19_000));
    const [one, two] = messagesOf(store).map((m) => m.sequence);
    if (one === undefined || two === undefined) throw new Error("two messages were expected");
    for (let i = 0; i < 2; i++)
      store.commit(
        commitOf([], t0 + 20_000, { acknowledged: [two], rejected: [{ message: one, reason: "too large" }] }),
      );
    const { books } = store.status();
    expect(books.s).toMatchObject({ ingested: 2, published: 1, held: 0, discards: { rejected: 1 } });
    expect(imbalances(books)).toEqual([]);
  });

  test("a rejected message is a dead letter with its reason, also after a restart; the oldest go first", () => {
    const folder = temporaryFolder();
    const { store, close } = openStore(folder, { maxBytes: 4_194_304 });
    store.commit(commitOf([configuration(0)], t0));
    const bodies: string[] = [];
    for (let round = 1; round <= 120; round++) {
      const at = round * 3_000;
      store.commit(commitOf([reading(at, { t: round }), tick(t0 + at + 2_500)], t0 + at + 2_500));
      const rejected = messagesOf(store).map(({ sequence: message, body }) => {
        bodies.push(body);
        return { message, reason: `reason ${message}` };
      });
      store.commit(commitOf([], t0 + at + 2_500, { rejected }));
    }
    const letters = store.deadLetters();
    expect(letters.length).toBeGreaterThan(50);
    expect(letters.length).toBeLessThanOrEqual(100);
    expect(letters.map(({ body }) => body)).toEqual(bodies.slice(-letters.length));
    expect(letters.at(-1)).toMatchObject({ reason: `reason ${bodies.length}` });
    expect(letters.reduce((sum, { body }) => sum + (body?.length ?? 0), 0)).toBeLessThan(4_194_304 / 64);
    close();
    expect(openStore(folder).store.deadLetters()).toEqual(letters);
  });

  test("is clean after the last commit of an orderly stop only", () => {
    const folder = temporaryFolder();
    const reopened = (more: Partial<Commit>) => {
      const { store, close } = openStore(folder);
      store.commit(commitOf([configuration(0), tick(t0)], t0 + 5, more));
      close();
      const again = openStore(folder);
      again.close();
      return again.opened;
    };
    expect(reopened({})).toMatchObject({ uncleanSinceMs: t0 + 5, sources: ["s"], replayed: 1 });
    expect(reopened({ last: true })).toMatchObject({ uncleanSinceMs: undefined, replayed: 0 });
    expect(reopened({})).toMatchObject({ uncleanSinceMs: t0 + 5 });
  });

  test("replays no more than what stands behind the last snapshot", () => {
    const folder = temporaryFolder();
    const first = openStore(folder, { snapshotEvery: 10 });
    first.store.commit(commitOf([configuration(0)], t0));
    for (let i = 0; i < 25; i++) first.store.commit(commitOf([tick(t0 + i)], t0));
    first.close();
    expect(openStore(folder).opened.replayed).toBeLessThan(10);
  });

  test("keeps the journal below the snapshot as far as is asked for, and does not replay it", () => {
    const folder = temporaryFolder();
    const first = openStore(folder, { snapshotEvery: 10, replayBytes: 1_000_000 });
    first.store.commit(commitOf([configuration(0)], t0));
    for (let i = 0; i < 25; i++) first.store.commit(commitOf([tick(t0 + i)], t0));
    first.close();
    const database = openDatabase(join(folder, "headgate.db"));
    expect(database.prepare("SELECT count(*) AS n FROM journal").get()).toEqual({ n: 26 });
    database.close();
    expect(openStore(folder).opened.replayed).toBeLessThan(10);
  });
});

describe("a store that cannot be used", () => {
  /** A store with a snapshot, a journal of five batches behind it, and messages. */
  const made = () => {
    const folder = temporaryFolder();
    const { store, close } = openStore(folder);
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 })], t0, { last: true }));
    for (let i = 1; i <= 5; i++) store.commit(commitOf([reading(i * 400, { t: i })], t0 + i * 400));
    close();
    return folder;
  };
  const openCode = (folder: string) => codeOf(() => openStore(folder).close());
  const change = (folder: string, sql: string) => {
    const database = openDatabase(join(folder, "headgate.db"));
    database.exec(sql);
    database.close();
  };
  const filesOf = (folder: string) =>
    readdirSync(folder)
      .sort()
      .map((file) => [file, readFileSync(join(folder, file)).toString("base64")]);

  test("a second store on the same folder is busy; the first goes on", async () => {
    const folder = temporaryFolder();
    const { store } = openStore(folder);
    expect(await openCode(folder)).toBe("STORE_BUSY");
    expect(await openCode(folder)).toBe("STORE_BUSY");
    store.commit(commitOf([configuration(0)], t0));
    expect(store.status().position).toBe(1);
  });

  test("a store that was closed is free again, also after somebody found it busy", async () => {
    const folder = temporaryFolder();
    const first = openStore(folder);
    expect(await openCode(folder)).toBe("STORE_BUSY");
    first.close();
    expect(await openCode(folder)).toBe("none");
  });

  const newer = `PRAGMA user_version = 99; PRAGMA application_id = ${0x48470063}`;

  test("a store of a newer version is refused, and nothing of it changes", async () => {
    const folder = made();
    change(folder, newer);
    const before = filesOf(folder);
    expect(await openCode(folder)).toBe("STORE_NEWER");
    expect(filesOf(folder)).toEqual(before);
    change(
      folder,
      `PRAGMA user_version = ${schemaVersion}; PRAGMA application_id = ${0x48470000 | schemaVersion}`,
    );
    expect(await openCode(folder)).toBe("none");
  });

  test("a store of a newer version with a rollback journal stays as it is, and keeps that journal mode", async () => {
    const folder = made();
    change(folder, `${newer}; PRAGMA journal_mode = DELETE`);
    const before = filesOf(folder);
    // Write and read version, 1 without a write-ahead log (https://www.sqlite.org/fileformat.html section 1.3.3).
    expect([...readFileSync(join(folder, "headgate.db")).subarray(18, 20)]).toEqual([1, 1]);
    expect(await openCode(folder)).toBe("STORE_NEWER");
    expect(filesOf(folder)).toEqual(before);
  });

  test.each([
    ["ends early", "DELETE FROM journal WHERE position = 6"],
    ["lacks a batch in its middle", "DELETE FROM journal WHERE position = 4"],
    ["lacks its beginning behind the snapshot", "DELETE FROM journal WHERE position = 2"],
    ["is gone", "DELETE FROM journal"],
    [
      "goes on where the books end",
      "INSERT INTO journal SELECT 7, checksum, batch FROM journal WHERE position = 6",
    ],
    ["has a batch with a wrong checksum", "UPDATE journal SET checksum = checksum + 1 WHERE position = 5"],
    ["has no snapshot before it", "DELETE FROM snapshot"],
  ])("a journal that %s is corrupt", async (_, sql) => {
    const folder = made();
    change(folder, sql);
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
  });

  test("a damaged snapshot is corrupt", async () => {
    const folder = made();
    change(folder, "UPDATE snapshot SET snapshot = zeroblob(length(snapshot))");
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
  });

  test("a store without its id is corrupt", async () => {
    const folder = made();
    change(folder, "DELETE FROM store");
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
  });

  test("a file that is no database is corrupt, and stays as it is", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "headgate.db");
    writeFileSync(path, "these are notes, not a database\n".repeat(100));
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
    expect(readFileSync(path, "utf8")).toContain("these are notes");
  });

  test("a folder that is a file cannot be used", async () => {
    const path = join(temporaryFolder(), "file");
    closeSync(openSync(path, "w"));
    expect(await openCode(path)).toBe("STORE_UNUSABLE");
  });
});
