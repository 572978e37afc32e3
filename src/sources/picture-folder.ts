import { constants } from "node:fs";
import { access, lstat, mkdir, open, opendir, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { ImageFolderSourceConfig } from "../config/schema.ts";
import { BoundedFolder, stamped } from "../core/bounded-folder.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { FrameDiscard } from "../core/reading.ts";

/** A file as it was when it was looked at. */
export interface Dropped {
  readonly name: string;
  readonly bytes: number;
  readonly modifiedNs: bigint;
}

export interface Look {
  /** Files that no longer change, the oldest first. */
  readonly whole: readonly Dropped[];
  /** Until the next of them is whole; undefined when none is on its way. */
  readonly wholeInMs: number | undefined;
  /** Nothing else is there; one look takes in no more than so many files. */
  readonly isAll: boolean;
  /** Names that are those of pictures, and what is there is none. */
  readonly trouble: string | undefined;
}

/** Files of one look; what is beyond waits in the folder, whose names are never all in memory. */
const mostAtOnce = 1_000;
/** Names that are told. */
const mostTold = 3;

type Folder = Pick<
  ImageFolderSourceConfig,
  "folder" | "extensions" | "settleMs" | "afterwards" | "moveTo" | "rejected" | "maxBytes"
>;

interface Seen {
  readonly identity: string;
  readonly sinceMs: number;
}

/** The files that a camera puts into a folder. Links are not followed, and nothing but plain files is opened. */
export class PictureFolder {
  readonly #config: Folder;
  readonly #clock: Clock;
  readonly #rejected: BoundedFolder;
  readonly #named: RegExp;
  /** Since when each file of the last look is as it is, monotonic ms. */
  #seen = new Map<string, Seen>();

  constructor(config: Folder, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    this.#rejected = new BoundedFolder(join(config.folder, "rejected"), config.rejected);
    this.#named = new RegExp(`^[^.].*\\.(${config.extensions.join("|")})$`, "isu");
  }

  /** `except`: names that are left out. @throws what the system says of the folder */
  async look(except: ReadonlySet<string>): Promise<Look> {
    const nowMs = this.#clock.monotonic();
    const seen = new Map<string, Seen>();
    const whole: Dropped[] = [];
    const odd: string[] = [];
    let odds = 0;
    let wholeInMs: number | undefined;
    for await (const { name } of await opendir(this.#config.folder)) {
      if (!this.#named.test(name) || except.has(name)) continue;
      const found = await this.#find(name);
      if (typeof found === "string" && odds++ < mostTold) odd.push(found);
      if (typeof found !== "object") continue;
      const identity = identityOf(found);
      const before = this.#seen.get(name);
      const sinceMs = before?.identity === identity ? before.sinceMs : nowMs;
      seen.set(name, { identity, sinceMs });
      const leftMs = sinceMs + this.#config.settleMs - nowMs;
      if (leftMs <= 0) whole.push(found);
      else wholeInMs = Math.min(leftMs, wholeInMs ?? leftMs);
      if (seen.size >= mostAtOnce) break;
    }
    this.#seen = seen;
    whole.sort((a, b) => (a.modifiedNs < b.modifiedNs ? -1 : 1));
    return { whole, wholeInMs, isAll: seen.size < mostAtOnce, trouble: toldOf(odd, odds) };
  }

  /** Expects that pictures can leave the folder, before one is scored. @throws Error, and what the system says */
  async expectWayOut(): Promise<void> {
    const { folder, afterwards, moveTo } = this.#config;
    await access(folder, mayWrite);
    if (afterwards === "delete" || moveTo === undefined) return;
    await makeFolder(moveTo);
    await access(moveTo, mayWrite);
    if ((await stat(folder)).dev !== (await stat(moveTo)).dev)
      throw new Error(`moveTo ${moveTo} is on another file system`);
  }

  /** The bytes, or why they are none that can be scored; undefined when it went or changed. @throws what the disk says */
  async read(picture: Dropped): Promise<Buffer | FrameDiscard | undefined> {
    if (picture.bytes === 0) return "empty";
    if (picture.bytes > this.#config.maxBytes) return "overlong";
    try {
      // Another one may stand there by now: a pipe is to keep nobody waiting, and a link leads elsewhere.
      const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
      const file = await open(this.#pathOf(picture), flags);
      try {
        if (!isSame(picture, await file.stat({ bigint: true }))) return undefined;
        const bytes = Buffer.allocUnsafeSlow(picture.bytes);
        let at = 0;
        while (at < bytes.length) {
          const { bytesRead } = await file.read(bytes, at, bytes.length - at, at);
          if (bytesRead === 0) return undefined;
          at += bytesRead;
        }
        return isSame(picture, await file.stat({ bigint: true })) ? bytes : undefined;
      } finally {
        await file.close();
      }
    } catch (error) {
      if (hasCode(error, "ENOENT", "ELOOP", "ENXIO")) return undefined;
      if (hasCode(error, "EACCES", "EPERM")) return "unreadable";
      throw error;
    }
  }

  /** Takes a picture that was scored out of the folder; one that took its name meanwhile stays. @throws what the system says */
  async finish(picture: Dropped): Promise<void> {
    if (!(await this.#isThere(picture))) return;
    const { afterwards, moveTo } = this.#config;
    const path = this.#pathOf(picture);
    if (afterwards === "delete" || moveTo === undefined) return await unlink(path);
    await makeFolder(moveTo);
    const isTaken = await lstat(join(moveTo, picture.name)).then(
      () => true,
      () => false,
    );
    const name = isTaken ? stamped(picture.name, this.#clock.wall()) : picture.name;
    await rename(path, join(moveTo, name));
  }

  /** The same for one that cannot be. @throws what the system says */
  async reject(picture: Dropped): Promise<void> {
    if (!(await this.#isThere(picture))) return;
    await this.#rejected.take(this.#pathOf(picture), picture.name, picture.bytes, this.#clock.wall());
  }

  #pathOf({ name }: Dropped): string {
    return join(this.#config.folder, name);
  }

  /** The file of that name, or what is wrong with it; undefined when it is gone. */
  async #find(name: string): Promise<Dropped | string | undefined> {
    try {
      const found = await lstat(join(this.#config.folder, name), { bigint: true });
      if (!found.isFile()) return `${JSON.stringify(name)} is no plain file`;
      return { name, bytes: Number(found.size), modifiedNs: found.mtimeNs };
    } catch (error) {
      if (hasCode(error, "ENOENT"))
        return name.includes("\ufffd") ? `${JSON.stringify(name)} is a name that is not UTF-8` : undefined;
      return `${JSON.stringify(name)}: ${messageOf(error)}`;
    }
  }

  async #isThere(picture: Dropped): Promise<boolean> {
    const found = await this.#find(picture.name);
    return typeof found === "object" && identityOf(found) === identityOf(picture);
  }
}

const mayWrite = constants.W_OK | constants.X_OK;

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o750 });
}

/** What tells a file from another one, also of the same name. */
export function identityOf({ name, bytes, modifiedNs }: Dropped): string {
  return `${name} ${bytes} ${modifiedNs}`;
}

function isSame(
  { bytes, modifiedNs }: Dropped,
  found: { readonly size: bigint; readonly mtimeNs: bigint; isFile(): boolean },
): boolean {
  return found.isFile() && Number(found.size) === bytes && found.mtimeNs === modifiedNs;
}

function toldOf(odd: readonly string[], odds: number): string | undefined {
  if (odds === 0) return undefined;
  return `${odd.join("; ")}${odds > odd.length ? `, and ${odds - odd.length} more` : ""}`;
}
