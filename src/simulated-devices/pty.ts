import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { constants as system } from "node:os";
import { getSystemErrorName } from "node:util";
import koffi from "koffi";

// O_CLOEXEC, TIOCPKT and the bits below have these values on x64, arm64 and arm; Node does not export them.
const O_CLOEXEC = 0o2000000;
const TIOCPKT = 0x5420;
const TIOCPKT_FLUSHREAD = 0x01;
const TCSANOW = 0;
const POLLIN = 0x01;
const POLLHUP = 0x10;
/** `struct termios` has 60 bytes with glibc and musl on Linux; an opaque block with room to spare. */
const TERMIOS_BYTES = 256;
const READ_BYTES = 4096;
/** Reads per observation: a listener that writes without end must not hold up the event loop. */
const MAX_READS = 16;

// null: the symbols of the process itself, so that a preloaded library is honoured.
const libc = koffi.load(null);
const posixOpenpt = libc.func("int posix_openpt(int flags)") as (flags: number) => number;
const grantpt = libc.func("int grantpt(int fd)") as (fd: number) => number;
const unlockpt = libc.func("int unlockpt(int fd)") as (fd: number) => number;
const ptsname = libc.func("int ptsname_r(int fd, void *name, size_t bytes)") as (
  fd: number,
  name: Buffer,
  bytes: number,
) => number;
const tcgetattr = libc.func("int tcgetattr(int fd, void *termios)") as (
  fd: number,
  termios: Buffer,
) => number;
const tcsetattr = libc.func("int tcsetattr(int fd, int when, const void *termios)") as (
  fd: number,
  when: number,
  termios: Buffer,
) => number;
const cfmakeraw = libc.func("void cfmakeraw(void *termios)") as (termios: Buffer) => void;
const ioctl = libc.func("int ioctl(int fd, unsigned long request, void *argument)") as (
  fd: number,
  request: number,
  argument: Buffer,
) => number;
const poll = libc.func("int poll(void *fds, unsigned long count, int timeoutMs)") as (
  fds: Buffer,
  count: number,
  timeoutMs: number,
) => number;

const succeed = (doing: string, result: number): void => {
  if (result >= 0) return;
  const errno = koffi.errno();
  throw new Error(`${doing}: ${errno > 0 ? getSystemErrorName(-errno) : `returned ${result}`}`);
};

const codeOf = (error: unknown): unknown =>
  error instanceof Error && "code" in error ? error.code : undefined;

/** What the device end sees of the other end at one moment. */
export interface Observation {
  /** Somebody has the slave open. */
  readonly open: boolean;
  /** Since the last observation the listener threw away what it had not yet read (`tcflush`). */
  readonly flushed: boolean;
  /** Bytes that the listener wrote, in order; empty most of the time. */
  readonly received: readonly Buffer[];
}

/**
 * The device's end (master) of a pseudo-terminal pair. No call waits: the master is non-blocking, so that a
 * listener that reads nothing never holds a thread.
 */
export class PseudoTerminal {
  readonly slavePath: string;
  readonly #pollRequest: Buffer;
  readonly #readBuffer = Buffer.alloc(READ_BYTES + 1);
  #master: number | undefined;

  constructor(master: number, slavePath: string) {
    this.#master = master;
    this.slavePath = slavePath;
    // struct pollfd { int fd; short events; short revents; }, little-endian on every platform we run on.
    this.#pollRequest = Buffer.alloc(8);
    this.#pollRequest.writeInt32LE(master, 0);
    this.#pollRequest.writeInt16LE(POLLIN, 4);
  }

  /** Hands over what the kernel takes now; returns how many bytes that was. */
  write(bytes: Uint8Array): number {
    try {
      return writeSync(this.#open(), bytes);
    } catch (error) {
      if (codeOf(error) === "EAGAIN") return 0;
      throw error;
    }
  }

  observe(): Observation {
    const master = this.#open();
    // A signal ends even a poll that does not wait (signal(7)).
    let polled = poll(this.#pollRequest, 1, 0);
    while (polled < 0 && koffi.errno() === system.errno.EINTR) polled = poll(this.#pollRequest, 1, 0);
    succeed("polling a pseudo-terminal", polled);
    const events = this.#pollRequest.readInt16LE(6);
    const received: Buffer[] = [];
    let open = (events & POLLHUP) === 0;
    let flushed = false;
    for (let reads = 0; (events & POLLIN) !== 0 && reads < MAX_READS; reads++) {
      try {
        const count = readSync(master, this.#readBuffer);
        // Packet mode (ioctl_tty(2), TIOCPKT): the first byte is 0 before data, else a set of status bits.
        const status = this.#readBuffer[0] ?? 0;
        if (status === 0 && count > 1) received.push(Buffer.from(this.#readBuffer.subarray(1, count)));
        if ((status & TIOCPKT_FLUSHREAD) !== 0) flushed = true;
      } catch (error) {
        if (codeOf(error) === "EAGAIN") break;
        // EIO: the last listener closed the slave.
        if (codeOf(error) !== "EIO") throw error;
        open = false;
        break;
      }
    }
    return { open, flushed, received };
  }

  /** Hangs up: the listener reads end of file, and what it had not read is gone. Safe twice. */
  close(): void {
    if (this.#master === undefined) return;
    closeSync(this.#master);
    this.#master = undefined;
  }

  #open(): number {
    if (this.#master === undefined) throw new Error(`using pseudo-terminal ${this.slavePath}: closed`);
    return this.#master;
  }
}

/** A new pair in raw mode, that nobody has open yet. Throws when the system has no pseudo-terminal to give. */
export function openPseudoTerminal(): PseudoTerminal {
  const master = posixOpenpt(constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK | O_CLOEXEC);
  succeed("opening a pseudo-terminal", master);
  try {
    succeed("granting a pseudo-terminal", grantpt(master));
    succeed("unlocking a pseudo-terminal", unlockpt(master));
    const name = Buffer.alloc(128);
    const error = ptsname(master, name, name.length);
    if (error !== 0) throw new Error(`naming a pseudo-terminal: ${getSystemErrorName(-error)}`);
    const slavePath = name.toString("latin1", 0, name.indexOf(0));
    // Packet mode tells when a listener flushes, which is otherwise an invisible loss.
    const on = Buffer.alloc(4);
    on.writeInt32LE(1);
    succeed("setting packet mode", ioctl(master, TIOCPKT, on));
    makeRaw(slavePath);
    return new PseudoTerminal(master, slavePath);
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/**
 * Raw before any listener opens it: echo would send the device's own lines back to it.
 * To open and close the slave once also makes the master report POLLHUP while nobody has the slave open.
 */
function makeRaw(slavePath: string): void {
  const slave = openSync(slavePath, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
  try {
    const termios = Buffer.alloc(TERMIOS_BYTES);
    succeed(`reading the settings of ${slavePath}`, tcgetattr(slave, termios));
    cfmakeraw(termios);
    succeed(`setting ${slavePath} to raw`, tcsetattr(slave, TCSANOW, termios));
  } finally {
    closeSync(slave);
  }
}
