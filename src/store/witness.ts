import { closeSync, constants, existsSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Bytes of the file: one sector holds it, so that a power cut leaves an old or a new one. */
const recordBytes = 64;

/**
 * Says how far the store had come, in a file of its own: it is written behind each commit and never synced, so it costs
 * next to nothing, may be older than the store, and can never be ahead of it. When it is, commits are missing: a
 * write-ahead log that was cut off or left behind looks to SQLite like one that never was longer.
 */
export class Witness {
  readonly #path: string;
  #file: number | undefined;

  /** `file`: name of the store's file. */
  constructor(folder: string, file: string) {
    this.#path = join(folder, `${file}.position`);
  }

  get exists(): boolean {
    return existsSync(this.#path);
  }

  write(storeId: string, position: number): void {
    try {
      this.#file ??= openSync(this.#path, constants.O_RDWR | constants.O_CREAT, 0o640);
      writeSync(this.#file, `${storeId} ${position} `.padEnd(recordBytes), 0);
    } catch {
      // A disk that does not take it: the next commit says so louder than this could.
      this.close();
    }
  }

  /** Undefined when there is none, or none of that store. */
  read(storeId: string): number | undefined {
    try {
      const [id, position] = readFileSync(this.#path, "utf8").trim().split(" ");
      return id === storeId && position !== undefined ? Number(position) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Never throws: it stands behind a commit, which must not be made again for it. */
  close(): void {
    const file = this.#file;
    this.#file = undefined;
    try {
      if (file !== undefined) closeSync(file);
    } catch {
      // Linux releases the file whatever it says, and what it could not write is known to be old.
    }
  }
}
