import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openDatabase } from "../../src/core/database.ts";
import { Journal, pack, unpack } from "../../src/journal/journal.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";

function makeJournal() {
  const database = openDatabase(join(temporaryFolder(), "journal.db"));
  onTestFinished(() => {
    database.close();
  });
  database.exec(Journal.schema);
  return { database, journal: new Journal(database) };
}
const read = (journal: Journal, after: number) =>
  [...journal.readAfter(after)].map(({ position, batch }) => `${position} ${Buffer.from(batch)}`);

test("batches come back in order, behind a position", () => {
  const { journal } = makeJournal();
  for (const position of [1, 2, 3]) journal.append(position, Buffer.from(`batch ${position}`));
  expect(read(journal, 0)).toEqual(["1 batch 1", "2 batch 2", "3 batch 3"]);
  expect(read(journal, 2)).toEqual(["3 batch 3"]);
  expect(read(journal, 3)).toEqual([]);
});

test("trimming forgets up to a position, inclusive", () => {
  const { journal } = makeJournal();
  for (const position of [1, 2, 3]) journal.append(position, Buffer.from("x"));
  journal.trim(2, 0);
  expect(read(journal, 0)).toEqual(["3 x"]);
  journal.trim(2, 0);
  expect(read(journal, 0)).toEqual(["3 x"]);
});

test("trimming keeps the newest batches that fit into the bytes to be kept", () => {
  const { journal } = makeJournal();
  const { length } = pack(Buffer.from("x")).bytes;
  for (const position of [1, 2, 3, 4]) journal.append(position, Buffer.from("x"));
  journal.trim(3, 2 * length);
  expect(read(journal, 0)).toEqual(["2 x", "3 x", "4 x"]);
  journal.trim(3, 2 * length - 1);
  expect(read(journal, 0)).toEqual(["3 x", "4 x"]);
  journal.trim(3, 1_000_000);
  expect(read(journal, 0)).toEqual(["3 x", "4 x"]);
});

test("a flipped bit anywhere in a stored batch is found", async () => {
  const { database, journal } = makeJournal();
  journal.append(1, Buffer.from("good"));
  journal.append(2, Buffer.from('{"temperature":21.5}'.repeat(5)));
  const { batch } = database
    .prepare<[], { batch: Buffer }>("SELECT batch FROM journal WHERE position = 2")
    .get() ?? {
    batch: Buffer.alloc(0),
  };
  expect(batch.length).toBeGreaterThan(10);
  for (let at = 0; at < batch.length; at++) {
    const damaged = Buffer.from(batch);
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    database.prepare("UPDATE journal SET batch = ? WHERE position = 2").run(damaged);
    expect(await codeOf(() => read(journal, 0))).toBe("STORE_CORRUPT");
  }
  database.prepare("UPDATE journal SET batch = ? WHERE position = 2").run(batch);
  expect(read(journal, 0)).toHaveLength(2);
});

test("a batch that lost its end is found", async () => {
  const { database, journal } = makeJournal();
  journal.append(1, Buffer.from("a batch of bytes"));
  database.exec("UPDATE journal SET batch = substr(batch, 1, length(batch) - 1)");
  expect(await codeOf(() => read(journal, 0))).toBe("STORE_CORRUPT");
});

test("batches whose bytes repeat are stored smaller than they are", () => {
  const plain = Buffer.from('{"temperature":21.5,"humidity":40}\n'.repeat(100));
  const { bytes, checksum } = pack(plain);
  expect(bytes.length).toBeLessThan(plain.length / 10);
  expect(Buffer.from(unpack(bytes, checksum, "test")).equals(plain)).toBe(true);
});
