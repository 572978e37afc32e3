import { type Accounts, addAccounts } from "../core/entry.ts";
import type { FrameDiscard, ReadingDiscard } from "../core/reading.ts";

/**
 * The books of one source. Two identities hold at every commit:
 * `frames = decoded + Σ frameDiscards` and `ingested = published + held + Σ discards`,
 * where `held` is counted from the open windows and the outbox, not derived from the others.
 */
export interface Account {
  /** Frames received, decoded or not. */
  frames: number;
  decoded: number;
  frameDiscards: Partial<Record<FrameDiscard, number>>;
  /** Readings; one frame may carry several. */
  ingested: number;
  published: number;
  discards: Partial<Record<ReadingDiscard, number>>;
  /** Readings with a value of quality bad; they are published like others, as the `bad` count of their window. */
  bad: number;
  /** Losses before a commit: known counts, and occurrences where nobody can know. */
  gaps: { counted: number; unknown: number };
  /** Counted side effects that move no reading, such as `notANumber` for a value that no channel could take. */
  notes: Record<string, number>;
}

export type Ledger = Map<string, Account>;

export function emptyAccount(): Account {
  return {
    frames: 0,
    decoded: 0,
    frameDiscards: {},
    ingested: 0,
    published: 0,
    discards: {},
    bad: 0,
    gaps: { counted: 0, unknown: 0 },
    notes: {},
  };
}

/** The account of a source, made when it is first needed. */
export function accountOf(ledger: Ledger, source: string): Account {
  let account = ledger.get(source);
  if (!account) {
    account = emptyAccount();
    ledger.set(source, account);
  }
  return account;
}

export function countFrameDiscard(account: Account, reason: FrameDiscard, count = 1): void {
  account.frameDiscards[reason] = (account.frameDiscards[reason] ?? 0) + count;
}

/** One that came, or would have, and brings nothing. */
export function discardFrame(ledger: Ledger, source: string, reason: FrameDiscard, count = 1): void {
  const account = accountOf(ledger, source);
  account.frames += count;
  countFrameDiscard(account, reason, count);
}

export function countDiscard(account: Account, reason: ReadingDiscard, count = 1): void {
  account.discards[reason] = (account.discards[reason] ?? 0) + count;
}

export function countNote(account: Account, note: string, count = 1): void {
  // Notes carry names from the configuration; a bound keeps a runaway from growing the row without end.
  const key = note in account.notes || Object.keys(account.notes).length < 200 ? note : "other";
  account.notes[key] = (account.notes[key] ?? 0) + count;
}

/** Adds `more` to `ledger`. */
export function mergeLedger(ledger: Ledger, more: Ledger): void {
  for (const [source, from] of more) {
    const to = accountOf(ledger, source);
    to.frames += from.frames;
    to.decoded += from.decoded;
    to.ingested += from.ingested;
    to.published += from.published;
    to.bad += from.bad;
    to.gaps.counted += from.gaps.counted;
    to.gaps.unknown += from.gaps.unknown;
    addAccounts(to.frameDiscards as Record<string, number>, from.frameDiscards as Accounts);
    addAccounts(to.discards as Record<string, number>, from.discards as Accounts);
    for (const [note, count] of Object.entries(from.notes)) countNote(to, note, count);
  }
}

/** One source's books with what is held right now. */
export interface Balance extends Account {
  readonly held: number;
}

export function balances(ledger: Ledger, held: Accounts): Record<string, Balance> {
  return Object.fromEntries(
    [...ledger].map(([source, account]) => [source, { ...account, held: held[source] ?? 0 }]),
  );
}

/**
 * Makes the second identity hold where a part of what was held is gone, by discards of that reason.
 * Returns what was missing, per source. More held than the books know of means that they are older: it came in, so it
 * counts.
 */
export function settle(ledger: Ledger, held: Accounts, reason: ReadingDiscard): Record<string, number> {
  const missing: Record<string, number> = {};
  for (const source of Object.keys(held)) accountOf(ledger, source);
  for (const [source, account] of ledger) {
    const discarded = Object.values(account.discards).reduce((sum: number, count) => sum + count, 0);
    const lost = account.ingested - account.published - discarded - (held[source] ?? 0);
    if (lost < 0) account.ingested -= lost;
    if (lost <= 0) continue;
    countDiscard(account, reason, lost);
    missing[source] = lost;
  }
  return missing;
}

/** What does not add up, in words; empty when both identities hold for every source. */
export function imbalances(books: Readonly<Record<string, Balance>>): string[] {
  const sum = (counts: Readonly<Record<string, number>>) => Object.values(counts).reduce((a, b) => a + b, 0);
  const problems: string[] = [];
  for (const [source, b] of Object.entries(books)) {
    const frameDiscards = sum(b.frameDiscards as Accounts);
    const discards = sum(b.discards as Accounts);
    if (b.frames !== b.decoded + frameDiscards) {
      problems.push(`${source}: ${b.frames} frames, but ${b.decoded} decoded + ${frameDiscards} discarded`);
    }
    if (b.ingested !== b.published + b.held + discards) {
      problems.push(
        `${source}: ${b.ingested} ingested, but ${b.published} published + ${b.held} held + ${discards} discarded`,
      );
    }
  }
  return problems;
}
