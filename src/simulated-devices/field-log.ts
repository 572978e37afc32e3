import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { hasCode } from "../core/errors.ts";
import type { EnvironmentValues, Garbling } from "./environment-readings.ts";
import type { DropReason } from "./serial-line.ts";

/**
 * What a device really did, one JSON line per reading, so that anyone can recompute what should have arrived.
 * `line` is exact: one character per byte (Latin-1), without the closing newline. Times are ISO 8601 UTC.
 */
export type FieldLogEntry =
  /** In full and intact; `sentAt` is when its last byte was written to the port. */
  | {
      readonly device: string;
      readonly seq: number;
      readonly sentAt: string;
      readonly line: string;
      readonly values: EnvironmentValues;
      /** The channel whose value is out of its range on purpose. */
      readonly spike?: keyof EnvironmentValues;
    }
  /** In full, but not as measured. `merged`: itself intact, behind a line that lost its newline. */
  | {
      readonly device: string;
      readonly seq: number;
      readonly sentAt: string;
      readonly line: string;
      readonly garbled: true;
      readonly garbling: Garbling | "merged";
    }
  /** Not sent, or not to its end. */
  | {
      readonly device: string;
      readonly seq: number;
      readonly droppedAt: string;
      readonly line: string;
      readonly dropped: true;
      readonly reason: DropReason;
    };

/** Appends synchronously: an entry survives the end of the process, and entries keep the order of events. */
export class FieldLog {
  readonly path: string;
  #file: number | undefined;
  #unwritten = 0;
  #failure: unknown;

  constructor(path: string) {
    this.path = path;
  }

  open(): void {
    this.#file ??= openSync(this.path, "a");
  }

  /** Never throws: a full disk must not stop the devices. `close` reports how much is missing, and why. */
  append(entry: FieldLogEntry): void {
    if (this.#failure !== undefined || this.#file === undefined) {
      this.#unwritten++;
      return;
    }
    const bytes = Buffer.from(`${JSON.stringify(entry)}\n`);
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(this.#file, bytes, written);
    } catch (error) {
      this.#failure = error;
      this.#unwritten++;
    }
  }

  /** Syncs and closes; throws when entries are missing. Safe twice, and without open. */
  close(): void {
    const file = this.#file;
    this.#file = undefined;
    if (file === undefined) return;
    try {
      fsyncSync(file);
    } catch (error) {
      // A pipe or /dev/null cannot be synced, and holds nothing to sync.
      if (!hasCode(error, "EINVAL")) this.#failure ??= error;
    } finally {
      closeSync(file);
    }
    if (this.#failure !== undefined) {
      throw new Error(`writing field log ${this.path}: ${this.#unwritten} entries missing`, {
        cause: this.#failure,
      });
    }
  }
}
