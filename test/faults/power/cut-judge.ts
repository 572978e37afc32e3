import { createHash } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { checkConfig } from "../../../src/config/check.ts";
import { messageOf } from "../../../src/core/errors.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { imbalances } from "../../../src/ledger/ledger.ts";
import { StoreKeeper } from "../../../src/store/store-keeper.ts";
import { storeSettings } from "../../../src/store/store-settings.ts";
import { type ArrivedEntry, arrivedOf } from "../../kill/arrived.ts";
import { numbersIn, readStore } from "../kept-journal.ts";
import { promisesBroken } from "../numbered-device.ts";
import { easyLossMs, type Gathered, type Life } from "./gather.ts";

export interface Cut {
  readonly name: string;
  readonly life: Life;
  /** When the power went, CLOCK_MONOTONIC ms. */
  readonly monotonicMs: number;
  /** What is left, by path. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** What the process had taken for durable. */
  readonly committed: Contents;
  /** The commit behind it, which it may have been in the middle of: it may be there or not. */
  readonly begun: () => Contents | undefined;
}

/** What a database holds, whatever its files look like. */
export interface Contents {
  /** Last position of the journal; 0 without one. */
  readonly position: number;
  /** Of every row of every table. */
  readonly digest: string;
}

/** A busy machine may hold up a process; what is lost much later than promised is not that any more. */
const tolerableMs = 5_000;

/** Opens the store on what a cut left, as the gateway does, and compares it with what had been stored. */
export class CutJudge {
  readonly result = {
    counts: {
      cuts: 0,
      storesOpened: 0,
      takenForDamaged: 0,
      commitsLost: 0,
      otherContents: 0,
      readingsLostLaterThanPromised: 0,
      cutsOfEasyPromises: 0,
      ofThemReadingsLostLater: 0,
      longestBeyondMs: 0,
      imbalances: 0,
      integrityProblems: 0,
    },
    problems: [] as string[],
  };
  readonly #gathered: Gathered;
  readonly #scratch: string;
  readonly #settings: ReturnType<typeof storeSettings>;

  constructor(gathered: Gathered, scratch: string) {
    this.#gathered = gathered;
    this.#scratch = scratch;
    this.#settings = storeSettings(checkConfig(gathered.config as unknown as JsonObject).config);
  }

  contentsOf(files: ReadonlyMap<string, Buffer>): Contents {
    const path = this.#write(files);
    if (!existsSync(path)) return { position: 0, digest: createHash("sha1").digest("hex") };
    const database = new DatabaseSync(path);
    try {
      const hash = createHash("sha1");
      let position = 0;
      const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name");
      for (const { name } of tables.all() as { name: string }[]) {
        // By rowid: in the order of the pages it would differ from file to file.
        for (const row of database.prepare(`SELECT * FROM "${name}" ORDER BY 1`).iterate()) {
          for (const value of Object.values(row))
            hash.update(value instanceof Uint8Array ? value : `${value};`);
          if (name === "journal") position = Number(row.position);
        }
      }
      return { position, digest: hash.digest("hex") };
    } finally {
      database.close();
    }
  }

  judge(cut: Cut): void {
    const { counts, problems } = this.result;
    counts.cuts++;
    try {
      this.#compareContents(cut, this.contentsOf(cut.files));
    } catch (error) {
      problems.push(`${cut.name}: SQLite cannot read it: ${messageOf(error)}`);
    }
    const path = this.#write(cut.files);
    let unbalanced: string[];
    try {
      const keeper = new StoreKeeper(dirname(path), this.#settings, () => undefined);
      try {
        keeper.open();
        unbalanced = imbalances(keeper.audit());
        // The files beside the store must never say more than the store itself, whatever of them a cut leaves.
        const damage = keeper.status?.damage;
        if (damage) {
          counts.takenForDamaged++;
          problems.push(`${cut.name}: the store is taken for damaged: ${damage.reason}`);
        }
      } finally {
        keeper.close();
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
    const left = readStore(path);
    if (left.integrity !== "ok") {
      counts.integrityProblems++;
      problems.push(`${cut.name}: SQLite's check says ${left.integrity}`);
    }
    if (journal) {
      const { maxLossMs } = cut.life;
      const upTo = journal.linesUpTo[left.position] ?? 0;
      const broken = promisesBroken(sent, new Set(numbersIn(journal.lines.slice(0, upTo))), {
        sinceMs: at(cut.life.operations, 0).monotonicMs,
        // What comes while it stops may stay in the port.
        untilMs: Math.min(cut.monotonicMs, cut.life.askedMs),
        diedMs: cut.monotonicMs,
        maxLossMs,
      });
      counts.readingsLostLaterThanPromised += broken.count;
      if (maxLossMs === easyLossMs) {
        counts.cutsOfEasyPromises++;
        counts.ofThemReadingsLostLater += broken.count;
      }
      if (broken.count > 0)
        counts.longestBeyondMs = Math.max(counts.longestBeyondMs, Math.round(broken.longestMs - maxLossMs));
      if (broken.longestMs > maxLossMs + tolerableMs) {
        problems.push(`${cut.name}: a reading is lost that was ${Math.round(broken.longestMs)} ms old`);
      }
    }
    const told = left.waiting.flatMap((body) => {
      const entry = JSON.parse(body) as ArrivedEntry;
      const before = arrived.get(`${entry.id} ${entry.revision}`);
      return before ? [before, entry] : [];
    });
    problems.push(...arrivedOf(told).twofold.map((problem) => `${cut.name}: ${problem}`));
  }

  #compareContents(cut: Cut, left: Contents): void {
    const { counts, problems } = this.result;
    const { committed, begun } = cut;
    if (left.digest === committed.digest || left.digest === begun()?.digest) return;
    if (left.position < committed.position) {
      counts.commitsLost += committed.position - left.position;
      problems.push(
        `${cut.name}: commits are lost, ${left.position} is the last and ${committed.position} was done`,
      );
    } else {
      counts.otherContents++;
      problems.push(
        `${cut.name}: the rows are not those of the commit ${committed.position} nor of the next`,
      );
    }
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

export function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`there is no operation ${index}`);
  return item;
}
