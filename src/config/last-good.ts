import { mkdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeDurably } from "../core/durable-file.ts";
import { hasCode, messageOf, TransientError } from "../core/errors.ts";
import { fingerprint, isObject, type JsonObject } from "../core/json.ts";
import { version } from "../version.ts";
import type { Move } from "./moved-hub.ts";

/** Starts that did not end in order, this many within this time, roll a configuration back. */
const crashLimit = 3;
const crashWindowMs = 300_000;

/** A configuration as it was merged from its layers, before defaults of the schema, and the twin's part of it. */
export interface SavedConfig {
  readonly hash: string;
  readonly merged: JsonObject;
  readonly twin: JsonObject;
  readonly twinVersion: number | undefined;
  /** Without it the hub is the one of file and environment, and the twin says nothing of it. */
  readonly move?: Move | undefined;
}

interface LastGoodFile {
  current?: SavedConfig;
  /** The one before `current`, kept until `current` has proved itself. */
  previous?: SavedConfig;
  /** Starts that have not ended in order, the running process's last: wall ms, and the configuration they ran. */
  starts: { readonly at: number; readonly hash: string }[];
  /** Configurations that were rolled back, newest first: that version of the program runs them no more. */
  rolledBack?: readonly RolledBack[];
}
interface RolledBack {
  readonly hash: string;
  readonly reason: string;
  readonly version: string;
}

/** How many rolled-back configurations are remembered. */
const rolledBackLimit = 16;

/**
 * The configuration that last ran, in a file beside the store, written so that a power cut leaves the old or the
 * new one. It survives restarts, gives `run` something to start with when the file is broken,
 * and rolls back a configuration that makes the process crash.
 */
export class LastGood {
  readonly #path: string;
  #file: LastGoodFile;

  /** A file that cannot be read counts as none: the gateway must start all the same. `problem` says so. */
  readonly problem: string | undefined;

  constructor(folder: string) {
    this.#path = join(folder, "configuration.json");
    const { file, problem } = load(this.#path);
    this.#file = file;
    this.problem = problem;
  }

  get current(): SavedConfig | undefined {
    return this.#file.current;
  }

  /** Why this version of the program gave that configuration up, if it did. */
  rollbackOf(hash: string): string | undefined {
    return this.#file.rolledBack?.find((entry) => entry.hash === hash && entry.version === version)?.reason;
  }

  /**
   * Notes a start with the configuration of that hash, which may never have been in force yet.
   * When that one ended badly too often and there is another to go back to, the other is returned and is `current`.
   * `hashOf` gives what a saved configuration comes to today, or undefined when it is of no use any more: an upgrade
   * can change both.
   */
  start(
    hash: string,
    nowMs: number,
    hashOf: (saved: SavedConfig) => string | undefined,
  ): SavedConfig | undefined {
    const { current, previous } = this.#file;
    const starts = this.#file.starts.filter(({ at }) => Math.abs(nowMs - at) < crashWindowMs);
    const crashes = starts.filter((start) => start.hash === hash).length;
    const usable = [previous, current].flatMap((saved) => {
      const today = saved && hashOf(saved);
      return saved && today !== undefined && today !== hash ? [{ ...saved, hash: today }] : [];
    });
    const earlier = usable[0];
    if (earlier && crashes >= crashLimit) {
      const reason = `the process ended ${crashes} times within ${crashWindowMs / 60_000} minutes`;
      this.#write({
        current: earlier,
        starts: [{ at: nowMs, hash: earlier.hash }],
        rolledBack: [{ hash, reason, version }, ...(this.#file.rolledBack ?? [])].slice(0, rolledBackLimit),
      });
      return earlier;
    }
    this.#write({ ...this.#file, starts: [...starts, { at: nowMs, hash }] });
    return undefined;
  }

  /** From now on a crash is the doing of the configuration of that hash, which need not be in force. */
  blame(hash: string, nowMs: number): void {
    this.#write({ ...this.#file, starts: [...this.#file.starts.slice(0, -1), { at: nowMs, hash }] });
  }

  /** The process ended in that configuration too often to try it again now. */
  isToBlame(hash: string, nowMs: number): boolean {
    const isCrash = (start: { readonly at: number; readonly hash: string }) =>
      start.hash === hash && Math.abs(nowMs - start.at) < crashWindowMs;
    return this.#file.starts.filter(isCrash).length >= crashLimit;
  }

  /** The process ends in order: its start was no crash. */
  stop(): void {
    this.#write({ ...this.#file, starts: this.#file.starts.slice(0, -1) });
  }

  /**
   * Confirms a configuration that is in force. The one before stays at hand until `prove`; of several that come
   * before that, it is the first, which had proved itself.
   */
  save(config: SavedConfig, nowMs: number): void {
    const { current, previous, starts } = this.#file;
    const same = current?.hash === config.hash;
    const isSameTwin = current?.twinVersion === config.twinVersion;
    if (same && isSameTwin && fingerprint(current.move ?? null) === fingerprint(config.move ?? null)) return;
    const before = same ? previous : (previous ?? current);
    this.#write({
      ...this.#file,
      current: config,
      ...(before ? { previous: before } : {}),
      // If this process crashes now, that is the new configuration's doing.
      starts: same ? starts : [...starts.slice(0, -1), { at: nowMs, hash: config.hash }],
    });
  }

  /** The configuration ran long enough: what crashes from now on is not its fault alone. */
  prove(): void {
    const { previous, ...file } = this.#file;
    if (previous) this.#write({ ...file, starts: [] });
  }

  #write(file: LastGoodFile): void {
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o750 });
      writeDurably(this.#path, JSON.stringify(file));
    } catch (error) {
      throw new TransientError("STORE_UNUSABLE", `writing ${this.#path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
    this.#file = file;
  }
}

/** How long a configuration has to run until `prove`. */
export const provenAfterMs = crashWindowMs;

function load(path: string): { file: LastGoodFile; problem: string | undefined } {
  try {
    const file: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (
      isObject(file) &&
      isListOf(file.starts, "at", "hash") &&
      isListOf(file.rolledBack ?? [], "hash", "reason")
    ) {
      return { file: file as unknown as LastGoodFile, problem: undefined };
    }
    return { file: { starts: [] }, problem: `${path} is not what this program writes; it is ignored` };
  } catch (error) {
    const missing = hasCode(error, "ENOENT");
    return {
      file: { starts: [] },
      problem: missing ? undefined : `${path} cannot be read: ${messageOf(error)}`,
    };
  }
}

function isListOf(value: unknown, ...keys: readonly string[]): boolean {
  return Array.isArray(value) && value.every((item) => isObject(item) && keys.every((key) => key in item));
}
