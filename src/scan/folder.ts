import { readdir, readlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { readKernelFile } from "../sources/kernel-file.ts";

/** What is looked at of a folder, so that none of any size holds the scan up. */
const mostEntries = 1_000;
const longestText = 256;

/** Where the kernel's device files and its sysfs are. */
export interface Roots {
  readonly dev: string;
  readonly sys: string;
}

/** Names in a folder, in the order of their numbers; none where there is no such folder, or it may not be read. */
export async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).slice(0, mostEntries);
}

/** A line of text; undefined where there is no such file, or it may not be read. */
export async function textIn(folder: string, name: string): Promise<string | undefined> {
  const bytes = await readKernelFile(join(folder, name)).catch(() => undefined);
  const text = bytes && Buffer.from(bytes).toString("utf8", 0, longestText).trim();
  return text === "" ? undefined : text;
}

/** Last name of what a link points to; undefined where there is no such link. */
export async function linkIn(folder: string, name: string): Promise<string | undefined> {
  return await readlink(join(folder, name)).then(
    (target) => basename(target),
    () => undefined,
  );
}

export const hex = (address: number): string => `0x${address.toString(16).padStart(2, "0")}`;
