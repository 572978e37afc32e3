import { type FileHandle, open } from "node:fs/promises";
import koffi from "koffi";
import { within } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import type { Exchange } from "../drivers/driver.ts";
import type { Turns } from "./turns.ts";
import { Unavailable } from "./unavailable.ts";

/** Requests of `ioctl`, and one flag (Linux, include/uapi/linux/i2c-dev.h and i2c.h). */
const request = { timeout: 0x0702, slave: 0x0703, functions: 0x0705, readWrite: 0x0707 } as const;
const functionI2c = 0x1;
const messageRead = 0x1;

/**
 * In units of 10 ms, for the whole adapter. The kernel's default is a second, which a chip that holds the clock would
 * cost its neighbours at every try.
 */
const kernelTimeout = 20;
/** Waiting for the bus included. */
const timeoutMs = 5_000;
const longestMessage = 1_024;

/**
 * Struct `i2c_rdwr_ioctl_data`, two `i2c_msg` and their bytes in one block of native memory, because the kernel follows
 * pointers, and a buffer of JavaScript may move while it does.
 */
const pointerBytes = koffi.sizeof("void *");
const messageBytes = 8 + pointerBytes;
const messagesAt = 16;
const bytesAt = messagesAt + 2 * messageBytes;
const blockBytes = bytesAt + 2 * longestMessage;

type Ioctl = (fd: number, request: number, argument: unknown) => number;
let calls:
  | { readonly withNumber: Ioctl; readonly withBlock: ReturnType<ReturnType<typeof koffi.load>["func"]> }
  | undefined;

/** `koffi.load(null)` is the C library the process already has, so that a preloaded shim is honoured. */
function library(): NonNullable<typeof calls> {
  if (calls) return calls;
  const libc = koffi.load(null);
  calls = {
    withNumber: libc.func("int ioctl(int fd, unsigned long request, long argument)") as Ioctl,
    withBlock: libc.func("int ioctl(int fd, unsigned long request, void *argument)"),
  };
  return calls;
}

/** One chip on an I2C bus. Transactions run outside the main thread, one at a time per bus. */
export class I2cChip {
  readonly #path: string;
  readonly #address: number;
  readonly #turns: Turns;
  #file: FileHandle | undefined;
  #block: { readonly pointer: unknown; readonly view: DataView; readonly bytes: Uint8Array } | undefined;
  /** A transaction that the kernel has not ended. */
  #underWay: Promise<unknown> = Promise.resolve();

  constructor(path: string, address: number, turns: Turns) {
    this.#path = path;
    this.#address = address;
    this.#turns = turns;
  }

  /** @throws Unavailable */
  async open(): Promise<void> {
    const { withNumber, withBlock } = library();
    this.#file = await open(this.#path, "r+").catch((error: NodeJS.ErrnoException) => {
      const state =
        error.code === "ENOENT" || error.code === "ENODEV" || error.code === "ENXIO" ? "absent" : "failed";
      throw new Unavailable("I2C_UNAVAILABLE", state, `opening ${this.#path}: ${error.code}`, {
        cause: error,
      });
    });
    this.#block ??= newBlock();
    const { pointer, view } = this.#block;
    const { fd } = this.#file;
    if (withBlock(fd, request.functions, pointer) < 0 || (view.getUint32(0, true) & functionI2c) === 0)
      throw unavailable("failed", `${this.#path} cannot do plain I2C transactions`);
    withNumber(fd, request.timeout, kernelTimeout);
    // Sends nothing: the kernel says whether a driver of its own has the chip.
    if (withNumber(fd, request.slave, this.#address) < 0) {
      const isBusy = koffi.errno() === koffi.os.errno.EBUSY;
      throw unavailable("failed", isBusy ? "a driver of the kernel has the chip" : reasonOf(koffi.errno()));
    }
  }

  /** @throws Unavailable */
  async transfer(exchange: Exchange, signal: AbortSignal): Promise<Uint8Array> {
    // Nobody waits for it any more when its turn comes too late; the chip may have been set up anew by then.
    let isWanted = true;
    const turn = this.#turns.take(this.#path, async () => {
      if (!isWanted) return new Uint8Array();
      const underWay = this.#transfer(exchange);
      this.#underWay = underWay;
      return await underWay;
    });
    try {
      return await within(turn, timeoutMs, "a transaction", signal, "I2C_UNAVAILABLE");
    } finally {
      isWanted = false;
    }
  }

  async close(): Promise<void> {
    const file = this.#file;
    const block = this.#block;
    this.#file = undefined;
    this.#block = undefined;
    if (!file && !block) return;
    const release = async () => {
      await file?.close().catch(() => undefined);
      if (block) koffi.free(block.pointer);
    };
    // The kernel may still write into the block; a bus that hangs for ever keeps it.
    const released = this.#underWay.then(release, release);
    await within(released, 1_000, "closing").catch(() => undefined);
  }

  #transfer({ write, read }: Exchange): Promise<Uint8Array> {
    const [file, block] = [this.#file, this.#block];
    if (!file || !block) return Promise.reject(unavailable("failed", "not open"));
    const base = koffi.address(block.pointer);
    let count = 0;
    const message = (flags: number, length: number): number => {
      if (length > longestMessage) throw unavailable("failed", `a message of ${length} bytes`);
      const at = messagesAt + count * messageBytes;
      const bytes = bytesAt + count * longestMessage;
      block.view.setUint16(at, this.#address, true);
      block.view.setUint16(at + 2, flags, true);
      block.view.setUint16(at + 4, length, true);
      setPointer(block.view, at + 8, base + BigInt(bytes));
      count++;
      return bytes;
    };
    if (write) block.bytes.set(write, message(0, write.length));
    const readAt = read === undefined ? 0 : message(messageRead, read);
    setPointer(block.view, 0, base + BigInt(messagesAt));
    block.view.setUint32(pointerBytes, count, true);
    return new Promise((resolve, reject) => {
      library().withBlock.async(
        file.fd,
        request.readWrite,
        block.pointer,
        (error: unknown, result: number) => {
          const errno = koffi.errno();
          if (error) reject(unavailable("failed", messageOf(error)));
          else if (result < 0) reject(unavailable(isAbsence(errno) ? "absent" : "failed", reasonOf(errno)));
          else resolve(block.bytes.slice(readAt, readAt + (read ?? 0)));
        },
      );
    });
  }
}

function newBlock() {
  const pointer = koffi.alloc("uint8_t", blockBytes);
  const buffer = koffi.view(pointer, blockBytes);
  return { pointer, view: new DataView(buffer), bytes: new Uint8Array(buffer) };
}

/** Little endian, as all machines that this runs on are. */
function setPointer(view: DataView, at: number, address: bigint): void {
  if (pointerBytes === 8) view.setBigUint64(at, address, true);
  else view.setUint32(at, Number(address), true);
}

function unavailable(state: "absent" | "failed", message: string): Unavailable {
  return new Unavailable("I2C_UNAVAILABLE", state, message);
}

const { errno } = koffi.os;

/** What adapters say when a chip does not acknowledge (Linux, Documentation/i2c/fault-codes.rst); or the bus is gone. */
function isAbsence(code: number): boolean {
  return [errno.ENXIO, errno.ENODEV, eremoteio].includes(code);
}

/** No POSIX error, so koffi does not name it. */
const eremoteio = 121;

function reasonOf(code: number): string {
  if (code === errno.ENXIO || code === eremoteio) return "no chip acknowledges";
  if (code === errno.ETIMEDOUT) return "the bus is held, and the adapter gave up";
  if (code === errno.EAGAIN) return "arbitration lost to another master";
  if (code === errno.EIO) return "bus error";
  if (code === errno.ENODEV) return "the bus is gone";
  if (code === errno.EACCES || code === errno.EPERM) return "permission denied";
  return `error ${code}`;
}
