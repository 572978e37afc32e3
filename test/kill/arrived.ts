import { existsSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import type { Expectation } from "./oracle.ts";

/** What the tests read of an entry. */
export interface ArrivedEntry {
  readonly id: string;
  readonly revision: number;
  readonly kind?: string;
  readonly device: string;
  readonly windowStart: string;
  readonly count: number;
  readonly channels: Readonly<
    Record<string, { count: number; mean: number; sum: number; min: number; max: number }>
  >;
}

export interface Arrived {
  /** By `id revision`. */
  readonly entries: ReadonlyMap<string, ArrivedEntry>;
  /** Highest revision, by `device windowStartMs`. */
  readonly final: ReadonlyMap<string, ArrivedEntry>;
  /** Highest revision, by id. */
  readonly finalById: ReadonlyMap<string, ArrivedEntry>;
  /** Entries that came again. */
  readonly repeats: number;
  /** Repeats that differ from the first. */
  readonly twofold: readonly string[];
  /** Revisions that never came. */
  readonly missing: readonly string[];
  /** Windows with two ids. */
  readonly twoIds: readonly string[];
}

/** The hub's message log. */
export function readArrived(messageLog: string): Arrived {
  const text = existsSync(messageLog) ? readFileSync(messageLog, "utf8").trim() : "";
  const lines = text === "" ? [] : text.split("\n");
  return arrivedOf(lines.flatMap((line) => (JSON.parse(line) as { body: ArrivedEntry[] }).body));
}

export function arrivedOf(all: readonly ArrivedEntry[]): Arrived {
  const entries = new Map<string, ArrivedEntry>();
  const final = new Map<string, ArrivedEntry>();
  const finalById = new Map<string, ArrivedEntry>();
  const twofold: string[] = [];
  const missing: string[] = [];
  const twoIds: string[] = [];
  let repeats = 0;
  // How an entry came is no part of what it says: one of a damaged message may come again as backlog.
  for (const { backfill: _, ...entry } of all as readonly (ArrivedEntry & { backfill?: true })[]) {
    const key = `${entry.id} ${entry.revision}`;
    const before = entries.get(key);
    if (before) {
      repeats++;
      if (!isDeepStrictEqual(entry, before)) {
        twofold.push(`${key} came twice: ${JSON.stringify(before)} and ${JSON.stringify(entry)}`);
      }
      continue;
    }
    entries.set(key, entry);
    // What tells of a gap is of no window.
    if (entry.kind !== undefined && entry.kind !== "window") continue;
    const window = `${entry.device} ${Date.parse(entry.windowStart)}`;
    const last = final.get(window);
    if (last && entry.id !== last.id) twoIds.push(`window ${window} has the ids ${last.id} and ${entry.id}`);
    if (!last || entry.revision > last.revision) final.set(window, entry);
    if (entry.revision >= (finalById.get(entry.id)?.revision ?? 0)) finalById.set(entry.id, entry);
  }
  for (const { id, revision } of finalById.values()) {
    for (let before = 0; before < revision; before++) {
      if (!entries.has(`${id} ${before}`)) missing.push(`revision ${before} of ${id} is missing`);
    }
  }
  return { entries, final, finalById, repeats, twofold, missing, twoIds };
}

/** Every way in which what arrived is not what the oracle expects. */
export function compare(expected: Expectation, arrived: Arrived, channel = "temperature"): string[] {
  const problems = [...arrived.twofold, ...arrived.missing, ...arrived.twoIds];
  for (const key of arrived.final.keys()) {
    if (!expected.windows.has(key)) problems.push(`window ${key} is too much`);
  }
  for (const [key, { count, sum, min, max }] of expected.windows) {
    const entry = arrived.final.get(key);
    if (!entry) {
      problems.push(`window ${key} is missing, with ${count} readings`);
      continue;
    }
    const told = entry.channels[channel];
    const want = { count, sum, mean: sum / count, min, max };
    const have = told && { count: told.count, sum: told.sum, mean: told.mean, min: told.min, max: told.max };
    if (!isDeepStrictEqual(have, want)) {
      problems.push(`window ${key} is ${JSON.stringify(have)}, not ${JSON.stringify(want)}`);
    }
  }
  return problems;
}
