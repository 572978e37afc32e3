import type { FrameDiscard } from "../core/reading.ts";
import type { Framer, FrameSink } from "./framer.ts";

const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * Cuts a stream of bytes into lines at LF; a CR before it is dropped, empty lines are no frames.
 * Holds at most `maxBytes`; a longer line is skipped up to its end and is one discard.
 */
export class LineFramer implements Framer {
  readonly #sink: FrameSink;
  readonly #buffer: Uint8Array;
  #length = 0;
  /** Bytes of an over-long line so far; 0 when not inside one. */
  #skipped = 0;
  /** Inside a line whose beginning nobody saw. */
  #headless: boolean;

  /** `first: "discard"`: what comes before the first LF may be the tail of a line, and is a discard. */
  constructor(maxBytes: number, first: "discard" | "keep", sink: FrameSink) {
    this.#buffer = new Uint8Array(maxBytes);
    this.#sink = sink;
    this.#headless = first === "discard";
  }

  push(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length) {
      const end = chunk.indexOf(newline, from);
      if (end < 0) {
        this.#hold(chunk.subarray(from));
        return;
      }
      const rest = chunk.subarray(from, end);
      // A line within one chunk needs no copy.
      if (!this.#headless && this.#length === 0 && this.#skipped === 0 && rest.length <= this.#buffer.length)
        this.#line(rest);
      else {
        this.#hold(rest);
        this.#end();
      }
      from = end + 1;
    }
  }

  reset(): void {
    const lost = this.#length + this.#skipped;
    if (lost > 0) this.#discard(this.#skipped > 0 ? "overlong" : "truncated", lost);
    this.#length = 0;
    this.#skipped = 0;
  }

  #hold(bytes: Uint8Array): void {
    if (this.#skipped > 0) {
      this.#skipped += bytes.length;
    } else if (this.#length + bytes.length > this.#buffer.length) {
      // Its beginning stays, for the log.
      this.#buffer.set(bytes.subarray(0, this.#buffer.length - this.#length), this.#length);
      this.#skipped = this.#length + bytes.length;
      this.#length = 0;
    } else {
      this.#buffer.set(bytes, this.#length);
      this.#length += bytes.length;
    }
  }

  #end(): void {
    if (this.#headless) {
      const lost = this.#length + this.#skipped;
      if (lost > 0) this.#discard("truncated", lost);
      this.#headless = false;
    } else if (this.#skipped > 0) this.#discard("overlong", this.#skipped);
    else this.#line(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    this.#skipped = 0;
  }

  #discard(reason: FrameDiscard, lost: number): void {
    this.#sink.discard(reason, lost, this.#buffer.subarray(0, lost));
  }

  #line(bytes: Uint8Array): void {
    const line = bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
    if (line.length > 0) this.#sink.frame(line);
  }
}
