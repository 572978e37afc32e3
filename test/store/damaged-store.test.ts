/** What is read of a file with pages that are not what was written. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { DamagedStore } from "../../src/store/damaged-store.ts";
import { Texts } from "../../src/store/texts.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

/** A file with texts of these numbers, of which the first or the last page is spoilt. */
function spoiltTexts(which: "first" | "last", from: number, count: number): DamagedStore {
  const path = join(temporaryFolder(), "texts.db");
  const database = new Sqlite(path);
  database.exec(Texts.schema);
  const texts = new Texts(database);
  for (let number = from; number < from + count; number++) {
    const text = `a text ${"x".repeat(300)}`;
    texts.add({ number, source: "mood", device: "d", timeMs: 1, language: undefined, text });
  }
  const size = database.pragma("page_size", { simple: true }) as number;
  database.close();
  const bytes = readFileSync(path);
  const isLeaf = (page: number) => bytes[page * size] === 13 && page > 0;
  const leaves = Array.from({ length: bytes.length / size }, (_, page) => page).filter(isLeaf);
  expect(leaves.length).toBeGreaterThan(5);
  const spoilt = (which === "first" ? leaves[0] : leaves.at(-1)) ?? 0;
  bytes.fill(0xff, spoilt * size, (spoilt + 1) * size);
  writeFileSync(path, bytes);
  const damaged = new DamagedStore(path);
  onTestFinished(() => damaged.close());
  return damaged;
}

// Each number that is looked for, and leads to the page, is a problem.
test("behind a last page of texts that is bad, numbers are looked for as far as they may be given", () => {
  const damaged = spoiltTexts("last", 1, 100);
  const numbers = [...damaged.texts(101, 0)].map(({ number }) => number);
  expect(numbers.length).toBeGreaterThan(80);
  expect(numbers).toEqual(numbers.map((_, index) => index + 1));
  const { problemCount } = damaged;
  expect(problemCount).toBeGreaterThanOrEqual(100 - numbers.length);
  expect(problemCount).toBeLessThan(100 - numbers.length + 5);
  expect([...damaged.texts(101, 50)].length).toBe(numbers.length);
  expect(damaged.problemCount).toBe(2 * problemCount + 50);
});

test("texts behind a first page that is bad are found, also when no number is known to be given", () => {
  const damaged = spoiltTexts("first", 1_001, 100);
  const numbers = [...damaged.texts(1, 10)].map(({ number }) => number);
  expect(numbers.length).toBeGreaterThan(80);
  expect(numbers).toEqual(numbers.map((_, index) => 1_101 - numbers.length + index));
});
