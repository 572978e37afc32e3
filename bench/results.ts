import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What programs need, and what was measured quickly; git ignores it. */
export const resultsFolder = fileURLToPath(new URL("./results", import.meta.url));
/** What docs/performance.md is made of, so it is kept with it. */
export const roundsFolder = fileURLToPath(new URL("./rounds", import.meta.url));

/** One round of a cell: each of its programs once, one after the other. */
export interface Round<Run = unknown> {
  readonly cell: string;
  /** What was measured and how; a round of anything else is not one of this cell's. */
  readonly key: string;
  readonly at: string;
  /** Processor, memory and Node. */
  readonly machine?: string;
  readonly runs: Readonly<Record<string, Run>>;
}

/**
 * Rounds on the disk, one JSON line each, in a file per cell. A round counts only when it was finished, so that what
 * is paired was measured one after the other.
 */
export class Results {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  add(round: Round): void {
    // Behind a line that a kill cut off, it has to begin a new one.
    appendFileSync(this.#file(round.cell), `\n${JSON.stringify(round)}\n`);
  }

  /** Finished rounds of a cell, oldest first; all of them without `key`. A line that a kill cut off is none. */
  rounds<Run>(cell: string, key?: string): Round<Run>[] {
    const file = this.#file(cell);
    if (!existsSync(file)) return [];
    const rounds = readFileSync(file, "utf8").split("\n").flatMap(parsed) as Round<Run>[];
    return key === undefined ? rounds : rounds.filter((round) => round.key === key);
  }

  /** Those of the newest key. */
  latest<Run>(cell: string): Round<Run>[] {
    const all = this.rounds<Run>(cell);
    const key = all.at(-1)?.key;
    return all.filter((round) => round.key === key);
  }

  #file(cell: string): string {
    return join(this.#folder, `${cell}.jsonl`);
  }
}

function parsed(line: string): unknown[] {
  try {
    return [JSON.parse(line)];
  } catch {
    return [];
  }
}

/** Short fingerprint of a program's files and of how it is measured. */
export function keyOf(folder: string, how: unknown): string {
  const hash = createHash("sha256").update(JSON.stringify(how));
  const files = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: "utf8" }).sort() : [];
  for (const file of files)
    if (file.endsWith(".js")) hash.update(file).update(readFileSync(join(folder, file)));
  return hash.digest("hex").slice(0, 12);
}
