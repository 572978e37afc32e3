import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** What the kernel says of a process (proc(5)). */
export interface ProcessFigures {
  readonly rssBytes: number;
  /** User and system time since its start. */
  readonly cpuMs: number;
  /** Caused to be written to a disk, and fetched from one. */
  readonly writtenBytes: number;
  readonly readBytes: number;
  readonly threads: number;
  readonly files: number;
}

/** Of USER_HZ, which is 100 on every Linux that Node runs on. */
const tickMs = 10;

/** @throws the error of reading `/proc` when it has ended */
export function figuresOf(pid: number): ProcessFigures {
  const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, "utf8");
  const status = read("status");
  const io = read("io");
  // Behind the name, which may hold anything, the fields are counted from the third, the state.
  const fields = read("stat")
    .replace(/^.*\) /s, "")
    .split(" ");
  return {
    rssBytes: figure(status, "VmRSS") * 1_024,
    threads: figure(status, "Threads"),
    cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs,
    writtenBytes: figure(io, "write_bytes"),
    readBytes: figure(io, "read_bytes"),
    files: readdirSync(`/proc/${pid}/fd`).length,
  };
}

function figure(text: string, name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? Number.NaN);
}

/** Size of the files of a folder, together. */
export function folderBytes(folder: string): number {
  let bytes = 0;
  for (const name of readdirSync(folder))
    bytes += statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}
