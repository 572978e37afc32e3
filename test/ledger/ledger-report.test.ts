import { expect, test } from "vitest";
import { emptyAccount } from "../../src/ledger/ledger.ts";
import { ledgerReport } from "../../src/ledger/ledger-report.ts";

const book = {
  ...emptyAccount(),
  frames: 10,
  decoded: 7,
  frameDiscards: { malformed: 2, nul: 1 },
  ingested: 12,
  published: 5,
  held: 3,
  discards: { late: 3, unrouted: 1 },
  gaps: { counted: 4, unknown: 1 },
};
const totals = {
  frames: 10,
  decoded: 7,
  framesDiscarded: 3,
  ingested: 12,
  published: 5,
  held: 3,
  discarded: 4,
  gaps: { counted: 4, unknown: 1 },
};

test("the totals are those of all sources, and the sources stand as they are", () => {
  const books = { a: book, b: { ...book, frames: 11, decoded: 8 } };
  expect(ledgerReport("id", books)).toEqual({
    storeId: "id",
    addsUp: true,
    imbalances: [],
    totals: {
      frames: 21,
      decoded: 15,
      framesDiscarded: 6,
      ingested: 24,
      published: 10,
      held: 6,
      discarded: 8,
      gaps: { counted: 8, unknown: 2 },
    },
    sources: books,
  });
  expect(ledgerReport("id", { a: book }).totals).toEqual(totals);
});

test("no source is in order", () => {
  expect(ledgerReport("id", {})).toMatchObject({ addsUp: true, totals: { frames: 0, gaps: { counted: 0 } } });
});

test("two errors that cancel each other out in the totals do not pass", () => {
  const { addsUp, imbalances } = ledgerReport("id", {
    a: { ...book, published: 6 },
    b: { ...book, published: 4 },
  });
  expect([addsUp, imbalances.length]).toEqual([false, 2]);
});
