import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  accountOf,
  balances,
  countDiscard,
  countFrameDiscard,
  countNote,
  emptyAccount,
  imbalances,
  type Ledger,
  mergeLedger,
} from "../../src/ledger/ledger.ts";

function ledgerOf(...sources: [string, ReturnType<typeof emptyAccount>][]): Ledger {
  return new Map(sources);
}

describe("the identities", () => {
  const even = {
    ...emptyAccount(),
    frames: 10,
    decoded: 7,
    frameDiscards: { malformed: 2, nul: 1 },
    ingested: 12,
    published: 5,
    discards: { late: 3, unrouted: 1 },
  } as const;

  test("books that add up have no imbalance", () => {
    expect(imbalances(balances(ledgerOf(["a", { ...even }]), { a: 3 }))).toEqual([]);
    expect(imbalances({})).toEqual([]);
    expect(imbalances(balances(ledgerOf(["new", emptyAccount()]), {}))).toEqual([]);
  });

  test.each([
    ["a frame without a door", { frames: 11 }, 3],
    ["a frame counted twice", { decoded: 8 }, 3],
    ["a reading without a door", { ingested: 13 }, 3],
    ["a reading published twice", { published: 6 }, 3],
    ["a reading held and published", {}, 4],
    ["a reading lost from what is held", {}, 2],
    ["a discard that nothing came in for", { discards: { late: 4, unrouted: 1 } }, 3],
    ["a frame discard that nothing came in for", { frameDiscards: { malformed: 3, nul: 1 } }, 3],
  ])("%s is reported, with its source", (_, change, held) => {
    const books = balances(ledgerOf(["good", { ...even }], ["odd", { ...even, ...change }]), {
      good: 3,
      odd: held,
    });
    const problems = imbalances(books);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain("odd");
  });

  test("both identities of every source are looked at", () => {
    const broken = { ...even, frames: 0, ingested: 0 };
    expect(imbalances(balances(ledgerOf(["a", broken], ["b", broken]), { a: 3, b: 3 }))).toHaveLength(4);
  });

  test("a source that holds nothing has 0 held", () => {
    expect(balances(ledgerOf(["a", emptyAccount()]), {})).toMatchObject({ a: { held: 0 } });
  });
});

describe("counting", () => {
  test("discards are counted by reason", () => {
    const account = emptyAccount();
    countFrameDiscard(account, "malformed");
    countFrameDiscard(account, "malformed", 4);
    countFrameDiscard(account, "nul");
    countDiscard(account, "late", 2);
    countDiscard(account, "rejected");
    expect(account).toMatchObject({
      frameDiscards: { malformed: 5, nul: 1 },
      discards: { late: 2, rejected: 1 },
    });
  });

  test("notes of ever new names end in one common count", () => {
    const account = emptyAccount();
    for (let i = 0; i < 1_000; i++) countNote(account, `late:window-${i}`);
    countNote(account, "late:window-0");
    expect(Object.keys(account.notes).length).toBeLessThanOrEqual(201);
    expect(account.notes["late:window-0"]).toBe(2);
    expect(Object.values(account.notes).reduce((a, b) => a + b, 0)).toBe(1_001);
  });

  test("notes stay bounded over many batches, too", () => {
    const books: Ledger = new Map();
    for (let batch = 0; batch < 10; batch++) {
      const more: Ledger = new Map();
      for (let i = 0; i < 150; i++) countNote(accountOf(more, "a"), `late:window-${batch}-${i}`);
      mergeLedger(books, more);
    }
    const { notes } = accountOf(books, "a");
    expect(Object.values(notes).reduce((a, b) => a + b, 0)).toBe(1_500);
    expect(Object.keys(notes).length).toBeLessThanOrEqual(201);
  });

  test("accounts are made when they are first needed, and once", () => {
    const ledger: Ledger = new Map();
    accountOf(ledger, "a").frames++;
    accountOf(ledger, "a").frames++;
    expect(ledger.get("a")?.frames).toBe(2);
    expect(accountOf(ledger, "b")).toEqual(emptyAccount());
  });
});

test("merging adds every number of every source, and changes nothing of what is merged in", () => {
  const count = fc.nat(1_000);
  const account = fc.record({
    frames: count,
    decoded: count,
    frameDiscards: fc.dictionary(fc.constantFrom("malformed", "nul", "future"), count),
    ingested: count,
    published: count,
    discards: fc.dictionary(fc.constantFrom("late", "unrouted"), count),
    bad: count,
    gaps: fc.record({ counted: count, unknown: count }),
    notes: fc.dictionary(fc.constantFrom("notANumber", "late:hour"), count),
  });
  const ledger = fc.dictionary(fc.constantFrom("a", "b", "c"), account);
  /** Every number by its path. */
  const flat = (value: object, path = ""): [string, number][] =>
    Object.entries(value).flatMap(([key, below]) =>
      typeof below === "object"
        ? flat(below, `${path}/${key}`)
        : [[`${path}/${key}`, below] as [string, number]],
    );
  fc.assert(
    fc.property(ledger, ledger, (one, two) => {
      const total: Ledger = new Map(Object.entries(structuredClone(one)));
      const more: Ledger = new Map(Object.entries(structuredClone(two)));
      mergeLedger(total, more);
      const expected = new Map<string, number>();
      for (const [path, number] of [...flat(one), ...flat(two)]) {
        expected.set(path, (expected.get(path) ?? 0) + number);
      }
      const nonZero = (pairs: Iterable<[string, number]>) => [...pairs].filter(([, n]) => n !== 0).sort();
      expect(nonZero(flat(Object.fromEntries(total)))).toEqual(nonZero(expected));
      expect(Object.fromEntries(more)).toEqual(two);
    }),
  );
});
