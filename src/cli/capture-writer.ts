import { once } from "node:events";
import { createWriteStream, type WriteStream } from "node:fs";
import type { Clock } from "../core/clock.ts";
import type { FrameDiscard } from "../core/reading.ts";
import { type CaptureHeader, type CaptureLine, formatHeader, formatLine } from "../sources/capture.ts";

/** What may wait for the disk, as long as it is busy. */
const mostWaitingBytes = 8_388_608;

export interface CaptureCounts {
  readonly frames: number;
  readonly discards: Readonly<Partial<Record<FrameDiscard, number>>>;
  /** Frames that found no room. */
  readonly lost: number;
  /** Of the file. */
  readonly bytes: number;
}

/** Writes a capture as it comes. */
export class CaptureWriter {
  readonly #stream: WriteStream;
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #discards: Partial<Record<FrameDiscard, number>> = {};
  #frames = 0;
  #lost = 0;
  #bytes = 0;
  #written: Promise<void> = Promise.resolve();
  #end: ((reason: "full" | Error) => void) | undefined;
  /** Resolves when nothing more can be written: the file is as large as it may be, or writing failed. */
  readonly ended: Promise<"full" | Error>;

  private constructor(stream: WriteStream, maxBytes: number, clock: Clock) {
    this.#stream = stream;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.#startedMs = clock.monotonic();
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    stream.on("error", (error) => this.#end?.(error));
  }

  /** Makes the file; never touches one that is there. @throws NodeJS.ErrnoException */
  static async create(
    path: string,
    header: CaptureHeader,
    maxBytes: number,
    clock: Clock,
  ): Promise<CaptureWriter> {
    const stream = createWriteStream(path, { flags: "wx", mode: 0o640, flush: true });
    await once(stream, "open");
    const writer = new CaptureWriter(stream, maxBytes, clock);
    writer.#line(formatHeader(header));
    return writer;
  }

  get counts(): CaptureCounts {
    return { frames: this.#frames, discards: this.#discards, lost: this.#lost, bytes: this.#bytes };
  }

  /** Since the start. */
  get elapsedMs(): number {
    return this.#clock.monotonic() - this.#startedMs;
  }

  hasRoom(): boolean {
    return this.#stream.writable && this.#stream.writableLength < mostWaitingBytes;
  }

  /** The bytes are copied. False when there is no room. */
  frame(bytes: Uint8Array, origin?: string): boolean {
    const isTaken = this.#take({ t: this.elapsedMs, bytes, origin });
    if (isTaken) this.#frames++;
    else this.#lost++;
    return isTaken;
  }

  discard(reason: FrameDiscard, bytes: number): void {
    if (this.#take({ t: this.elapsedMs, discard: reason, bytes }))
      this.#discards[reason] = (this.#discards[reason] ?? 0) + 1;
  }

  /** Resolves when what was taken is with the system. */
  written(): Promise<void> {
    return this.#written;
  }

  /** Resolves when all of it is on the disk. @throws Error of the disk */
  async close(): Promise<void> {
    if (!this.#stream.closed) {
      this.#stream.end();
      await once(this.#stream, "close");
    }
    if (this.#stream.errored) throw this.#stream.errored;
  }

  #take(line: CaptureLine): boolean {
    if (!this.hasRoom()) return false;
    const text = formatLine(line);
    if (this.#bytes + Buffer.byteLength(text) + 1 > this.#maxBytes) {
      this.#end?.("full");
      return false;
    }
    this.#line(text);
    return true;
  }

  #line(text: string): void {
    const line = Buffer.from(`${text}\n`);
    this.#bytes += line.length;
    // A failure is told by `ended`; nobody need wait for what will never be written.
    this.#written = new Promise((resolve) => this.#stream.write(line, () => resolve()));
  }
}
