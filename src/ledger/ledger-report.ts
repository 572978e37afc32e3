import type { Accounts } from "../core/entry.ts";
import { type Balance, imbalances } from "./ledger.ts";

/** The books as they are told: to callers of the API, on the command line. */
export interface LedgerReport {
  readonly storeId: string;
  readonly addsUp: boolean;
  /** What does not add up, in words. */
  readonly imbalances: readonly string[];
  readonly totals: LedgerTotals;
  readonly sources: Readonly<Record<string, Balance>>;
}

export interface LedgerTotals {
  readonly frames: number;
  readonly decoded: number;
  readonly framesDiscarded: number;
  readonly ingested: number;
  readonly published: number;
  readonly held: number;
  readonly discarded: number;
  readonly gaps: Balance["gaps"];
}

export function ledgerReport(storeId: string, books: Readonly<Record<string, Balance>>): LedgerReport {
  const problems = imbalances(books);
  const { totals } = totalsPerSource(books);
  return { storeId, addsUp: problems.length === 0, imbalances: problems, totals, sources: books };
}

export function totalsPerSource(books: Readonly<Record<string, Balance>>): {
  readonly totals: LedgerTotals;
  readonly sources: Readonly<Record<string, LedgerTotals>>;
} {
  const each = Object.entries(books).map(([source, book]) => [source, totalsOf(book)] as const);
  const totals = each.reduce((sum, [, more]) => added(sum, more), nothing);
  return { totals, sources: Object.fromEntries(each) };
}

/** One source's books without the reasons. */
export function totalsOf(book: Balance): LedgerTotals {
  return {
    frames: book.frames,
    decoded: book.decoded,
    framesDiscarded: sum(book.frameDiscards as Accounts),
    ingested: book.ingested,
    published: book.published,
    held: book.held,
    discarded: sum(book.discards as Accounts),
    gaps: { ...book.gaps },
  };
}

const nothing: LedgerTotals = {
  frames: 0,
  decoded: 0,
  framesDiscarded: 0,
  ingested: 0,
  published: 0,
  held: 0,
  discarded: 0,
  gaps: { counted: 0, unknown: 0 },
};

function added(a: LedgerTotals, b: LedgerTotals): LedgerTotals {
  return {
    frames: a.frames + b.frames,
    decoded: a.decoded + b.decoded,
    framesDiscarded: a.framesDiscarded + b.framesDiscarded,
    ingested: a.ingested + b.ingested,
    published: a.published + b.published,
    held: a.held + b.held,
    discarded: a.discarded + b.discarded,
    gaps: { counted: a.gaps.counted + b.gaps.counted, unknown: a.gaps.unknown + b.gaps.unknown },
  };
}

const sum = (counts: Accounts) => Object.values(counts).reduce((a, b) => a + b, 0);
