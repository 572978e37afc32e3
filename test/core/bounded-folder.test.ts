import { mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { BoundedFolder } from "../../src/core/bounded-folder.ts";
import { temporaryFolder } from "./temporary-folder.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const kept = () => readdirSync(join(folder, "kept")).sort();
const open = (maxFiles: number, maxBytes = 1_000) =>
  new BoundedFolder(join(folder, "kept"), { maxFiles, maxBytes });
const put = (to: BoundedFolder, name: string, second: number, bytes = 10) =>
  to.put(new Uint8Array(bytes), "{}", name, second * 1_000);
const take = async (to: BoundedFolder, name: string, second: number, bytes = 10) => {
  const file = join(folder, name);
  writeFileSync(file, new Uint8Array(bytes));
  await to.take(file, name, bytes, second * 1_000);
};
const at = (second: number, name: string) => `19700101T00000${second}.000Z-${name}`;

test("the oldest go when there are too many files or bytes, and the text about a file goes with it", async () => {
  const files = open(2);
  for (const second of [1, 2, 3]) await put(files, `${second}.jpg`, second);
  expect(kept()).toEqual(
    [2, 3].flatMap((second) => [at(second, `${second}.jpg`), at(second, `${second}.jpg.json`)]),
  );
  const bytes = open(100, 40);
  await put(bytes, "4.jpg", 4, 20);
  expect(kept()).toEqual([at(3, "3.jpg"), at(3, "3.jpg.json"), at(4, "4.jpg"), at(4, "4.jpg.json")]);
});

test("what an earlier process left counts, and what it did not finish goes", async () => {
  await put(open(5), "1.jpg", 1);
  writeFileSync(join(folder, "kept", at(2, "half.jpg.part")), "half");
  writeFileSync(join(folder, "kept", at(2, "2.jpg.json")), "{}");
  mkdirSync(join(folder, "kept", "folder"));
  const next = open(2);
  await put(next, "3.jpg", 3);
  expect(kept().join()).not.toMatch(/part|2\.jpg/);
  await put(next, "4.jpg", 4);
  expect(kept().filter((name) => name.endsWith(".jpg"))).toEqual([at(3, "3.jpg"), at(4, "4.jpg")]);
  expect(kept()).toHaveLength(5);
  await put(open(1), "4.jpg", 5);
  expect(kept().filter((name) => name.endsWith(".jpg"))).toEqual([at(4, "4.jpg")]);
});

test("a file of a name that is kept already is not kept twice", async () => {
  const files = open(5);
  await put(files, "1.jpg", 1);
  await put(files, "1.jpg", 2, 20);
  expect(kept()).toEqual([at(1, "1.jpg"), at(1, "1.jpg.json")]);
  expect(readFileSync(join(folder, "kept", at(1, "1.jpg")))).toHaveLength(10);
});

test("a file that cannot be written leaves nothing behind", async () => {
  const files = open(5);
  await put(files, "1.jpg", 1);
  mkdirSync(join(folder, "kept", at(2, "2.jpg")));
  await expect(put(files, "2.jpg", 2)).rejects.toThrow("EISDIR");
  expect(kept()).toEqual([at(1, "1.jpg"), at(1, "1.jpg.json"), at(2, "2.jpg")]);
});

test("what could not stay is deleted, or not written at all", async () => {
  await take(open(0), "1.jpg", 1);
  await take(open(5, 9), "2.jpg", 2);
  await put(open(5, 9), "3.jpg", 3);
  expect([readdirSync(folder), kept()]).toEqual([["kept"], []]);
  const name = `${"é".repeat(120)}.jpg`;
  await take(open(5), name, 4);
  expect(kept()).toEqual(["19700101T000004.000Z.jpg"]);
});

test("a link in place of the folder is not followed, whether it was there before or came later", async () => {
  const elsewhere = join(folder, "elsewhere");
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, at(1, "1.jpg")), "1");
  symlinkSync(elsewhere, join(folder, "kept"));
  const files = open(1);
  await expect(take(files, "2.jpg", 2)).rejects.toThrow("a link");
  await expect(put(open(1), "3.jpg", 3)).rejects.toThrow("a link");
  renameSync(join(folder, "kept"), join(folder, "link"));
  await take(files, "2.jpg", 2);
  renameSync(join(folder, "kept"), join(folder, "kept before"));
  renameSync(join(folder, "link"), join(folder, "kept"));
  await expect(take(files, "4.jpg", 4)).rejects.toThrow("a link");
  expect(readdirSync(elsewhere)).toEqual([at(1, "1.jpg")]);
  expect(readdirSync(folder)).toContain("4.jpg");
});

test("files that are named otherwise stay and do not count", async () => {
  mkdirSync(join(folder, "kept"));
  const others = ["journal.db", "journal.db.json", "half.part", "19700101T000001.jpg", "alone.json"];
  for (const name of others) writeFileSync(join(folder, "kept", name), new Uint8Array(500));
  const files = open(1);
  await put(files, "1.jpg", 1);
  await put(files, "2.jpg", 2);
  expect(kept()).toEqual([...others, at(2, "2.jpg"), at(2, "2.jpg.json")].sort());
});

test("calls that overlap take turns, and one that fails holds up none", async () => {
  const files = open(2);
  mkdirSync(join(folder, "kept"));
  mkdirSync(join(folder, "kept", at(2, "2.jpg")));
  const puts = [1, 2, 3, 4].map((second) => put(files, `${second}.jpg`, second));
  const again = put(files, "4.jpg", 5);
  expect((await Promise.allSettled([...puts, again])).map(({ status }) => status)).toEqual([
    "fulfilled",
    "rejected",
    "fulfilled",
    "fulfilled",
    "fulfilled",
  ]);
  const left = [3, 4].flatMap((second) => [at(second, `${second}.jpg`), at(second, `${second}.jpg.json`)]);
  expect(kept()).toEqual([at(2, "2.jpg"), ...left]);
  files.bounds = { maxFiles: 1, maxBytes: 1_000 };
  await put(files, "6.jpg", 6);
  expect(kept()).toEqual([at(2, "2.jpg"), at(6, "6.jpg"), at(6, "6.jpg.json")]);
});
