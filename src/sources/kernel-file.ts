import { open } from "node:fs/promises";
import { unlessAborted, within } from "../core/deadline.ts";
import type { ErrorCode } from "../core/errors.ts";
import { Unavailable } from "./unavailable.ts";

/** A file in sysfs is a page at most (Linux, Documentation/filesystems/sysfs.rst), and comes in one read. */
const longest = 4_096;

/** What a file in sysfs says; the kernel may ask a device first. @throws NodeJS.ErrnoException */
export async function readKernelFile(path: string): Promise<Uint8Array> {
  const file = await open(path, "r");
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(longest), 0, longest, null);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Reads that a driver of the kernel may hold up, and that nothing can cancel: past the deadline they are given up, and
 * none is begun while one is still under way, or they would take up the threads of all others.
 */
export class KernelReads {
  readonly #deadlineMs: number;
  readonly #code: ErrorCode;
  #underWay: Promise<unknown> | undefined;

  constructor(deadlineMs: number, code: ErrorCode) {
    this.#deadlineMs = deadlineMs;
    this.#code = code;
  }

  /** @throws Unavailable, and whatever `work` throws */
  async run<T>(work: () => Promise<T>, what: string, signal: AbortSignal): Promise<T> {
    if (this.#underWay)
      throw new Unavailable(this.#code, "failed", `${what}: the last one has not come to an end`);
    const done = work().finally(() => {
      this.#underWay = undefined;
    });
    this.#underWay = done.catch(() => undefined);
    return await within(done, this.#deadlineMs, what, signal, this.#code);
  }

  /** Resolves when none is under way that was given up. @throws the signal's reason */
  async ended(signal: AbortSignal): Promise<void> {
    if (this.#underWay) await unlessAborted(this.#underWay, signal);
  }
}
