import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { messageOf, TransientError } from "../core/errors.ts";
import { isObject, type JsonObject } from "../core/json.ts";

/** Starts that did not end in order, this many within this time, roll a configuration back. */
const crashLimit = 3;
const crashWindowMs = 300_000;

/** A configuration as it was merged from its layers, before defaults of the schema, and the twin's part of it. */
export interface SavedConfig {
  readonly hash: string;
  readonly merged: JsonObject;
  readonly twin: JsonObject;
  readonly twinVersion: number | undefined;
}

interface LastGoodFile {
  current?: SavedConfig;
  /** The one before `current`, kept until `current` has proved itself. */
  previous?: SavedConfig;
  /** Wall ms of the starts since `current` came into force that have not ended in order. */
  starts: number[];
  /** The configuration that was rolled back, so that the same one is not put in force again. */
  rolledBack?: { readonly hash: string; readonly reason: string };
}

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

  get rolledBack(): LastGoodFile["rolledBack"] {
    return this.#file.rolledBack;
  }

  /**
   * Notes a start. Returns the configuration that was given up when the crash limit is reached and there is an
   * earlier one to go back to, which then is `current`.
   */
  start(nowMs: number): SavedConfig | undefined {
    const { current, previous } = this.#file;
    const starts = this.#file.starts.filter((at) => nowMs - at < crashWindowMs && at <= nowMs);
    if (current && previous && starts.length >= crashLimit) {
      const reason = `the process ended ${starts.length} times within ${crashWindowMs / 60_000} minutes`;
      this.#write({
        current: previous,
        starts: [nowMs],
        rolledBack: { hash: current.hash, reason },
      });
      return current;
    }
    // Without a configuration that ever ran there is nothing to count crashes for, nor a folder to write to.
    if (current) this.#write({ ...this.#file, starts: [...starts, nowMs] });
    return undefined;
  }

  /** The process ends in order: its start was no crash. */
  stop(): void {
    if (this.#file.current) this.#write({ ...this.#file, starts: this.#file.starts.slice(0, -1) });
  }

  /** Confirms a configuration that is in force. The one before stays at hand until `prove`. */
  save(config: SavedConfig, nowMs: number): void {
    const { current, previous, rolledBack } = this.#file;
    if (current?.hash === config.hash && current.twinVersion === config.twinVersion) return;
    const same = current?.hash === config.hash;
    const before = same ? previous : current;
    this.#write({
      current: config,
      ...(before ? { previous: before } : {}),
      // Crashes of the former configuration are not the new one's; this start is.
      starts: same ? this.#file.starts : [nowMs],
      ...(rolledBack ? { rolledBack } : {}),
    });
  }

  /** The configuration ran long enough: what crashes from now on is not its fault alone. */
  prove(): void {
    const { current, rolledBack } = this.#file;
    if (!this.#file.previous) return;
    this.#write({ ...(current ? { current } : {}), starts: [], ...(rolledBack ? { rolledBack } : {}) });
  }

  #write(file: LastGoodFile): void {
    this.#file = file;
    const temporary = `${this.#path}.new`;
    try {
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o750 });
      const handle = openSync(temporary, "w", 0o640);
      try {
        writeFileSync(handle, JSON.stringify(file));
        fsyncSync(handle);
      } finally {
        closeSync(handle);
      }
      renameSync(temporary, this.#path);
      const folder = openSync(dirname(this.#path), "r");
      try {
        fsyncSync(folder);
      } finally {
        closeSync(folder);
      }
    } catch (error) {
      throw new TransientError("STORE_UNUSABLE", `writing ${this.#path}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
}

/** How long a configuration has to run until `prove`. */
export const provenAfterMs = crashWindowMs;

function load(path: string): { file: LastGoodFile; problem: string | undefined } {
  try {
    const file: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (isObject(file) && Array.isArray(file.starts)) {
      return { file: file as unknown as LastGoodFile, problem: undefined };
    }
    return { file: { starts: [] }, problem: `${path} is not what this program writes; it is ignored` };
  } catch (error) {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    return {
      file: { starts: [] },
      problem: missing ? undefined : `${path} cannot be read: ${messageOf(error)}`,
    };
  }
}
