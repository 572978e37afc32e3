import type { TimeQuality } from "../core/reading.ts";

interface ClockTold {
  readonly bootId: string;
  readonly quality: TimeQuality;
}

/**
 * Whether a silence means anything. Who could not be heard is not silent: behind input that was refused, or a process
 * that stood still, another clock entry tells the pipeline that listening begins anew.
 */
export class Hearing {
  #told: ClockTold | undefined;
  #hasMissed = false;

  /** The last clock entry, which is told again. */
  clock(told: ClockTold): void {
    this.#told = told;
  }

  /** Something came that was not taken, or may have come. */
  missed(): void {
    this.#hasMissed = true;
  }

  /** The clock entry that is due before the next tick; undefined when nothing was missed since the last. */
  takeAnew(): ClockTold | undefined {
    const told = this.#hasMissed ? this.#told : undefined;
    this.#hasMissed = false;
    return told;
  }
}
