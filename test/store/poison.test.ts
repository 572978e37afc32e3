/** A bug in a stage costs one reading: what it throws at is discarded, what it dies of is found and discarded. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { imbalances } from "../../src/ledger/ledger.ts";
import { Store } from "../../src/store/store.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { tick } from "../journal/batches.ts";
import { FaultyPipeline } from "./faulty-pipeline.ts";
import { commitOf, configuration, messagesOf, openStore, reading, settings, t0 } from "./stores.ts";

/** A store whose stages have a bug, or, with `isFaulty: false`, had one. */
function faultyStore(folder: string, isFaulty = true) {
  const store = new Store(folder, settings, undefined, (storeId) => new FaultyPipeline(storeId, isFaulty));
  onTestFinished(() => store.close());
  return { store, opened: store.open() };
}

const good = (at: number) => reading(at, { t: at });
const poison = (at: number) => reading(at, { t: at, poison: 1 });

test("what a stage throws at is discarded with the error, and everything beside it goes on", () => {
  const folder = temporaryFolder();
  const { store } = faultyStore(folder);
  const batch = [configuration(0), good(10), poison(20), good(30), poison(40), tick(t0 + 1_000)];
  const status = store.commit(commitOf(batch, t0 + 9_000));
  expect(status.lastFault).toBe("stumbled over poison");
  expect(status.books.s).toMatchObject({ frames: 4, ingested: 2, frameDiscards: { pipelineFault: 2 } });
  expect(imbalances(store.audit())).toEqual([]);
  expect(messagesOf(store).map(({ body }) => JSON.parse(body)[0].count)).toEqual([2]);
  // A replay does not stumble again: the journal holds what was made of the batch.
  const copy = store.status();
  store.close();
  expect(faultyStore(folder).opened.status.books).toEqual(copy.books);
});

test("a batch full of it costs the batch's frames, not the box", () => {
  const { store } = faultyStore(temporaryFolder());
  store.commit(commitOf([configuration(0)], t0));
  const batch = Array.from({ length: 50 }, (_, i) => poison(i));
  const { books } = store.commit(commitOf([...batch, tick(t0 + 100)], t0 + 100));
  expect(books.s).toMatchObject({ frames: 50, ingested: 0, frameDiscards: { pipelineFault: 50 } });
  expect(store.commit(commitOf([good(200)], t0 + 200)).books.s).toMatchObject({ frames: 51, ingested: 1 });
});

test("what a new version stumbles over in the journal is taken out of it, and out of its window", () => {
  const folder = temporaryFolder();
  const earlier = faultyStore(folder, false);
  const before = earlier.store.commit(commitOf([configuration(0), good(10), poison(20), good(30)], t0));
  expect(before.books.s).toMatchObject({ ingested: 3, held: 3 });
  earlier.store.close();
  const { store, opened } = faultyStore(folder);
  expect(opened.status.books.s).toMatchObject({ ingested: 3, held: 2, discards: { pipelineFault: 1 } });
  expect(imbalances(store.audit())).toEqual([]);
});

/** A process that opens the store, commits a batch with a reading that kills it, and says what became of it. */
function life(folder: string, what: "commit" | "open") {
  const script = fileURLToPath(new URL("poisoned-process.ts", import.meta.url));
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", script, folder, what],
    { encoding: "utf8", timeout: 60_000 },
  );
  return { died: status === null, stdout, stderr };
}

test("what the process dies of is found after the third death, and the rest of its batch is kept", () => {
  const folder = join(temporaryFolder(), "store");
  // Before the first death nothing is noted: that batch is lost with its process, and its callers repeat.
  expect(life(folder, "commit")).toMatchObject({ died: true });
  let deaths = 1;
  let last = life(folder, "commit");
  for (; last.died && deaths < 30; deaths++) last = life(folder, "open");
  expect(last, last.stderr).toMatchObject({ died: false });
  // Three in a row, then one for each halving of 34 entries at most.
  expect(deaths).toBeGreaterThanOrEqual(3);
  expect(deaths).toBeLessThan(12);
  const { store, close } = openStore(folder);
  expect(store.audit().s).toMatchObject({
    frames: 33,
    ingested: 32,
    held: 32,
    frameDiscards: { pipelineFault: 1 },
  });
  close();
}, 120_000);

test("deaths that have another reason condemn nobody", () => {
  const folder = temporaryFolder();
  const first = openStore(folder);
  first.store.commit(commitOf([configuration(0), good(10), good(20)], t0));
  first.close();
  for (let death = 0; death < 6; death++) {
    const { opened, close } = openStore(folder);
    expect(opened.status.books.s).toMatchObject({ ingested: 2, held: 2, discards: {} });
    close();
  }
  const { store } = openStore(folder);
  expect(store.commit(commitOf([good(30)], t0)).books.s).toMatchObject({
    ingested: 3,
    held: 3,
    discards: {},
  });
});
