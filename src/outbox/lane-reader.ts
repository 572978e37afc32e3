import type { LaneCounters, Outbox, WaitingRow } from "./outbox.ts";

/** Entries of one lane that stand in no message, in order, read as far as they are wanted. */
export class LaneReader {
  readonly counters: LaneCounters;
  readonly #begin: "from" | "live";
  readonly #rows: Iterator<WaitingRow, void>;
  readonly #ahead: WaitingRow[] = [];
  #seen = 0;
  #isExhausted = false;

  /** `begin`: which of the lane's numbers it begins at, and moves on as entries are dropped. */
  constructor(outbox: Outbox, counters: LaneCounters, begin: "from" | "live", to: number) {
    this.counters = counters;
    this.#begin = begin;
    this.#rows = outbox.looseFrom(counters[begin], to);
    // Most lanes are empty at most commits, and need not be looked into.
    this.#isExhausted = counters.entries === 0;
  }

  get seen(): number {
    return this.#seen;
  }

  get isExhausted(): boolean {
    return this.#isExhausted;
  }

  at(index: number): WaitingRow | undefined {
    while (this.#ahead.length <= index && !this.#isExhausted) {
      const { value } = this.#rows.next();
      if (value) {
        this.#ahead.push(value);
        this.#seen++;
      } else this.#isExhausted = true;
    }
    return this.#ahead[index];
  }

  first(count: number): readonly WaitingRow[] {
    return this.#ahead.slice(0, count);
  }

  /** They stand in a message now. */
  drop(count: number): void {
    const last = this.#ahead.splice(0, count).at(-1);
    if (!last) return;
    const { counters } = this;
    // Where there is no backlog, it begins where the new ends.
    const isWithoutBacklog = counters.from === counters.live;
    if (this.#begin === "live") {
      counters.live = last.entry + 1;
      if (isWithoutBacklog) counters.from = counters.live;
    } else {
      counters.from = last.entry + 1;
      counters.live = Math.max(counters.live, counters.from);
    }
  }
}
