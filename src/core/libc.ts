import { readFileSync } from "node:fs";
import koffi from "koffi";
import type { TimeQuality } from "./reading.ts";

/** `koffi.load(null)` is the C library the process already has, so that a preloaded shim is honoured. */
let adjtimex: ((timex: Buffer) => number) | undefined;

/** `struct timex` is 208 bytes on 64-bit and 128 on 32-bit Linux; zeroed, `modes` says that nothing is to be set. */
const timexBytes = 512;
/** Return value of adjtimex(2) when the clock is not synchronized. */
const timeError = 5;

/** What the kernel knows of the wall clock now (adjtimex(2)); on systems without it, nothing is known good. */
export function clockQuality(): TimeQuality {
  if (process.platform !== "linux") return "unsynced";
  adjtimex ??= koffi.load(null).func("int adjtimex(void *timex)") as (timex: Buffer) => number;
  const state = adjtimex(Buffer.alloc(timexBytes));
  return state >= 0 && state !== timeError ? "synced" : "unsynced";
}

/** Changes with every boot; monotonic times compare only within one. */
export function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "unknown";
  }
}
