import { execFileSync } from "node:child_process";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** One chip: takes what is written to it, gives what is read from it. @throws NotAcknowledged */
export interface Chip {
  write(bytes: Buffer): void;
  read(length: number): Buffer;
}

/** What a chip does that is busy, or has nothing to say. */
export class NotAcknowledged extends Error {}

const order = { open: 0, slave: 1, transfer: 2 } as const;
const errno = { none: 0, noEntry: 2, busy: 16, noDevice: 19, timedOut: 110, notAcknowledged: 121 } as const;

/** What a chip does wrong; each until it is taken back. */
export interface Trouble {
  /** It does not acknowledge its address. */
  readonly nack?: boolean;
  /** It holds the clock for so long in each transaction; past the adapter's 200 ms that is given up. */
  readonly stretchMs?: number;
  /** One bit of what is read is wrong. */
  readonly corrupt?: boolean;
  /** A driver of the kernel has it. */
  readonly claimed?: boolean;
}

/**
 * The buses `/dev/i2c-N` of a process that `shim.c` is preloaded into. Orders: u32 length of all, u8 kind, then
 * `open`: u32 bus; `slave`: u8 address; `transfer`: u8 count of messages, each u8 address, u8 reads, u16 length, bytes
 * when written. Answer: u32 errno, u32 microseconds, u32 length, the bytes read. Little endian.
 */
export class SimulatedBus {
  readonly #path: string;
  readonly #library: string;
  readonly #speedHz: number;
  readonly #chips = new Map<number, Chip>();
  readonly #troubles = new Map<number, Trouble>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  /** How many transactions there were. */
  transfers = 0;

  /** Bus 1 of a process with `environment`; everything it needs lies in `folder`. */
  constructor(folder: string, speedHz = 100_000) {
    this.#path = join(folder, "i2c-bus");
    this.#speedHz = speedHz;
    this.#library = join(folder, "i2c-shim.so");
    const source = fileURLToPath(new URL("shim.c", import.meta.url));
    execFileSync("cc", ["-O2", "-Wall", "-shared", "-fPIC", "-o", this.#library, source, "-ldl"]);
  }

  get environment(): Readonly<Record<string, string>> {
    return { LD_PRELOAD: this.#library, HEADGATE_I2C_BUS: this.#path };
  }

  /** Plugs a chip in; undefined pulls it out. */
  plug(address: number, chip: Chip | undefined): void {
    if (chip) this.#chips.set(address, chip);
    else this.#chips.delete(address);
  }

  trouble(address: number, trouble: Trouble): void {
    this.#troubles.set(address, trouble);
  }

  async start(): Promise<this> {
    const server = createServer((socket) => this.#serve(socket));
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#path, resolve));
    return this;
  }

  /** The adapter is pulled out: it is gone from `/dev`, and what is open fails. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const socket of this.#sockets) socket.destroy();
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    let held = Buffer.alloc(0);
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      while (held.length >= 4 && held.length >= held.readUInt32LE(0)) {
        const length = held.readUInt32LE(0);
        socket.write(this.#answer(held.subarray(4, length)));
        held = held.subarray(length);
      }
    });
  }

  #answer(bytes: Buffer): Buffer {
    switch (bytes[0]) {
      case order.open:
        return answer(bytes.readUInt32LE(1) === 1 ? errno.none : errno.noEntry);
      case order.slave:
        return answer(this.#troubles.get(bytes[1] ?? 0)?.claimed ? errno.busy : errno.none);
      case order.transfer:
        return this.#transfer(bytes);
      default:
        throw new Error(`unknown order ${bytes[0]}`);
    }
  }

  #transfer(bytes: Buffer): Buffer {
    this.transfers++;
    const parts: Buffer[] = [];
    let at = 2;
    let bits = 0;
    for (let i = 0; i < (bytes[1] ?? 0); i++) {
      const address = bytes[at] ?? 0;
      const reads = bytes[at + 1] === 1;
      const length = bytes.readUInt16LE(at + 2);
      at += 4;
      const chip = this.#chips.get(address);
      const { nack, stretchMs = 0, corrupt } = this.#troubles.get(address) ?? {};
      // Address and each byte are nine bits on the wire, start and stop one each.
      bits += 9 * (1 + length) + 2;
      if (!chip || nack) return answer(errno.notAcknowledged, this.#microseconds(11));
      if (stretchMs > 200) return answer(errno.timedOut, 200_000);
      // In the first of its messages only.
      if (i === 0) bits += (stretchMs / 1_000) * this.#speedHz;
      try {
        if (reads) {
          const read = Buffer.from(chip.read(length));
          if (corrupt) read[0] = (read[0] ?? 0) ^ 0x08;
          parts.push(read);
        } else chip.write(Buffer.from(bytes.subarray(at, at + length)));
      } catch (error) {
        if (!(error instanceof NotAcknowledged)) throw error;
        return answer(errno.notAcknowledged, this.#microseconds(11));
      }
      if (!reads) at += length;
    }
    return answer(errno.none, this.#microseconds(bits), Buffer.concat(parts));
  }

  #microseconds(bits: number): number {
    return Math.round((bits * 1_000_000) / this.#speedHz);
  }
}

function answer(code: number, microseconds = 0, bytes = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(code, 0);
  head.writeUInt32LE(microseconds, 4);
  head.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([head, bytes]);
}

/** A chip of 8-bit registers with a pointer that a write sets and every byte advances, as most are. */
export class RegisterChip implements Chip {
  readonly registers = Buffer.alloc(256);
  #pointer = 0;

  set(register: number, hex: string): this {
    Buffer.from(hex.replaceAll(" ", ""), "hex").copy(this.registers, register);
    return this;
  }

  write(bytes: Buffer): void {
    this.#pointer = bytes[0] ?? 0;
    for (const byte of bytes.subarray(1)) this.written(this.#pointer++ & 0xff, byte);
  }

  read(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.registers[this.#pointer++ & 0xff] ?? 0));
  }

  /** For chips that do something when a register is written. */
  protected written(register: number, value: number): void {
    this.registers[register] = value;
  }
}
