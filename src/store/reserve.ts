import { closeSync, existsSync, openSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";

/** It is kept only where it is no burden. */
const plenty = 4;
/** It is written in pieces: all of it at once would stand in memory. */
const pieceBytes = 1_048_576;

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
    if (this.#freeBytes() < plenty * this.#bytes) return;
    try {
      // One of an earlier version, or of another bound, may be smaller.
      const there = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
      if (there >= this.#bytes) return;
      const file = openSync(this.#path, "w");
      try {
        const piece = Buffer.alloc(Math.min(pieceBytes, this.#bytes));
        for (let at = 0; at < this.#bytes; )
          at += writeSync(file, piece, 0, Math.min(piece.length, this.#bytes - at));
      } finally {
        closeSync(file);
      }
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
