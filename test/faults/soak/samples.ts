import { appendFileSync } from "node:fs";
import type { Balance } from "../../../src/ledger/ledger.ts";
import { monotonicMs, sleep } from "../time.ts";
import { figuresOf, folderBytes, type ProcessFigures } from "./process-figures.ts";

export interface Sample extends ProcessFigures {
  readonly atSeconds: number;
  readonly storeBytes: number;
  readonly hub: string;
  readonly acked: number;
  readonly skipped: number;
  readonly frames: number;
  readonly arrived: number;
  readonly evicted: number;
  readonly outboxEntries: number;
  readonly outboxBytes: number;
  readonly messages: number;
  readonly position: number;
  readonly commits: number;
  readonly overshootMs: number;
  readonly queuedBytes: number;
  readonly harnessRssBytes: number;
  readonly book: Balance | undefined;
}

/** What is kept of each for the end; the rest stands in the file. */
export type KeptSample = Pick<
  Sample,
  "atSeconds" | "rssBytes" | "cpuMs" | "writtenBytes" | "commits" | "frames"
>;

export interface SamplesOptions {
  readonly file: string;
  readonly pid: number;
  readonly store: string;
  readonly rest: () => Promise<
    Omit<Sample, keyof ProcessFigures | "atSeconds" | "storeBytes" | "harnessRssBytes">
  >;
}

const everyMs = 10_000;
/** The files are looked at more often: what counts is the largest they ever were. */
const filesEveryMs = 500;

/** Measures a process again and again, into a file of JSON lines. */
export class Samples {
  readonly #options: SamplesOptions;
  readonly #startMs = monotonicMs();
  readonly kept: KeptSample[] = [];
  largestStore = { bytes: 0, atSeconds: 0 };
  last: Sample | undefined;
  #going = true;
  readonly #life: Promise<void>;

  constructor(options: SamplesOptions) {
    this.#options = options;
    this.#life = this.#live();
  }

  /** Rejects when a sample could not be taken. */
  get failed(): Promise<never> {
    return this.#life.then(() => new Promise<never>(() => undefined));
  }

  /** Safe twice. */
  async stop(): Promise<void> {
    this.#going = false;
    await this.#life;
  }

  async #live(): Promise<void> {
    for (let due = this.#startMs; this.#going; ) {
      const bytes = folderBytes(this.#options.store);
      if (bytes > this.largestStore.bytes)
        this.largestStore = { bytes, atSeconds: Math.round((monotonicMs() - this.#startMs) / 1_000) };
      if (monotonicMs() >= due) {
        await this.#take(bytes);
        due += everyMs;
      }
      await sleep(filesEveryMs);
    }
  }

  async #take(storeBytes: number): Promise<void> {
    const { file, pid, rest } = this.#options;
    const figures = figuresOf(pid);
    const sample: Sample = {
      atSeconds: Math.round((monotonicMs() - this.#startMs) / 1_000),
      ...figures,
      storeBytes,
      harnessRssBytes: process.memoryUsage.rss(),
      ...(await rest()),
    };
    appendFileSync(file, `${JSON.stringify(sample)}\n`);
    const { atSeconds, rssBytes, cpuMs, writtenBytes, commits, frames } = sample;
    this.kept.push({ atSeconds, rssBytes, cpuMs, writtenBytes, commits, frames });
    this.last = sample;
  }
}
