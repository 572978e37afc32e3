import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Database, openDatabase } from "../../src/core/database.ts";
import type { Accounts, Entry } from "../../src/core/entry.ts";
import { Composer, type ComposeSettings } from "../../src/outbox/composer.ts";
import { emptyOutbox, Outbox, type OutboxCounters, type OutboxMessage } from "../../src/outbox/outbox.ts";
import { behind, composing } from "../support/composing.ts";

let folder: string;
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-outbox-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An outbox in a database of its own that can be closed and opened again, with the counters its owner stores. */
function boxInFile() {
  const path = join(folder, `${files++}.db`);
  let database: Database = openDatabase(path);
  database.exec(Outbox.schema);
  let counters: OutboxCounters = emptyOutbox();
  let outbox = new Outbox(database, "12345678-9abc", counters);
  return {
    get outbox() {
      return outbox;
    },
    compose: (nowMs: number, settings: ComposeSettings) => new Composer(outbox).compose(nowMs, settings),
    get counters() {
      return counters;
    },
    reopen() {
      database.close();
      database = openDatabase(path);
      counters = JSON.parse(JSON.stringify(counters));
      outbox = new Outbox(database, "12345678-9abc", counters);
    },
    close: () => {
      database.close();
    },
    /** The counters as the rows say they should be. */
    recount() {
      const entries = database.prepare<[], { body: string }>("SELECT body FROM outbox").all();
      const messages = database.prepare("SELECT 1 FROM message").all();
      return {
        entries: entries.length,
        messages: messages.length,
        bytes: entries.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0),
      };
    },
  };
}

// With what a message says of itself.
const settings: ComposeSettings = { ...composing, maxMessageBytes: 140 };
let ids = 0;
function entry(readyMs: number, text: string, accounts: Accounts = { s: 1 }): Entry {
  return {
    id: `${ids++}`,
    revision: 0,
    kind: "window",
    source: Object.keys(accounts)[0] ?? "s",
    body: JSON.stringify(text),
    readyMs,
    accounts,
  };
}
const textOf = ({ body }: OutboxMessage) => Buffer.from(body).toString("utf8");
function messages(outbox: Outbox): OutboxMessage[] {
  const all: OutboxMessage[] = [];
  for (let next = outbox.next(behind(0)); next; next = outbox.next(behind(next.sequence))) all.push(next);
  return all;
}

test("entries wait for company until the oldest of them has waited long enough", () => {
  const { outbox, compose, close } = boxInFile();
  outbox.insert([entry(5_000, "a")]);
  expect(compose(5_500, settings)).toBe(6_000);
  outbox.insert([entry(5_600, "b")]);
  expect(compose(5_999, settings)).toBe(6_000);
  expect(messages(outbox)).toEqual([]);
  expect(compose(6_000, settings)).toBeUndefined();
  expect(messages(outbox).map(textOf)).toEqual(['["a","b"]']);
  close();
});

test("entries finished by a clock that was ahead, before a boot, do not wait for it to come round", () => {
  const { outbox, compose, close } = boxInFile();
  outbox.insert([entry(946_080_000_000, "a")]);
  expect(compose(5_000, settings)).toBeUndefined();
  expect(messages(outbox).map(({ class: of }) => of)).toEqual(["backfill"]);
  close();
});

test("with nothing that waits nothing falls due", () => {
  const { outbox, compose, close } = boxInFile();
  expect(compose(1, settings)).toBeUndefined();
  outbox.insert([entry(1, "a")]);
  compose(9_999, settings);
  expect(compose(9_999, settings)).toBeUndefined();
  expect(messages(outbox)).toHaveLength(1);
  close();
});

test("full messages go at once, the rest waits", () => {
  const { outbox, compose, close } = boxInFile();
  outbox.insert(Array.from({ length: 5 }, (_, i) => entry(5_000, `${i}${"x".repeat(37)}`)));
  expect(compose(5_000, settings)).toBe(6_000);
  expect(messages(outbox).map((m) => JSON.parse(textOf(m)).length)).toEqual([2, 2]);
  expect(compose(6_000, settings)).toBeUndefined();
  expect(messages(outbox)).toHaveLength(3);
  close();
});

test("an entry larger than a message may be is a message alone, and keeps nothing back", () => {
  const { outbox, compose, close } = boxInFile();
  outbox.insert([entry(1, "a"), entry(1, "x".repeat(500)), entry(1, "b")]);
  compose(9_999, settings);
  expect(messages(outbox).map((m) => JSON.parse(textOf(m)).length)).toEqual([1, 1, 1]);
  close();
});

test("messages are numbered from 1 in order, and named after the store", () => {
  const { outbox, compose, close } = boxInFile();
  for (const text of ["a", "b"]) {
    outbox.insert([entry(1, text)]);
    compose(9_999, { ...settings, output: `to-${text}` });
  }
  expect(messages(outbox).map(({ sequence, id, output }) => [sequence, id, output])).toEqual([
    [1, "12345678-1", "to-a"],
    [2, "12345678-2", "to-b"],
  ]);
  expect(outbox.next(behind(1))?.sequence).toBe(2);
  expect(outbox.next(behind(2))).toBeUndefined();
  close();
});

test("the output of a message is the one it was composed for, whatever is configured later", () => {
  const { outbox, compose, close } = boxInFile();
  outbox.insert([entry(1, "a")]);
  compose(9_999, { ...settings, output: "before" });
  compose(9_999, { ...settings, output: "after" });
  expect(messages(outbox).map((m) => m.output)).toEqual(["before"]);
  close();
});

test("removing gives what the entries accounted for, once", () => {
  const { outbox, counters, compose, close } = boxInFile();
  outbox.insert([entry(1, "a", { s: 2 }), entry(1, "b", { s: 1, other: 4 }), entry(1, "c", {})]);
  compose(9_999, settings);
  expect(counters.held).toEqual({ s: 3, other: 4 });
  expect(outbox.remove(1)).toEqual({ s: 3, other: 4 });
  expect(outbox.remove(1)).toEqual({});
  expect(outbox.remove(77)).toEqual({});
  expect(counters).toMatchObject({ entries: 0, messages: 0, bytes: 0, held: { s: 0, other: 0 } });
  expect(outbox.status()).toEqual({ entries: 0, messages: 0, bytes: 0, oldestMs: undefined });
  close();
});

test("messages may be removed out of order; the others stay as they are", () => {
  const { outbox, compose, close } = boxInFile();
  for (const text of ["a", "b", "c"]) {
    outbox.insert([entry(1, text)]);
    compose(9_999, settings);
  }
  outbox.remove(2);
  expect(messages(outbox).map(textOf)).toEqual(['["a"]', '["c"]']);
  outbox.insert([entry(1, "d")]);
  compose(9_999, settings);
  expect(messages(outbox).map(({ sequence }) => sequence)).toEqual([1, 3, 4]);
  close();
});

test("bytes are those of UTF-8, in the counters, in the limit and in the message", () => {
  const { outbox, counters, compose, close } = boxInFile();
  const texts = Array.from({ length: 6 }, () => "温度".repeat(5));
  outbox.insert(texts.map((text) => entry(1, text)));
  expect(counters.bytes).toBe(6 * 32);
  compose(9_999, settings);
  const all = messages(outbox);
  expect(all.flatMap((m) => JSON.parse(textOf(m)))).toEqual(texts);
  expect(all.every((m) => m.body.length <= settings.maxMessageBytes)).toBe(true);
  close();
});

type Step =
  | { readonly do: "insert"; readonly sizes: readonly number[]; readonly accounts: Accounts }
  | { readonly do: "compose"; readonly by: number; readonly maxMessageBytes: number }
  | { readonly do: "remove"; readonly which: number }
  | { readonly do: "reopen" };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("insert" as const),
    sizes: fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 4 }),
    accounts: fc.dictionary(fc.constantFrom("s", "other"), fc.integer({ min: 1, max: 9 })),
  }),
  fc.record({
    do: fc.constant("compose" as const),
    by: fc.nat(1_500),
    maxMessageBytes: fc.integer({ min: 50, max: 300 }),
  }),
  fc.record({ do: fc.constant("remove" as const), which: fc.nat(3) }),
  fc.record({ do: fc.constant("reopen" as const) }),
);

test("any sequence: bodies stay byte-identical, order holds, limits hold, counters equal a recount", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const box = boxInFile();
      const seen = new Map<number, string>();
      const limits = new Map<number, number>();
      const inserted: string[] = [];
      const removed = new Set<number>();
      let held: Record<string, number> = {};
      const accounted = new Map<number, Accounts>();
      let now = 0;
      let number = 0;
      for (const one of steps) {
        if (one.do === "insert") {
          const entries = one.sizes.map((size) =>
            entry(now, `${number++}:${"x".repeat(size)}`, one.accounts),
          );
          inserted.push(...entries.map((e) => e.body));
          box.outbox.insert(entries);
          for (const _ of entries)
            for (const [s, n] of Object.entries(one.accounts)) held[s] = (held[s] ?? 0) + n;
        } else if (one.do === "compose") {
          now += one.by;
          const before = new Set(messages(box.outbox).map((m) => m.sequence));
          box.compose(now, { ...settings, maxMessageBytes: one.maxMessageBytes });
          for (const m of messages(box.outbox))
            if (!before.has(m.sequence)) limits.set(m.sequence, one.maxMessageBytes);
        } else if (one.do === "remove") {
          const sequence = messages(box.outbox)[one.which]?.sequence ?? 1_000 + one.which;
          const gone = box.outbox.remove(sequence);
          if (sequence < 1_000) removed.add(sequence);
          accounted.set(sequence, gone);
          held = Object.fromEntries(Object.entries(held).map(([s, n]) => [s, n - (gone[s] ?? 0)]));
        } else box.reopen();
        for (const message of messages(box.outbox)) {
          const text = textOf(message);
          expect(seen.get(message.sequence) ?? text).toBe(text);
          seen.set(message.sequence, text);
          const parts = JSON.parse(text) as string[];
          if (parts.length > 1) {
            expect(message.body.length).toBeLessThanOrEqual(limits.get(message.sequence) ?? 0);
          }
          expect(removed.has(message.sequence)).toBe(false);
        }
        expect(box.counters).toMatchObject(box.recount());
        expect(box.outbox.status()).toMatchObject(box.recount());
        const nonZero = (counts: Accounts) =>
          Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== 0));
        expect(nonZero(box.counters.held)).toEqual(nonZero(held));
        expect(nonZero(box.outbox.heldByRows())).toEqual(nonZero(held));
      }
      // Every entry went into one message, in the order of insertion.
      box.compose(1e14, settings);
      for (const message of messages(box.outbox)) seen.set(message.sequence, textOf(message));
      const bodies = [...seen].sort(([a], [b]) => a - b).flatMap(([, text]) => JSON.parse(text) as string[]);
      expect(bodies.map((text) => JSON.stringify(text))).toEqual(inserted);
      box.close();
    }),
    { numRuns: 60 },
  );
});
