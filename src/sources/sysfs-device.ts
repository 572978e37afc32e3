import { access, readdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { SysfsSourceConfig } from "../config/schema.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import { besideRaw, longestText, sysfsFileNamed, sysfsFrameBytes } from "../drivers/sysfs-file.ts";
import { KernelReads, readKernelFile } from "./kernel-file.ts";
import type { PolledDevice } from "./polling-source.ts";
import { Unavailable } from "./unavailable.ts";

/** Of all files together; some drivers take tenths of a second for each. */
const deadlineMs = 10_000;
/** Folders of a class that are looked into. */
const mostChips = 1_000;

const roots = { hwmon: "/sys/class/hwmon", iio: "/sys/bus/iio/devices" } as const;
/** IIO's triggers have names, too. */
const folders = { hwmon: /./, iio: /^iio:device/ } as const;

/** A file of the chip with those beside it that say how it is scaled. */
type Group = readonly [path: string, ...beside: string[]];

/** A chip that a driver of the kernel reads, in files of hwmon or IIO. */
export class SysfsDevice implements PolledDevice {
  readonly name: string;
  readonly maxFrameBytes: number;
  readonly #config: SysfsSourceConfig;
  readonly #root: string;
  readonly #reads = new KernelReads(deadlineMs, "SYSFS_UNAVAILABLE");
  #folder = "";
  #groups: readonly Group[] = [];
  #unscaled: readonly string[] = [];
  #trouble: string | undefined;

  constructor(config: SysfsSourceConfig) {
    const { chip, at, root } = config;
    this.#config = config;
    this.#root = root ?? roots[config.class];
    this.name = chip === undefined ? this.#root : `${chip}${at === undefined ? "" : ` at ${at}`}`;
    this.maxFrameBytes = sysfsFrameBytes(config);
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  async open(signal: AbortSignal): Promise<void> {
    await this.#reads.run(() => this.#find(), `looking into ${this.#root}`, signal).catch(unavailable);
  }

  async ask(signal: AbortSignal): Promise<Uint8Array> {
    return await this.#reads.run(() => this.#read(), "reading", signal).catch(unavailable);
  }

  async close(): Promise<void> {
    // Nothing stays open from one read to the next.
  }

  async #find(): Promise<void> {
    const { chip, files } = this.#config;
    this.#folder = chip === undefined ? this.#root : await this.#chipNamed(chip);
    await access(this.#folder);
    const paths = [...new Set(Object.values(files).map(({ path }) => path))];
    this.#groups = await Promise.all(paths.map((path) => this.#groupOf(path)));
    this.#unscaled = Object.values(files)
      .filter(({ path, scale }) => scale === undefined && sysfsFileNamed(path) && path.endsWith("_raw"))
      .filter(({ path }) => !this.#groups.some(([own, ...beside]) => own === path && hasScale(beside)))
      .map(({ path }) => `${path}: it has no scale here; set \`scale\``);
  }

  /** @throws Unavailable */
  async #chipNamed(chip: string): Promise<string> {
    const { at } = this.#config;
    const entries = (await readdir(this.#root)).filter((entry) => folders[this.#config.class].test(entry));
    const found: { readonly folder: string; readonly name: string; readonly place: string }[] = [];
    for (const entry of entries.sort().slice(0, mostChips)) {
      const folder = join(this.#root, entry);
      const name = await textOf(join(folder, "name")).catch(() => undefined);
      if (name !== undefined) found.push({ folder, name, place: await placeOf(folder) });
    }
    const named = found.filter(({ name }) => name === chip);
    const matching = named.filter(({ place }) => at === undefined || place === at);
    const [only, other] = matching;
    if (!only) {
      const others = named.length > 0 ? named.map(({ place }) => place) : found.map(({ name }) => name);
      const what = named.length > 0 ? `none of that name is at ${at}` : "no chip has that name";
      const there = others.length === 0 ? "" : `; there are ${[...new Set(others)].join(", ")}`;
      throw absent(`${what} in ${this.#root}${there}`);
    }
    if (other) {
      const places = matching.map(({ place }) => place).join(", ");
      throw new Unavailable(
        "SYSFS_UNAVAILABLE",
        "failed",
        `several have that name; set \`at\` to one of ${places}`,
      );
    }
    return only.folder;
  }

  async #groupOf(path: string): Promise<Group> {
    const beside: string[] = [];
    for (const what of ["scale", "offset"] as const) {
      for (const name of besideRaw(path, what)) {
        const isThere = await access(join(this.#folder, name)).then(
          () => true,
          () => false,
        );
        if (!isThere) continue;
        beside.push(name);
        break;
      }
    }
    return [path, ...beside];
  }

  /** The texts of the files by name; a file that cannot be read is left out, with the scale that it would need. */
  async #read(): Promise<Uint8Array> {
    const texts: Record<string, string> = {};
    const missing: string[] = [];
    let isThere = false;
    for (const group of this.#groups) {
      try {
        const read: (readonly [string, string])[] = [];
        for (const path of group) read.push([path, await textOf(join(this.#folder, path))]);
        Object.assign(texts, Object.fromEntries(read));
      } catch (error) {
        isThere ||= !isGone(error);
        missing.push(`${group[0]}: ${isGone(error) ? "is not there" : messageOf(error)}`);
      }
    }
    if (missing.length === this.#groups.length)
      throw isThere
        ? new Unavailable("SYSFS_UNAVAILABLE", "failed", missing.join("; "))
        : absent(missing.join("; "));
    const troubles = [...missing, ...this.#unscaled];
    this.#trouble = troubles.length === 0 ? undefined : troubles.join("; ");
    return Buffer.from(JSON.stringify(texts));
  }
}

const hasScale = (beside: readonly string[]) => beside.some((name) => name.endsWith("_scale"));

async function textOf(path: string): Promise<string> {
  const bytes = await readKernelFile(path);
  return Buffer.from(bytes).toString("utf8", 0, longestText).trim();
}

/**
 * The device that a chip's folder belongs to, such as `1-0048`, which stays the same where the number of `hwmon3` does
 * not: the folder around it, or around the `hwmon` that is in between.
 */
export async function placeOf(folder: string): Promise<string> {
  const around = dirname(await realpath(folder));
  return basename(basename(around) === "hwmon" ? dirname(around) : around);
}

const absent = (reason: string) => new Unavailable("SYSFS_UNAVAILABLE", "absent", reason);
const isGone = (error: unknown) => hasCode(error, "ENOENT", "ENODEV", "ENXIO");

function unavailable(error: unknown): never {
  if (!isGone(error)) throw error;
  throw new Unavailable("SYSFS_UNAVAILABLE", "absent", messageOf(error), { cause: error });
}
