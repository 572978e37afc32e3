import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readSync, realpathSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Layout of the control block in `shim.c`, little endian. */
const controlBytes = 24;
const at = { wallOffsetMs: 0, syncDelayMs: 8, full: 12, readOnly: 16, syncs: 20 } as const;
const fullness = { off: 0, growing: 1, always: 2 } as const;

/** Compiles the shim into `folder`. @throws Error that says so when there is no C compiler */
export function compileShim(folder: string): string {
  const library = join(folder, "headgate-shim.so");
  const source = fileURLToPath(new URL("shim.c", import.meta.url));
  try {
    const options = ["-O2", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl", "-lpthread"];
    execFileSync("cc", options, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    throw new Error("the fault campaign preloads a C library: install a C compiler under the name cc", {
      cause: error,
    });
  }
  return library;
}

/** One disk and one clock that are not what they seem; for one process at a time. */
export class Shim {
  readonly #library: string;
  readonly #root: string;
  readonly #controlFile: string;
  readonly #control: number;

  /** Files below `root` are watched; what belongs to the shim lies in `folder`, outside of it. */
  constructor(library: string, root: string, folder: string) {
    mkdirSync(root, { recursive: true });
    mkdirSync(folder, { recursive: true });
    this.#library = library;
    this.#root = realpathSync(root);
    this.#controlFile = join(folder, "shim-control");
    this.#control = openSync(this.#controlFile, "w+");
    writeSync(this.#control, Buffer.alloc(controlBytes), 0, controlBytes, 0);
  }

  /** For the process that is to run under it; with `log` its operations are recorded there. */
  environment(log?: string): Record<string, string> {
    return {
      LD_PRELOAD: this.#library,
      HEADGATE_SHIM_ROOT: this.#root,
      HEADGATE_SHIM_CONTROL: this.#controlFile,
      ...(log === undefined ? {} : { HEADGATE_SHIM_LOG: log }),
      // Operations that go through a ring never pass the C library.
      UV_USE_IO_URING: "0",
    };
  }

  /** Moves the wall clock that the process sees. */
  wallOffset(ms: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(ms));
    writeSync(this.#control, bytes, 0, 8, at.wallOffsetMs);
  }

  /** Each fsync and fdatasync takes so much longer. */
  syncDelay(ms: number): void {
    this.#set(at.syncDelayMs, ms);
  }

  /** ENOSPC for writes that would grow a file, or for all. */
  full(state: keyof typeof fullness): void {
    this.#set(at.full, fullness[state]);
  }

  /** EROFS for all that would change something. */
  readOnly(state: "on" | "off"): void {
    this.#set(at.readOnly, state === "on" ? 1 : 0);
  }

  /** Calls of fsync and fdatasync so far. */
  get syncs(): number {
    const bytes = Buffer.alloc(4);
    readSync(this.#control, bytes, 0, 4, at.syncs);
    return bytes.readInt32LE();
  }

  close(): void {
    closeSync(this.#control);
  }

  #set(offset: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    writeSync(this.#control, bytes, 0, 4, offset);
  }
}
