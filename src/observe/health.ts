import { statfsSync } from "node:fs";
import { loadavg } from "node:os";

/** Bytes the process may still use: within the container's limit where there is one (cgroup v1 or v2). */
export function freeRam(): number {
  return process.availableMemory();
}

/** Bytes free on the disk of the store for an ordinary user; undefined when the folder cannot be asked. */
export function freeDisk(folder: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    // The store itself reports the folder's troubles; here the figure is only left out.
    return undefined;
  }
}

/** Runnable processes, averaged over 1, 5 and 15 minutes. */
export function load(): { one: number; five: number; fifteen: number } {
  const [one = 0, five = 0, fifteen = 0] = loadavg().map((value) => Math.round(value * 100) / 100);
  return { one, five, fifteen };
}

export interface FlashWear {
  /** Since the start of the process. */
  readonly writtenBytes: number;
  /** What it comes to in a day at that rate; undefined in the first minute, which a start distorts. */
  readonly writtenBytesPerDay: number | undefined;
}

/** What the process costs its disk. Cards and chips wear out by it: a cheap card takes some tens of terabytes. */
export function flashWear(): FlashWear {
  const writtenBytes = bytesWritten();
  const seconds = process.uptime();
  const writtenBytesPerDay = seconds < 60 ? undefined : Math.round((writtenBytes / seconds) * 86_400);
  return { writtenBytes, writtenBytesPerDay };
}

/** Bytes that the process made the disk write since its start, of all threads: in blocks of 512 (getrusage(2)). */
export function bytesWritten(): number {
  return process.resourceUsage().fsWrite * 512;
}
