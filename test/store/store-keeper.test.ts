/** Whatever happens to the store's folder and disk, the keeper says so, and goes on when it is over. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chownSync,
  cpSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { describe, expect, onTestFinished, test } from "vitest";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Commit, Opened, StoreStatus } from "../../src/store/contract.ts";
import { StoreKeeper } from "../../src/store/store-keeper.ts";
import { jsonSource } from "../config/pipelines.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { behind } from "../support/composing.ts";
import { commitOf, configuration, openStore, reading, settings, t0 } from "./stores.ts";

function keeperOf(folder: string, options = settings) {
  const openings: Opened[] = [];
  const keeper = new StoreKeeper(folder, options, (opened) => openings.push(opened));
  onTestFinished(() => keeper.close());
  return { keeper, openings };
}
const commit = (keeper: StoreKeeper, at: number, more: Partial<Commit> = {}): StoreStatus =>
  keeper.commit(commitOf([reading(at, { t: at })], t0 + at, more));
const begin = (keeper: StoreKeeper) => keeper.commit(commitOf([configuration(0)], t0));

test("a store that another process has is waited for", async () => {
  const folder = temporaryFolder();
  const other = openStore(folder);
  other.store.commit(commitOf([configuration(0)], t0));
  const { keeper, openings } = keeperOf(folder);
  expect(await codeOf(() => keeper.open())).toBe("STORE_BUSY");
  expect(await codeOf(() => commit(keeper, 1))).toBe("STORE_BUSY");
  other.close();
  expect(commit(keeper, 2).books.s?.ingested).toBe(1);
  expect(openings).toHaveLength(1);
});

test.each([
  ["its file", (folder: string) => rmSync(join(folder, "headgate.db"))],
  ["its folder", (folder: string) => rmSync(folder, { recursive: true })],
  [
    "another file in its place",
    (folder: string) => {
      rmSync(join(folder, "headgate.db"));
      writeFileSync(join(folder, "headgate.db"), "no store");
    },
  ],
])("what is deleted while it is open is put back, with all it held: %s", (_, remove) => {
  const folder = join(temporaryFolder(), "store");
  const { keeper, openings } = keeperOf(folder);
  begin(keeper);
  commit(keeper, 1);
  remove(folder);
  const status = commit(keeper, 2);
  expect(status.books.s).toMatchObject({ ingested: 2, held: 2, discards: {} });
  expect(status.storeId).toBe(openings[0]?.storeId);
  keeper.close();
  expect(openStore(folder).store.audit().s).toMatchObject({ ingested: 2, held: 2 });
});

test("a store of a newer version stays as it is; what is gathered beside it is taken over by the newer version", async () => {
  const folder = temporaryFolder();
  const first = keeperOf(folder);
  begin(first.keeper);
  commit(first.keeper, 1);
  first.keeper.close();
  const mark = (version: number) => {
    const database = new Sqlite(join(folder, "headgate.db"));
    database.exec(`PRAGMA user_version = ${version}; PRAGMA application_id = ${0x48470000 | version}`);
    database.close();
  };
  mark(99);
  const before = new Sqlite(join(folder, "headgate.db"), { readonly: true });
  const rows = before.prepare("SELECT state FROM state").all();
  const older = keeperOf(folder);
  begin(older.keeper);
  expect(older.openings).toMatchObject([{ isFallback: true }]);
  expect(commit(older.keeper, 2_000).books.s).toMatchObject({ ingested: 1, held: 1 });
  older.keeper.close();
  expect(before.prepare("SELECT state FROM state").all()).toEqual(rows);
  before.close();
  mark(2);
  const newer = keeperOf(folder);
  const status = commit(newer.keeper, 3_000);
  expect(status.books.s).toMatchObject({ ingested: 3, held: 3 });
  expect(imbalances(newer.keeper.audit())).toEqual([]);
  expect(readdirSync(folder).filter((file) => file.includes("schema"))).toEqual([]);
  newer.keeper.close();
  const again = keeperOf(folder);
  expect(commit(again.keeper, 4_000).books.s).toMatchObject({ ingested: 4, held: 4 });
});

test("a stand-in that is damaged is set aside, and the store beside it is not touched", () => {
  const folder = temporaryFolder();
  const first = keeperOf(folder);
  begin(first.keeper);
  commit(first.keeper, 1);
  first.keeper.close();
  writeFileSync(join(folder, "headgate-schema-2.db"), "no database, and long enough to be looked at as one");
  const { keeper } = keeperOf(folder);
  expect(commit(keeper, 2)).toMatchObject({ damage: undefined, books: { s: { ingested: 2 } } });
  expect(readdirSync(folder).filter((file) => file.includes("schema"))).toEqual([
    "headgate-schema-2.db.damaged",
  ]);
});

test("a commit that happened and was not answered is not made again", () => {
  const { keeper } = keeperOf(temporaryFolder());
  const { position } = begin(keeper);
  const once = commit(keeper, 1, { after: position });
  const again = commit(keeper, 1, { after: position });
  expect(again).toMatchObject({ position: once.position, books: { s: { ingested: 1 } } });
  expect(commit(keeper, 2, { after: once.position }).books.s?.ingested).toBe(2);
});

test("a store that has to be made anew while it runs asks for the configuration before it takes a batch", async () => {
  const folder = temporaryFolder();
  const { keeper, openings } = keeperOf(folder);
  begin(keeper);
  commit(keeper, 1);
  // Its pages are garbage now, those of the open windows among them.
  for (const file of ["headgate.db", "headgate.db-wal"]) {
    const { size } = statSync(join(folder, file));
    writeFileSync(join(folder, file), Buffer.alloc(size, 7), { flag: "r+" });
  }
  keeper.close();
  expect(await codeOf(() => commit(keeper, 2))).toBe("STORE_UNUSABLE");
  expect(openings.at(-1)).toMatchObject({ configHash: undefined });
  const status = keeper.commit(commitOf([configuration(0), reading(3, { t: 3 })], t0));
  expect(status.books.s).toMatchObject({ frameDiscards: {} });
});

test("a damage found while it runs is mended, and the batch that met it is kept", () => {
  const folder = temporaryFolder();
  const { keeper, openings } = keeperOf(folder);
  begin(keeper);
  for (let at = 0; at < 20_000; at += 500) commit(keeper, at);
  keeper.close();
  const damaged = new Sqlite(join(folder, "headgate.db"));
  damaged.exec(
    "UPDATE outbox SET body = replace(body, 'w', 'v') WHERE entry = (SELECT min(entry) FROM outbox)",
  );
  damaged.close();
  expect(() => {
    for (let next = keeper.next(behind(0)); next; next = keeper.next(behind(next.sequence)));
  }).toThrow("does not match its checksum");
  const status = commit(keeper, 20_500);
  expect(status.damage).toMatchObject({ reason: expect.stringContaining("does not match its checksum") });
  expect(status.books.s?.discards.damaged).toBe(2);
  expect(imbalances(keeper.audit())).toEqual([]);
  expect(readdirSync(folder)).toContain(status.damage?.report);
  expect(openings.length).toBeGreaterThanOrEqual(2);
});

const isRoot = process.getuid?.() === 0;
test.runIf(isRoot)("a folder of another user: it says so, and goes on when it may", async () => {
  const folder = join(temporaryFolder(), "store");
  mkdirSync(folder, { mode: 0o700 });
  const { keeper } = keeperOf(folder);
  const script = `
    import { StoreKeeper } from ${JSON.stringify(new URL("../../src/store/store-keeper.ts", import.meta.url).href)};
    import { openDatabase } from ${JSON.stringify(new URL("../../src/core/database.ts", import.meta.url).href)};
    // Loads what is loaded at first use.
    openDatabase(":memory:").close();
    // From here on as nobody, who may not be let into the folders of the program.
    process.setgroups([]); process.setgid(65534); process.setuid(65534);
    const keeper = new StoreKeeper(process.argv[1], ${JSON.stringify(settings)}, () => undefined);
    try { keeper.open(); console.log("open"); } catch (error) { console.log(error.code); }
    keeper.close();`;
  const asNobody = () =>
    spawnSync(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script, folder],
      { encoding: "utf8" },
    ).stdout.trim();
  expect(asNobody()).toBe("STORE_UNUSABLE");
  chownSync(folder, 65_534, 65_534);
  chownSync(join(folder, ".."), 65_534, 65_534);
  expect(asNobody()).toBe("open");
  expect(await codeOf(() => begin(keeper))).toBe("none");
});

function mounts(): boolean {
  const folder = temporaryFolderOrNone();
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
  if (status === 0) execFileSync("umount", [folder]);
  return status === 0;
}
function temporaryFolderOrNone(): string {
  const folder = join("/tmp", `headgate-mount-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  return folder;
}

// A file system of its own needs the right to mount one; what a full disk does is also in the fault campaign.
describe.runIf(process.platform === "linux" && isRoot && mounts())("a disk of its own", () => {
  function disk(size: string) {
    const folder = temporaryFolder();
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder]);
    onTestFinished(() => {
      spawnSync("umount", ["-l", folder]);
    });
    return folder;
  }

  test("that becomes read-only and is written to again", async () => {
    const folder = disk("64m");
    const { keeper } = keeperOf(join(folder, "store"));
    begin(keeper);
    // Open files go on being written to, unless the system itself turned the disk read-only; so it is opened anew.
    keeper.close();
    execFileSync("mount", ["-o", "remount,ro", folder]);
    expect(await codeOf(() => commit(keeper, 1))).toMatch(/^STORE_(UNUSABLE|BUSY)$/);
    execFileSync("mount", ["-o", "remount,rw", folder]);
    expect(commit(keeper, 2).books.s?.ingested).toBe(1);
  });

  test("that is taken away: nothing is begun in the empty folder it leaves, and it goes on when it is back", async () => {
    const place = disk("64m");
    const mounted = temporaryFolder();
    execFileSync("mount", ["--bind", place, mounted]);
    onTestFinished(() => {
      spawnSync("umount", ["-l", mounted]);
    });
    const { keeper } = keeperOf(join(mounted, "store"));
    begin(keeper);
    commit(keeper, 1);
    execFileSync("umount", ["-l", mounted]);
    expect(await codeOf(() => commit(keeper, 2))).toBe("STORE_UNUSABLE");
    expect(readdirSync(mounted)).toEqual([]);
    execFileSync("mount", ["--bind", place, mounted]);
    expect(commit(keeper, 3).books.s?.ingested).toBe(2);
  });

  test("that others fill: what is new waits, then takes the place of what is old; it fills up again when it is freed", async () => {
    const folder = disk("48m");
    const { keeper } = keeperOf(join(folder, "store"), { ...settings, maxBytes: 64_000_000 });
    const sources = { s: jsonSource("s", { device: { field: "id" } }) };
    keeper.commit(commitOf([configuration(0, { sources })], t0));
    const batch = (step: number, more: Partial<Commit> = {}) => {
      const fields = Object.fromEntries(Array.from({ length: 12 }, (_, c) => [`c${c}`, Math.sqrt(step + c)]));
      // Each of a device of its own, or there would be much to merge before anything has to go.
      const entries = Array.from({ length: 20 }, (_, i) =>
        reading(step * 20_000 + i * 1_000, { id: `d-${step}-${i}`, ...fields }),
      );
      return keeper.commit(commitOf(entries, t0 + step * 20_000, more));
    };
    let step = 1;
    while (step < 200) batch(step++);
    const { bavail, bsize } = statfsSync(folder);
    writeFileSync(join(folder, "other"), Buffer.alloc(bavail * bsize - 200_000));
    const code = await codeOf(() => {
      while (step < 2_000) batch(step++);
    });
    expect(code).toBe("STORE_UNUSABLE");
    // Memory fills up behind it: from here on the oldest goes.
    let status: StoreStatus | undefined;
    for (const last = step + 5_000; step < last && !status?.books.s?.discards.evicted; step++)
      status = batch(step, { isPressed: true });
    expect(status?.books.s?.discards.evicted).toBeGreaterThan(0);
    expect(imbalances(keeper.audit())).toEqual([]);
    rmSync(join(folder, "other"));
    const evicted = status?.books.s?.discards.evicted;
    for (const last = step + 50; step < last; step++) status = batch(step);
    expect(status?.books.s?.discards.evicted).toBe(evicted);
    // A disk that others write to, too, takes its time.
  }, 180_000);
});

test("a store is opened beside whatever else lies in its folder", () => {
  const folder = temporaryFolder();
  const { keeper } = keeperOf(folder);
  begin(keeper);
  keeper.close();
  cpSync(join(folder, "headgate.db"), join(folder, "headgate.db.tmp"));
  writeFileSync(join(folder, "headgate-schema-x.db"), "?");
  expect(commit(keeper, 1).books.s?.ingested).toBe(1);
});
