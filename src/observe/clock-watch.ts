import type { TimeQuality } from "../core/reading.ts";

/** Follows what is known of the wall clock, within a boot and over restarts of the process. */
export class ClockWatch {
  readonly bootId: string;
  readonly #read: () => TimeQuality;
  #quality: TimeQuality;
  #wasSynced: boolean;

  /** `before`: what an earlier process knew, of whichever boot. */
  constructor(
    read: () => TimeQuality,
    bootId: string,
    before: { readonly id: string; readonly wasSynced: boolean } | undefined,
  ) {
    this.bootId = bootId;
    this.#read = read;
    this.#wasSynced = before?.id === bootId && before.wasSynced;
    this.#quality = this.#judge();
  }

  get quality(): TimeQuality {
    return this.#quality;
  }

  /** Looks again; true when the quality changed. */
  look(): boolean {
    const before = this.#quality;
    this.#quality = this.#judge();
    return this.#quality !== before;
  }

  #judge(): TimeQuality {
    const now = this.#read();
    if (now !== "unsynced") this.#wasSynced = true;
    return now === "unsynced" && this.#wasSynced ? "holdover" : now;
  }
}
