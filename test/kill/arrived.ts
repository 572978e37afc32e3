import { existsSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { type CommittedReading, type Expectation, parse } from "./oracle.ts";

/** What the tests read of an entry. */
export interface ArrivedEntry {
  readonly id: string;
  readonly revision: number;
  readonly kind?: string;
  /** Of readings and alarms. */
  readonly time?: string;
  readonly channel?: string;
  readonly from?: string;
  readonly to?: string;
  readonly value?: number;
  readonly device: string;
  readonly windowStart: string;
  readonly count: number;
  readonly channels: Readonly<
    Record<
      string,
      { count: number; mean: number; sum: number; min: number; max: number; value?: number; quality?: string }
    >
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
    // Gaps, readings and alarms are of no window.
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
    const want =
      count > 0
        ? { count, sum, mean: sum / count, min, max }
        : { count, sum: undefined, mean: undefined, min: undefined, max: undefined };
    const have = told && { count: told.count, sum: told.sum, mean: told.mean, min: told.min, max: told.max };
    if (!isDeepStrictEqual(have, want)) {
      problems.push(`window ${key} is ${JSON.stringify(have)}, not ${JSON.stringify(want)}`);
    }
  }
  return problems;
}

/** Every way in which the readings that came by themselves are not those that were committed, each once. */
export function compareReadings(lines: readonly string[], { entries }: Arrived, maxGood: number): string[] {
  const missing = new Map<string, number>();
  const problems: string[] = [];
  for (const { device, timeMs, temperature } of committed(lines)) {
    const key = `${device} ${timeMs} ${temperature} ${temperature <= maxGood ? "good" : "bad"}`;
    missing.set(key, (missing.get(key) ?? 0) + 1);
  }
  for (const { kind, device, time, channels } of entries.values()) {
    if (kind !== "reading") continue;
    const { value, quality } = channels.temperature ?? {};
    const key = `${device} ${Date.parse(time ?? "")} ${value} ${quality}`;
    const left = (missing.get(key) ?? 0) - 1;
    if (left < 0) problems.push(`reading ${key} is too much`);
    else if (left === 0) missing.delete(key);
    else missing.set(key, left);
  }
  for (const [key, count] of missing) problems.push(`reading ${key} is missing, ${count} times`);
  return problems;
}

/** Alarms of a channel follow one another, each tells of a committed reading, and the last one tells how it is. */
export function alarmProblems(lines: readonly string[], { entries }: Arrived, maxGood: number): string[] {
  const problems: string[] = [];
  const stateOf = ({ temperature }: CommittedReading) => (temperature <= maxGood ? "good" : "bad");
  const known = new Set<string>();
  const newest = new Map<string, CommittedReading>();
  for (const reading of committed(lines)) {
    const { device, timeMs, temperature } = reading;
    known.add(`${device} ${timeMs} ${temperature} ${stateOf(reading)}`);
    // Older than what was judged: it changes nothing.
    if (timeMs >= (newest.get(device)?.timeMs ?? 0)) newest.set(device, reading);
  }
  const told = new Map<string, string | undefined>();
  for (const { kind, device, channel, time, value, from, to } of entries.values()) {
    if (kind !== "alarm" || channel === undefined) continue;
    const key = `${device} ${Date.parse(time ?? "")} ${value} ${to}`;
    if (!known.has(key)) problems.push(`alarm ${key} tells of no reading`);
    const before = told.get(device);
    if (told.has(device) ? from !== before : from === "bad")
      problems.push(`alarm ${key} follows ${before}, not ${from}`);
    told.set(device, to);
  }
  for (const [device, reading] of newest) {
    const state = told.get(device) ?? "good";
    if (state !== stateOf(reading)) problems.push(`${device} is told as ${state}, and is not`);
  }
  return problems;
}

const committed = (lines: readonly string[]) => lines.flatMap((line) => parse(line) ?? []);
