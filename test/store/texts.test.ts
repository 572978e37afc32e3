/** Texts that wait: in the store with the commit of their frame, and out of it with the one of their score. */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Opened } from "../../src/store/contract.ts";
import { StoreKeeper } from "../../src/store/store-keeper.ts";
import { Suspects } from "../../src/store/suspects.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { batchOf, frame } from "../journal/batches.ts";
import { commitOf, configuration, copyAsKilled, openStore, reading, settings, t0 } from "./stores.ts";

const sections = {
  sentiment: { url: "http://sentiment:5000" },
  sources: {
    s: jsonSource("s"),
    mood: { type: "sentiment", from: { source: "s", field: "say" } },
  },
};
const begin = configuration(0, sections);
const say = (at: number, text: string) => reading(at, { t: 1, say: text });
function scored(at: number, number: number): JournalEntry {
  const frame = reading(at, { device: "s-1", time: t0 + at, score: 0.5 }, "mood");
  return { ...frame, origin: String(number) } as JournalEntry;
}
const textsOf = (store: { texts(after: number): readonly { number: number; text: string }[] }, after = 0) =>
  store.texts(after).map(({ number, text }) => [number, text]);

test("a text is there with its commit, and gone with that of its score, whatever comes in between", () => {
  const folder = temporaryFolder();
  const { store, close } = openStore(folder);
  store.commit(commitOf([begin, say(1, "one"), say(2, "two")], t0 + 10));
  const killed = openStore(copyAsKilled(folder, join(folder, "killed")));
  expect(textsOf(killed.store)).toEqual([
    [1, "one"],
    [2, "two"],
  ]);
  expect(killed.opened.status.texts).toEqual({ mood: { texts: 2, bytes: 6, stored: 518 } });

  const { books, texts } = store.commit(commitOf([scored(20, 1), say(21, "three")], t0 + 30));
  expect(texts).toEqual({ mood: { texts: 2, bytes: 8, stored: 520 } });
  expect(books.mood).toMatchObject({ frames: 1, ingested: 1 });
  expect(textsOf(store)).toEqual([
    [2, "two"],
    [3, "three"],
  ]);
  expect(textsOf(store, 2)).toEqual([[3, "three"]]);
  store.commit({ ...commitOf([], t0 + 40), last: true });
  close();
  const again = openStore(folder);
  expect(textsOf(again.store)).toEqual([
    [2, "two"],
    [3, "three"],
  ]);
  again.store.commit(commitOf([scored(50, 1), scored(51, 2)], t0 + 60));
  expect(textsOf(again.store)).toEqual([[3, "three"]]);
  expect(again.store.audit().mood).toMatchObject({ ingested: 2, frameDiscards: { duplicate: 1 } });
  expect(imbalances(again.store.audit())).toEqual([]);
});

test("they are handed out in order, ten at a time, and a megabyte beyond the first", () => {
  const { store } = openStore(temporaryFolder());
  const large = "x".repeat(600_000);
  const entries = [
    begin,
    ...Array.from({ length: 12 }, (_, n) => say(n, `${n}`)),
    say(20, large),
    say(21, large),
  ];
  store.commit(commitOf(entries, t0 + 100));
  expect(store.texts(0).map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(store.texts(10).map(({ number }) => number)).toEqual([11, 12, 13]);
  expect(store.texts(13).map(({ number }) => number)).toEqual([14]);
  expect(store.texts(14)).toEqual([]);
});

test("a row that was damaged is told, the rest is kept, and the lost one is counted", () => {
  const folder = temporaryFolder();
  const { store, close } = openStore(folder);
  store.commit(commitOf([begin, say(1, "one"), say(2, "two"), say(3, "three")], t0 + 10));
  store.commit({ ...commitOf([], t0 + 40), last: true });
  close();
  const database = new Sqlite(join(folder, "headgate.db"));
  database.prepare("UPDATE text SET body = 'other' WHERE number = 2").run();
  database.close();
  const openings: Opened[] = [];
  const keeper = new StoreKeeper(
    folder,
    settings,
    (opened) => openings.push(opened),
    () => t0,
  );
  keeper.open();
  expect(() => keeper.texts(0)).toThrow(/text 2 does not match/);
  keeper.open();
  expect(textsOf(keeper)).toEqual([
    [1, "one"],
    [3, "three"],
  ]);
  expect(openings.at(-1)?.status.texts).toEqual({ mood: { texts: 2, bytes: 8, stored: 520 } });
  expect(keeper.audit().mood).toMatchObject({ frames: 1, frameDiscards: { damaged: 1 } });
  expect(imbalances(keeper.audit())).toEqual([]);
  keeper.close();
  expect(readdirSync(folder).some((name) => name.startsWith("headgate.db.damaged"))).toBe(true);
});

test.each(["memory", "file"])("after the loss of the %s no number is given again", (what) => {
  const folder = temporaryFolder();
  const { store, close } = openStore(folder);
  store.commit(commitOf([begin, say(1, "one"), say(2, "two"), scored(3, 2)], t0 + 10));
  store.commit({ ...commitOf([], t0 + 40), last: true });
  close();
  if (what === "file") rmSync(join(folder, "headgate.db"));
  else {
    const database = new Sqlite(join(folder, "headgate.db"));
    database.prepare("UPDATE snapshot SET checksum = checksum + 1").run();
    database.close();
  }
  const opened = () => undefined;
  const keeper = new StoreKeeper(folder, settings, opened, () => t0);
  onTestFinished(() => keeper.close());
  keeper.open();
  keeper.commit(commitOf([begin, say(50, "three"), say(51, "four")], t0 + 60));
  const one = what === "file" ? [] : [[1, "one"]];
  expect(textsOf(keeper)).toEqual([...one, [t0, "three"], [t0 + 1, "four"]]);
  const { texts } = keeper.commit(commitOf([scored(70, 2), scored(71, 3), scored(72, t0)], t0 + 80));
  expect(texts.mood?.texts).toBe(one.length + 1);
});

test("half of a surrogate pair is kept as what stands for it, and comes back as it is kept", () => {
  const { store } = openStore(temporaryFolder());
  const posted = frame("mood", t0 + 3, '{"text":"z\\ude00","language":"\\ud83d"}');
  store.commit(commitOf([begin, say(1, "x\ud83d"), say(2, "a\u0000b"), posted], t0 + 10));
  expect(textsOf(store)).toEqual([
    [1, "x\ufffd"],
    [2, "a\u0000b"],
    [3, "z\ufffd"],
  ]);
  expect(store.status().texts).toEqual({ mood: { texts: 3, bytes: 11, stored: 779 } });
});

test("texts of a file that ends are counted, not lost in silence", () => {
  const { store } = openStore(temporaryFolder());
  store.commit(commitOf([begin, say(1, "one"), say(2, "two")], t0 + 10));
  const { ledger } = store.retire();
  expect(ledger.get("mood")).toMatchObject({ frames: 2, frameDiscards: { unknownSource: 2 } });
  expect(store.texts(0)).toEqual([]);
});

test("a text that waits and is not there is counted at the next start, and one that nobody waits for goes", () => {
  const folder = temporaryFolder();
  const { store, close } = openStore(folder);
  store.commit(commitOf([begin, say(1, "one"), say(2, "two")], t0 + 10));
  store.commit({ ...commitOf([], t0 + 20), last: true });
  close();
  const database = new Sqlite(join(folder, "headgate.db"));
  database.prepare("UPDATE text SET number = 9 WHERE number = 2").run();
  database.close();
  const again = openStore(folder);
  // The stop was in order, whatever a row did since.
  expect(again.opened.uncleanSinceMs).toBeUndefined();
  expect(again.store.status().texts).toEqual({ mood: { texts: 1, bytes: 3, stored: 259 } });
  expect(again.store.audit().mood).toMatchObject({ frames: 1, frameDiscards: { damaged: 1 } });
  again.store.commit(commitOf([scored(20, 9)], t0 + 30));
  expect(again.store.audit().mood).toMatchObject({ frames: 2, frameDiscards: { damaged: 1, duplicate: 1 } });
  again.close();
  const rows = new Sqlite(join(folder, "headgate.db"));
  expect(rows.prepare("SELECT number FROM text").pluck().all()).toEqual([1]);
  rows.close();
});

test("what a process died of is told apart before lost texts are: its batch is committed first", () => {
  const folder = temporaryFolder();
  const { store, close } = openStore(folder);
  store.commit(commitOf([begin, say(1, "one"), say(2, "two")], t0 + 10));
  close();
  const database = new Sqlite(join(folder, "headgate.db"));
  new Suspects(database).write({ ...suspect, batch: batchOf([scored(20, 1), say(21, "three")]) });
  database.prepare("DELETE FROM text").run();
  database.close();
  const again = openStore(folder);
  expect(again.opened.uncleanSinceMs).toBe(t0 + 10);
  expect(textsOf(again.store)).toEqual([[3, "three"]]);
  expect(again.store.audit().mood).toMatchObject({ ingested: 1, frameDiscards: { damaged: 1 } });
});
const suspect = { position: 2, attempts: 1, lo: 0, hi: null, trial: null };
