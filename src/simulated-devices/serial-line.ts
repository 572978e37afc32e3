import { lstatSync, renameSync, rmSync, symlinkSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { openPseudoTerminal, type PseudoTerminal } from "./pty.ts";

/** 8N1: a start bit, eight data bits, a stop bit. */
const BITS_PER_BYTE = 10;
/** Bytes leave in chunks of at most this long, so a listener sees lines arrive in pieces, as from a real port. */
const CHUNK_MS = 10;
const WATCH_MS = 20;
/** serialport flushes right after it opens; what is sent before that would be lost unseen. */
const SETTLE_MS = 50;
/** A hang-up discards what the listener has not read; this long it may still take what was already sent. */
const LINGER_MS = 100;
/** In several sleeps: a listener on the same event loop gets its turns even when the process was stalled. */
const LINGER_SLEEPS = 5;
const MAX_QUEUED_BYTES = 4096;

/**
 * Why a line was not sent: the plug was out (`unplugged`), nobody had the port open (`unheard`), the listener
 * read so slowly that kernel and queue were full (`unread`), or it flushed the port meanwhile (`flushed`).
 */
export type DropReason = "unplugged" | "unheard" | "unread" | "flushed";

export type Fate =
  /**
   * The kernel took every byte; what the listener leaves unread or flushes after that is its own loss.
   * `listener` changes whenever the port is opened or flushed: an unfinished line before that joins none after.
   */
  | { readonly outcome: "sent"; readonly atMs: number; readonly listener: number }
  | { readonly outcome: "dropped"; readonly atMs: number; readonly reason: DropReason };

export interface SerialLineOptions {
  /** Symbolic link that leads to the port while it is plugged in, like the names in `/dev/serial/by-id`. */
  readonly path: string;
  readonly baudRate: number;
  readonly clock: Clock;
  readonly onReceived: (bytes: Uint8Array) => void;
}

interface QueuedLine {
  readonly bytes: Uint8Array;
  /** Bytes that have had their time on the wire; only these may be written. */
  due: number;
  /** Bytes the kernel has taken. */
  written: number;
  readonly settle: (fate: Fate) => void;
}

/**
 * The device's end of a serial cable: paces bytes at the baud rate, never blocks, loses whole lines when nobody
 * takes them, and can be pulled out and put back under the same path.
 */
export class SerialLine {
  readonly #options: SerialLineOptions;
  readonly #queue: QueuedLine[] = [];
  readonly #stopped = new AbortController();
  #queuedBytes = 0;
  #writtenBytes = 0;
  #droppedBytes = 0;
  #terminal: PseudoTerminal | undefined;
  #heardSinceMs: number | undefined;
  #listener = 0;
  #sending = false;
  #watching: Promise<void> | undefined;
  #unplugged = Promise.resolve();
  #failure: unknown;

  constructor(options: SerialLineOptions) {
    this.#options = options;
  }

  /** Bytes that the kernel took. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /** Bytes of lines that were given up, whole or from the point reached. */
  get droppedBytes(): number {
    return this.#droppedBytes;
  }

  /** Lines accepted whose fate is still open. */
  get queuedLines(): number {
    return this.#queue.length;
  }

  /**
   * Does nothing while plugged in, or once stopped.
   * Throws when the system has no pseudo-terminal to give, or when something other than a link is at `path`.
   */
  plug(): void {
    if (this.#terminal !== undefined || this.#stopped.signal.aborted) return;
    const terminal = openPseudoTerminal();
    try {
      pointLink(this.#options.path, terminal.slavePath);
    } catch (error) {
      terminal.close();
      throw error;
    }
    this.#terminal = terminal;
    this.#heardSinceMs = undefined;
    this.#watching ??= this.#watch();
  }

  /** The path is gone at once; resolves when the listener has been hung up. Safe twice, and without plug. */
  unplug(): Promise<void> {
    if (this.#terminal !== undefined) this.#unplugged = this.#hangUp(this.#terminal);
    return this.#unplugged;
  }

  /**
   * Resolves when the line has had its time on the wire, whether somebody took it or not, as a UART would.
   * `settle` is called exactly once, then or later, when the line's fate is known. One call at a time.
   */
  async send(bytes: Uint8Array, settle: (fate: Fate) => void): Promise<void> {
    if (this.#sending) throw new Error(`sending on ${this.#options.path}: one line at a time`);
    this.#sending = true;
    const { clock, baudRate } = this.#options;
    const byteMs = (BITS_PER_BYTE * 1000) / baudRate;
    const startMs = clock.monotonic();
    const line: QueuedLine = { bytes, due: 0, written: 0, settle };
    let loss: DropReason | undefined;
    try {
      loss = this.#accept(line);
      for (let due = 0; due < bytes.length; ) {
        const restMs = startMs + bytes.length * byteMs - clock.monotonic();
        await clock.sleep(Math.max(0, Math.min(restMs, CHUNK_MS)), this.#stopped.signal);
        // A millionth of a byte of tolerance: without it rounding costs a whole extra sleep at the end of a line.
        due = Math.min(bytes.length, Math.floor((clock.monotonic() - startMs) / byteMs + 1e-6));
        line.due = due;
        this.#flush();
      }
    } finally {
      this.#sending = false;
      if (loss !== undefined) this.#drop(line, loss);
    }
  }

  /** Unplugs for good; throws what broke the line, if anything did. Safe twice, and without plug. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.unplug();
    await this.#watching;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  async #hangUp(terminal: PseudoTerminal): Promise<void> {
    const heard = this.#heardSinceMs !== undefined;
    this.#terminal = undefined;
    this.#heardSinceMs = undefined;
    try {
      rmSync(this.#options.path, { force: true });
      this.#dropQueue("unplugged");
      for (let sleeps = 0; heard && sleeps < LINGER_SLEEPS; sleeps++) {
        await this.#options.clock.sleep(LINGER_MS / LINGER_SLEEPS);
      }
    } finally {
      terminal.close();
    }
  }

  #accept(line: QueuedLine): DropReason | undefined {
    this.#observe();
    if (this.#terminal === undefined) return "unplugged";
    if (this.#heardSinceMs === undefined) return "unheard";
    // Delivery starts at a line border: a fragment at each opening would make the field log inexact.
    if (this.#options.clock.monotonic() - this.#heardSinceMs < SETTLE_MS) return "unheard";
    // Whole lines are refused, not bytes: the lines around a loss stay intact, and the loss has a sequence number.
    if (this.#queuedBytes + line.bytes.length > MAX_QUEUED_BYTES) return "unread";
    this.#queue.push(line);
    this.#queuedBytes += line.bytes.length;
    return undefined;
  }

  #observe(): void {
    if (this.#terminal === undefined) return;
    const { open, flushed, received } = this.#terminal.observe();
    for (const bytes of received) this.#options.onReceived(bytes);
    if (!open) {
      this.#heardSinceMs = undefined;
      this.#dropQueue("unheard");
    } else if (flushed || this.#heardSinceMs === undefined) {
      this.#heardSinceMs = this.#options.clock.monotonic();
      this.#listener++;
      this.#dropQueue("flushed");
    }
  }

  #flush(): void {
    this.#observe();
    for (;;) {
      const line = this.#queue[0];
      if (line === undefined || this.#terminal === undefined) return;
      const ready = line.bytes.subarray(line.written, line.due);
      const taken = ready.length === 0 ? 0 : this.#terminal.write(ready);
      line.written += taken;
      this.#writtenBytes += taken;
      this.#queuedBytes -= taken;
      // Either the kernel is full, to be tried again at the next watch, or the rest is still on the wire.
      if (line.written < line.bytes.length) return;
      this.#queue.shift();
      line.settle({ outcome: "sent", atMs: this.#options.clock.wall(), listener: this.#listener });
    }
  }

  #dropQueue(reason: DropReason): void {
    const lines = this.#queue.splice(0);
    this.#queuedBytes = 0;
    for (const line of lines) this.#drop(line, reason);
  }

  #drop(line: QueuedLine, reason: DropReason): void {
    this.#droppedBytes += line.bytes.length - line.written;
    line.settle({ outcome: "dropped", atMs: this.#options.clock.wall(), reason });
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#options.clock.sleep(WATCH_MS, signal);
        this.#flush();
      } catch (error) {
        if (signal.aborted) return;
        // A broken line behaves as if unplugged, and `stop` reports why.
        this.#failure ??= error;
        await this.unplug().catch((second: unknown) => {
          this.#failure = new AggregateError([this.#failure, second], `breaking off ${this.#options.path}`);
        });
      }
    }
  }
}

/** Renaming is atomic: whoever opens the path finds the old port, the new one or none, never half a link. */
function pointLink(path: string, target: string): void {
  const present = lstatSync(path, { throwIfNoEntry: false });
  if (present !== undefined && !present.isSymbolicLink()) {
    throw new Error(`plugging in ${path}: something that is not a symbolic link is there`);
  }
  const next = `${path}.${process.pid}.new`;
  rmSync(next, { force: true });
  symlinkSync(target, next);
  renameSync(next, path);
}
