import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Opened } from "../../src/store/contract.ts";
import { CommitFailed, StoreClient } from "../../src/store/store-client.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { tick } from "../journal/batches.ts";
import { behind } from "../support/composing.ts";
import { commitOf, configuration, openStore, reading, settings, t0 } from "./stores.ts";

function client() {
  const crashes: Error[] = [];
  const openings: Opened[] = [];
  const store = new StoreClient((error) => crashes.push(error));
  const onOpened = (opened: Opened) => openings.push(opened);
  onTestFinished(() => store.close().catch(() => undefined));
  return { store, crashes, openings, onOpened };
}

test("the store on its thread does what the store does", async () => {
  const folder = temporaryFolder();
  const { store, crashes, openings, onOpened } = client();
  await store.open(folder, settings, onOpened);
  expect(openings).toMatchObject([{ replayed: 0, status: { position: 0 } }]);
  await store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 })], t0));
  const status = await store.commit(commitOf([tick(t0 + 1_000)], t0 + 9_000));
  expect(status).toMatchObject({ position: 2, outbox: { messages: 1 } });
  expect(await store.audit()).toEqual(status.books);
  const message = await store.next(behind(0));
  expect(JSON.parse(Buffer.from(message?.body ?? []).toString("utf8"))).toMatchObject([
    { window: "w", count: 1 },
  ]);
  expect(await store.next(behind(message?.sequence ?? 0))).toBeUndefined();
  await store.close();
  expect(crashes).toEqual([]);
  expect(openStore(folder).opened.status.position).toBe(2);
});

test("an error of the store keeps its code on the way", async () => {
  const folder = temporaryFolder();
  openStore(folder);
  const { store, onOpened } = client();
  expect(await codeOf(() => store.open(folder, settings, onOpened))).toBe("STORE_BUSY");
});

test("after close every request is refused, and a second close does nothing", async () => {
  const { store, onOpened } = client();
  await store.open(temporaryFolder(), settings, onOpened);
  await store.close();
  await store.close();
  expect(await codeOf(() => store.next(behind(0)))).toBe("INVARIANT");
});

// `prlimit` is Linux's; elsewhere nothing honest makes a write fail in the middle.
test.runIf(process.platform === "linux")(
  "a commit that failed gives its batch back, to be repeated",
  async () => {
    const folder = temporaryFolder();
    const { store, crashes, onOpened } = client();
    await store.open(folder, settings, onOpened);
    await store.commit(commitOf([configuration(-5_000)], t0));
    const limit = (soft: string) => execFileSync("prlimit", ["--pid", `${process.pid}`, `--fsize=${soft}:`]);
    const commit = commitOf([reading(0, { t: 1 })], t0);
    const bytes = Buffer.from(commit.batch).toString("hex");
    let failure: unknown;
    limit(`${statSync(join(folder, "headgate.db-wal")).size}`);
    try {
      failure = await store.commit(commit).catch((error: unknown) => error);
    } finally {
      limit("unlimited");
    }
    if (!(failure instanceof CommitFailed)) throw failure;
    expect(failure.code).toBe("STORE_UNUSABLE");
    expect(Buffer.from(failure.batch).toString("hex")).toBe(bytes);
    const status = await store.commit({ ...commit, batch: failure.batch });
    expect(status).toMatchObject({ position: 2, books: { s: { ingested: 1, held: 1 } } });
    expect(crashes).toEqual([]);
  },
);
