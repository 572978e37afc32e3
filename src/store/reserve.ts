import { existsSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** It is kept only where it is no burden. */
const plenty = 4;

/**
 * A file that holds nothing but room: when the disk is full it is given up, so that what makes room can be written.
 * It is made again when there is plenty.
 */
export class Reserve {
  readonly #folder: string;
  readonly #path: string;
  readonly #bytes: number;

  constructor(folder: string, file: string, bytes: number) {
    this.#folder = folder;
    this.#bytes = bytes;
    this.#path = join(folder, `${file}.reserve`);
  }

  keep(): void {
    try {
      const { bavail, bsize } = statfsSync(this.#folder);
      if (existsSync(this.#path) || bavail * bsize < plenty * this.#bytes) return;
      writeFileSync(this.#path, Buffer.alloc(this.#bytes));
    } catch {
      // A disk that does not take it is one that needs it not to be begun.
      this.release();
    }
  }

  /** Whether the disk has room again for what the reserve was given up for. */
  get isPlenty(): boolean {
    const { bavail, bsize } = statfsSync(this.#folder);
    return bavail * bsize >= 2 * this.#bytes;
  }

  release(): void {
    rmSync(this.#path, { force: true });
  }
}
