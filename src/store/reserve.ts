import { existsSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** It is kept only where it is no burden. */
const plenty = 4;

/**
 * A file that holds nothing but room: when the disk is full it is given up, so that what makes room can be written.
 * It is made again when there is plenty. None of it ever fails: it is a help, and whoever needs it has other troubles.
 */
export class Reserve {
  readonly #folder: string;
  readonly #path: string;
  readonly #bytes: number;

  constructor(folder: string, file: string, bytes: number) {
    this.#folder = folder;
    this.#path = join(folder, `${file}.reserve`);
    this.#bytes = bytes;
  }

  /** Whether the disk has room again for what the reserve was given up for. */
  get isPlenty(): boolean {
    return this.#freeBytes() >= 2 * this.#bytes;
  }

  keep(): void {
    if (existsSync(this.#path) || this.#freeBytes() < plenty * this.#bytes) return;
    try {
      writeFileSync(this.#path, Buffer.alloc(this.#bytes));
    } catch {
      // A disk that does not take it needs the room that it took so far.
      this.release();
    }
  }

  /** True when there was one. */
  release(): boolean {
    if (!existsSync(this.#path)) return false;
    try {
      rmSync(this.#path);
      return true;
    } catch {
      // A disk that removes nothing any more gives no room either.
      return false;
    }
  }

  #freeBytes(): number {
    try {
      const { bavail, bsize } = statfsSync(this.#folder);
      return bavail * bsize;
    } catch {
      // What cannot be asked has no room to speak of.
      return 0;
    }
  }
}
