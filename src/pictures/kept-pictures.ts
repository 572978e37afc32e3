import { createHash } from "node:crypto";
import { opendir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { BoundedFolder, type FolderBounds } from "../core/bounded-folder.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode } from "../core/errors.ts";
import { isObject, type JsonObject } from "../core/json.ts";

/** A picture that is to be kept. */
export interface ScoredPicture {
  readonly bytes: Uint8Array;
  /** What it is known by; kept once. */
  readonly identity: string;
  readonly scores: readonly (readonly [channel: string, probability: number])[];
}

export interface KeptPicture {
  readonly source: string;
  readonly name: string;
  /** When it was scored, ISO 8601. */
  readonly time: string;
  readonly bytes: number;
  readonly scores: Readonly<Record<string, number>>;
}

/** As `stamped` writes it; nothing else leads to a file. */
const keptName = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3})Z-[0-9a-f]{32}\.(jpg|png|webp)$/;
const sourceName = /^[A-Za-z0-9_-]{1,64}$/;
const types: Readonly<Record<string, string>> = { jpg: "image/jpeg", png: "image/png", webp: "image/webp" };

/** Pictures of image sources that were kept, in a folder for each; the folders are the truth, also across restarts. */
export class KeptPictures {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #folders = new Map<string, BoundedFolder>();

  constructor(storeFolder: string, clock: Clock) {
    this.#folder = join(storeFolder, "pictures");
    this.#clock = clock;
  }

  /** @throws what the system says */
  async keep(
    source: string,
    bounds: FolderBounds,
    { bytes, identity, scores }: ScoredPicture,
  ): Promise<void> {
    const wallMs = this.#clock.wall();
    const hash = createHash("sha256").update(identity).digest("hex").slice(0, 32);
    const about = {
      time: new Date(wallMs).toISOString(),
      bytes: bytes.length,
      scores: Object.fromEntries(scores),
    };
    const folder = this.#of(source, bounds);
    await folder.put(bytes, JSON.stringify(about), `${hash}.${endingOf(bytes)}`, wallMs);
  }

  /** The newest first, behind `before`; of one source, or of all. @throws what the system says */
  async list(source: string | undefined, before: string | undefined, limit: number): Promise<KeptPicture[]> {
    const sources = source === undefined ? await names(this.#folder, sourceName) : [source];
    const found: { readonly source: string; readonly name: string }[] = [];
    for (const each of sources.filter((name) => sourceName.test(name)))
      for (const name of await names(join(this.#folder, each), keptName))
        if (before === undefined || name < before) found.push({ source: each, name });
    found.sort((a, b) => (a.name > b.name ? -1 : 1));
    const listed: KeptPicture[] = [];
    for (const { source, name } of found) {
      if (listed.length >= limit) break;
      const about = await this.#about(source, name);
      if (about) listed.push(about);
    }
    return listed;
  }

  /** Bytes of a picture; undefined when there is none, or no longer. @throws what the system says */
  async size(source: string, name: string): Promise<number | undefined> {
    const found = this.#find(source, name);
    return found && (await unlessGone(stat(found.path)))?.size;
  }

  /** The same with the picture. @throws what the system says */
  async read(
    source: string,
    name: string,
  ): Promise<{ readonly bytes: Buffer<ArrayBuffer>; readonly type: string } | undefined> {
    const found = this.#find(source, name);
    const bytes = found && (await unlessGone(readFile(found.path)));
    return bytes && { bytes, type: found.type };
  }

  #find(source: string, name: string): { readonly path: string; readonly type: string } | undefined {
    const type = types[keptName.exec(name)?.[7] ?? ""];
    if (!sourceName.test(source) || type === undefined) return undefined;
    return { path: join(this.#folder, source, name), type };
  }

  /** Undefined also where the text is damaged: one such picture hides no other. */
  async #about(source: string, name: string): Promise<KeptPicture | undefined> {
    const text = await unlessGone(readFile(join(this.#folder, source, `${name}.json`), "utf8"));
    if (text === undefined) return undefined;
    const { time, bytes, scores } = objectOf(text) ?? {};
    if (typeof time !== "string" || typeof bytes !== "number" || !isObject(scores)) return undefined;
    return { source, name, time, bytes, scores: scores as Readonly<Record<string, number>> };
  }

  /** One for each source, which alone knows what is on its way. */
  #of(source: string, bounds: FolderBounds): BoundedFolder {
    const before = this.#folders.get(source);
    const folder = before ?? new BoundedFolder(join(this.#folder, source), bounds);
    folder.bounds = bounds;
    if (!before) this.#folders.set(source, folder);
    return folder;
  }
}

/** By how the file begins: only these three are read. */
function endingOf(bytes: Uint8Array): string {
  if (bytes[0] === 0xff) return "jpg";
  return bytes[0] === 0x89 ? "png" : "webp";
}

function objectOf(text: string): JsonObject | undefined {
  try {
    const known: unknown = JSON.parse(text);
    return isObject(known) ? known : undefined;
  } catch {
    return undefined;
  }
}

async function names(folder: string, pattern: RegExp): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of (await unlessGone(opendir(folder))) ?? [])
    if (pattern.test(name)) found.push(name);
  return found;
}

async function unlessGone<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}
