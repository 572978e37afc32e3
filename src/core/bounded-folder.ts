import { lstat, mkdir, open, opendir, rename, rm, stat } from "node:fs/promises";
import { extname, join } from "node:path";

export interface FolderBounds {
  readonly maxFiles: number;
  readonly maxBytes: number;
}

interface Kept {
  readonly name: string;
  readonly bytes: number;
}

/** Names of files have 255 bytes at most (Linux), and a stamp comes before them. */
const longestName = 220;
/** Of a file that is not whole. */
const partial = ".part";
/** Behind the name of a file, of what is known about it. */
const about = ".json";
/** As `stamped` writes it. */
const hasStamp = /^\d{8}T\d{6}\.\d{3}Z(?:[-.]|$)/;

/**
 * Files that are kept for a while: named by when they came, and the oldest go when there is no room for another. Others
 * may be able to write where the folder stands: a link in its place is not followed, and what is named otherwise stays.
 */
export class BoundedFolder {
  readonly #path: string;
  /** They may change; the next file that comes finds them. */
  bounds: FolderBounds;
  /** The oldest first; undefined before the folder was looked into. */
  #kept: Kept[] | undefined;
  #bytes = 0;
  /** What is at work: two at a time would count, or delete, the same files. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string, bounds: FolderBounds) {
    this.#path = path;
    this.bounds = bounds;
  }

  /** Takes a file of the same file system over, or deletes it where it could not stay. @throws what the system says */
  take(file: string, name: string, bytes: number, wallMs: number): Promise<void> {
    return this.#inTurn(() => this.#take(file, name, bytes, wallMs));
  }

  async #take(file: string, name: string, bytes: number, wallMs: number): Promise<void> {
    const kept = await this.#looked();
    if (!this.#mayHold(bytes)) return await rm(file, { force: true });
    await this.#makeRoom(kept, 1, bytes);
    const named = stamped(name, wallMs);
    await rename(file, join(this.#path, named));
    this.#add(kept, named, bytes);
  }

  /**
   * Writes a file, with a JSON text about it beside it, unless one of that name was kept at another time. A file is
   * there whole or not at all, and never without the text. @throws what the system says
   */
  put(file: Uint8Array, text: string, name: string, wallMs: number): Promise<void> {
    return this.#inTurn(() => this.#put(file, text, name, wallMs));
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    // Whoever asked is told.
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #put(file: Uint8Array, text: string, name: string, wallMs: number): Promise<void> {
    const kept = await this.#looked();
    const bytes = file.length + Buffer.byteLength(text);
    if (!this.#mayHold(bytes) || kept.some((each) => each.name.endsWith(`-${name}`))) return;
    await this.#makeRoom(kept, 1, bytes);
    const named = stamped(name, wallMs);
    try {
      await this.#write(`${named}${about}`, Buffer.from(text));
      await this.#write(named, file);
    } catch (error) {
      // On a full disk, what is half there would be all that gathers.
      await rm(join(this.#path, `${named}${about}`), { force: true });
      throw error;
    }
    this.#add(kept, named, bytes);
  }

  async #write(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#path, name);
    try {
      const handle = await open(`${path}${partial}`, "w", 0o640);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${path}${partial}`, path);
    } catch (error) {
      await rm(`${path}${partial}`, { force: true });
      throw error;
    }
  }

  #mayHold(bytes: number): boolean {
    return this.bounds.maxFiles > 0 && bytes <= this.bounds.maxBytes;
  }

  #add(kept: Kept[], name: string, bytes: number): void {
    kept.push({ name, bytes });
    this.#bytes += bytes;
  }

  /** What an earlier process left counts, too, but for what it did not finish. */
  async #looked(): Promise<Kept[]> {
    await mkdir(this.#path, { recursive: true, mode: 0o750 });
    // Each time: it may have been put there since.
    if (!(await lstat(this.#path)).isDirectory())
      throw new Error(`${this.#path} is no folder of its own, but a link`);
    if (this.#kept) return this.#kept;
    const sizes = new Map<string, number>();
    for await (const entry of await opendir(this.#path))
      if (entry.isFile() && hasStamp.test(entry.name))
        sizes.set(entry.name, (await stat(join(this.#path, entry.name))).size);
    const kept: Kept[] = [];
    let bytes = 0;
    for (const [name, size] of sizes) {
      const isAbout = name.endsWith(about);
      if (name.endsWith(partial) || (isAbout && !sizes.has(name.slice(0, -about.length))))
        await rm(join(this.#path, name), { force: true });
      else if (!isAbout) kept.push({ name, bytes: size + (sizes.get(`${name}${about}`) ?? 0) });
    }
    for (const each of kept) bytes += each.bytes;
    kept.sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#bytes = bytes;
    await this.#makeRoom(kept, 0, 0);
    this.#kept = kept;
    return kept;
  }

  async #makeRoom(kept: Kept[], files: number, bytes: number): Promise<void> {
    const { maxFiles, maxBytes } = this.bounds;
    while (kept.length + files > maxFiles || this.#bytes + bytes > maxBytes) {
      const [oldest] = kept;
      if (!oldest) return;
      const path = join(this.#path, oldest.name);
      await rm(path, { force: true });
      await rm(`${path}${about}`, { force: true });
      kept.shift();
      this.#bytes -= oldest.bytes;
    }
  }
}

/** A name that was not there before, and sorts by time. */
export function stamped(name: string, wallMs: number): string {
  const stamp = new Date(wallMs).toISOString().replaceAll(/[-:]/g, "");
  return Buffer.byteLength(name) <= longestName
    ? `${stamp}-${name}`
    : `${stamp}${extname(name).slice(0, 20)}`;
}
