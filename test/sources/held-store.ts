import { type JournalEntry, readBatch } from "../../src/journal/batch.ts";
import type { Commit } from "../../src/store/contract.ts";
import { emptyStatus } from "../journal/running-intake.ts";

/** Commits wait while it is held; what they hold is told the moment they are done. */
export class HeldStore {
  held = false;
  readonly committed: JournalEntry[] = [];
  commits = 0;
  #waiting: (() => void)[] = [];

  async commit(commit: Commit) {
    if (this.held) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.commits++;
    this.committed.push(...readBatch(commit.batch.slice()));
    return emptyStatus;
  }

  release(): void {
    this.held = false;
    for (const go of this.#waiting.splice(0)) go();
  }

  get frames(): string[] {
    return this.committed.flatMap((e) => (e.type === "frame" ? [Buffer.from(e.bytes).toString()] : []));
  }
}
