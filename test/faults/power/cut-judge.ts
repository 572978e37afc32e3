import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { checkConfig } from "../../../src/config/check.ts";
import { messageOf } from "../../../src/core/errors.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { imbalances } from "../../../src/ledger/ledger.ts";
import { Store } from "../../../src/store/store.ts";
import { type ArrivedEntry, arrivedOf } from "../../kill/arrived.ts";
import { numbersIn, readKeptJournal } from "../kept-journal.ts";
import { promisesBroken } from "../numbered-device.ts";
import { type Gathered, maxLossMs } from "./gather.ts";

export interface Cut {
  readonly name: string;
  /** When the life began and when the power went, CLOCK_MONOTONIC ms. */
  readonly begunMs: number;
  readonly monotonicMs: number;
  /** What is left, by path. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** Journal position that the process had taken for durable. */
  readonly committed: number;
}

/** A busy machine may hold up a process; what is lost much later than promised is not that any more. */
const tolerableMs = 2_000;

/** Opens the store on what a cut left, and compares it with what had been stored. */
export class CutJudge {
  readonly result = {
    counts: {
      cuts: 0,
      storesOpened: 0,
      committedFramesLost: 0,
      cutsWithCommittedFramesLost: 0,
      readingsLostLaterThanPromised: 0,
      latestLossMs: 0,
      imbalances: 0,
      integrityProblems: 0,
    },
    problems: [] as string[],
  };
  readonly #gathered: Gathered;
  readonly #scratch: string;
  readonly #settings: ConstructorParameters<typeof Store>[1];

  constructor(gathered: Gathered, scratch: string) {
    this.#gathered = gathered;
    this.#scratch = scratch;
    this.#settings = checkConfig(gathered.config as unknown as JsonObject).config.store;
  }

  /** Last position of the journal in files that are whole; 0 without a store. */
  positionOf(files: ReadonlyMap<string, Buffer>): number {
    const path = this.#write(files);
    if (!existsSync(path)) return 0;
    const database = new DatabaseSync(path);
    try {
      const tables = database.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'journal'").get();
      if (tables?.n === 0) return 0;
      return (database.prepare("SELECT ifnull(max(position), 0) AS position FROM journal").get()?.position ??
        0) as number;
    } finally {
      database.close();
    }
  }

  judge(cut: Cut): void {
    const { counts, problems } = this.result;
    counts.cuts++;
    const path = this.#write(cut.files);
    let unbalanced: string[];
    try {
      const store = new Store(dirname(path), this.#settings);
      try {
        store.open();
        unbalanced = imbalances(store.audit());
      } finally {
        store.close();
      }
      counts.storesOpened++;
    } catch (error) {
      problems.push(`${cut.name}: the store does not open: ${messageOf(error)}`);
      return;
    }
    if (unbalanced.length > 0) {
      counts.imbalances++;
      problems.push(`${cut.name}: ${unbalanced.join("; ")}`);
    }
    try {
      this.#compare(cut, path);
    } catch (error) {
      problems.push(`${cut.name}: ${messageOf(error)}`);
    }
  }

  #compare(cut: Cut, path: string): void {
    const { counts, problems } = this.result;
    const { journal, sent, arrived } = this.#gathered;
    const left = readKeptJournal(path, { withLines: false });
    if (left.integrity !== "ok") {
      counts.integrityProblems++;
      problems.push(`${cut.name}: SQLite's check says ${left.integrity}`);
    }
    const differs = left.digests.findIndex((digest, index) => digest !== journal.digests[index]);
    const kept = differs < 0 ? left.position : differs;
    // What was written and not yet answered may be there or not, but never in other bytes.
    if (differs >= 0) problems.push(`${cut.name}: journal position ${differs + 1} holds other bytes`);
    const upTo = (position: number) => journal.linesUpTo[position] ?? 0;
    const lost = upTo(cut.committed) - upTo(Math.min(kept, cut.committed));
    if (kept < cut.committed) {
      counts.cutsWithCommittedFramesLost++;
      counts.committedFramesLost += lost;
      problems.push(`${cut.name}: ${lost} committed frames lost, from position ${kept} to ${cut.committed}`);
    }
    const stored = new Set(numbersIn(journal.lines.slice(0, upTo(kept))));
    const broken = promisesBroken(sent, stored, {
      sinceMs: cut.begunMs,
      diedMs: cut.monotonicMs,
      maxLossMs,
    });
    counts.readingsLostLaterThanPromised += broken.count;
    counts.latestLossMs = Math.max(counts.latestLossMs, Math.round(broken.longestMs));
    if (broken.longestMs > maxLossMs + tolerableMs) {
      problems.push(`${cut.name}: a reading is lost that was ${Math.round(broken.longestMs)} ms old`);
    }
    const told = left.waiting.flatMap((body) => {
      const entry = JSON.parse(body) as ArrivedEntry;
      const before = arrived.get(`${entry.id} ${entry.revision}`);
      return before ? [before, entry] : [];
    });
    problems.push(...this.#twofold(told).map((problem) => `${cut.name}: ${problem}`));
  }

  /** Entries that the hub knows with another content than the one that waits. */
  #twofold(entries: readonly ArrivedEntry[]): string[] {
    return arrivedOf(entries).problems.filter((problem) => problem.includes("came twice"));
  }

  #write(files: ReadonlyMap<string, Buffer>): string {
    rmSync(this.#scratch, { recursive: true, force: true });
    return writeFiles(files, this.#gathered.root, this.#scratch);
  }
}

/** Puts files from below `root` below `folder`; returns where the database is. */
export function writeFiles(files: ReadonlyMap<string, Buffer>, root: string, folder: string): string {
  mkdirSync(join(folder, "store"), { recursive: true });
  for (const [path, bytes] of files) {
    const to = join(folder, relative(root, path));
    mkdirSync(dirname(to), { recursive: true });
    writeFileSync(to, bytes);
  }
  return join(folder, "store", "headgate.db");
}
