/** What takes syncs beside those of a commit is done behind it, and not in it. */
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { LedgerCopy } from "../../src/store/ledger-copy.ts";
import { type Store, storeFile } from "../../src/store/store.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { readWalPages } from "../faults/flash/wal-pages.ts";
import { commitOf, configuration, openStore, reading, t0 } from "./stores.ts";

const file = (folder: string) => join(folder, `${storeFile}.ledger`);
const position = (folder: string) => new LedgerCopy(folder, storeFile).read()?.position;

/** One reading, which is enough for a snapshot, at so many seconds. */
function commit(store: Store, second: number, more: { readonly last?: boolean } = {}): void {
  const [first, at] = [second === 0 ? [configuration(0)] : [], second * 1_000];
  const commit = commitOf([...first, reading(at, { v: second })], t0 + at, more);
  store.commit({ ...commit, monotonicMs: at });
}

test("the books are copied behind a commit, with a snapshot, no more often than once a minute", () => {
  const folder = temporaryFolder();
  const { store } = openStore(folder, { snapshotEvery: 1 });
  commit(store, 0);
  expect(existsSync(file(folder))).toBe(false);
  store.tidy();
  expect(position(folder)).toBe(1);
  for (const second of [1, 59]) {
    commit(store, second);
    store.tidy();
    expect(position(folder)).toBe(1);
  }
  commit(store, 60);
  store.tidy();
  expect(position(folder)).toBe(4);
});

test("where snapshots are rare the books are copied every ten minutes, and with the last commit at once", () => {
  const folder = temporaryFolder();
  const { store } = openStore(folder, { snapshotEvery: 1_000_000 });
  for (const second of [0, 599, 600]) {
    commit(store, second);
    store.tidy();
  }
  expect(position(folder)).toBe(3);
  rmSync(file(folder));
  commit(store, 601, { last: true });
  expect(position(folder)).toBe(4);
});

test("the write-ahead log is merged behind commits before it reaches its bound, and begins anew", () => {
  const folder = temporaryFolder();
  const maxBytes = 8_388_608;
  const { store } = openStore(folder, { maxBytes, snapshotEvery: 1_000_000 });
  const log = () => statSync(join(folder, `${storeFile}-wal`)).size;
  // The size of its pages stands in the log's header (https://www.sqlite.org/fileformat2.html section 4.1).
  expect(readFileSync(join(folder, `${storeFile}-wal`)).readUInt32BE(8)).toBe(2_048);
  const sizes: number[] = [];
  for (let second = 0; second < 400; second++) {
    commit(store, second);
    store.tidy();
    sizes.push(log());
  }
  // It stands where it was merged: what is written from its beginning does not make it longer.
  expect(sizes.at(-1)).toBeLessThan(maxBytes / 8);
  // A round ends with a commit, which may reach further than that of the round before, but not by a commit.
  const grown = sizes.slice(1, 100).map((size, i) => size - (sizes[i] ?? 0));
  expect((sizes.at(-1) ?? 0) - (sizes[300] ?? 0)).toBeLessThan(Math.max(...grown));
  expect(Math.max(...sizes)).toBeGreaterThan((maxBytes / 8) * 0.8);
});

test("a commit writes no page of a table in which nothing changes", () => {
  const folder = temporaryFolder();
  const { store } = openStore(folder);
  const written = () => readWalPages(folder).byTable;
  commit(store, 0);
  const before = written();
  for (let second = 1; second <= 10; second++) commit(store, second);
  const after = written();
  const more = Object.keys(after).filter((table) => (after[table] ?? 0) > (before[table] ?? 0));
  expect(more.sort()).toEqual(["journal", "message", "outbox", "sqlite_schema", "state"]);
});
