import type { FrameDiscard } from "../core/reading.ts";
import type { Framer, FrameSink } from "./framer.ts";

/** What a frame holds that stood between two delimiters, or why it is none; undefined when it is nothing. */
export type Unwrap = (bytes: Uint8Array) => Uint8Array | FrameDiscard | undefined;

export interface Delimited {
  /** The byte that frames end with and that none holds. */
  readonly delimiter: number;
  /** Most bytes between two delimiters; more are skipped up to the next one and are one discard. */
  readonly maxBytes: number;
  /** `discard`: what comes before the first delimiter may be the tail of a frame, and is a discard. */
  readonly first: "discard" | "keep";
  readonly unwrap: Unwrap;
}

/** Cuts a stream of bytes into frames at a delimiter. */
export class DelimitedFramer implements Framer {
  readonly #delimiter: number;
  readonly #unwrap: Unwrap;
  readonly #sink: FrameSink;
  readonly #buffer: Uint8Array;
  #length = 0;
  /** Bytes of an over-long frame so far; 0 when not inside one. */
  #skipped = 0;
  /** Inside a frame whose beginning nobody saw. */
  #headless: boolean;

  constructor({ delimiter, maxBytes, first, unwrap }: Delimited, sink: FrameSink) {
    this.#delimiter = delimiter;
    this.#unwrap = unwrap;
    this.#buffer = new Uint8Array(maxBytes);
    this.#sink = sink;
    this.#headless = first === "discard";
  }

  push(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length) {
      const end = chunk.indexOf(this.#delimiter, from);
      if (end < 0) {
        this.#hold(chunk.subarray(from));
        return;
      }
      const rest = chunk.subarray(from, end);
      // A frame within one chunk needs no copy.
      if (!this.#headless && this.#length === 0 && this.#skipped === 0 && rest.length <= this.#buffer.length)
        this.#frame(rest);
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
    else this.#frame(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    this.#skipped = 0;
  }

  #discard(reason: FrameDiscard, lost: number): void {
    this.#sink.discard(reason, lost, this.#buffer.subarray(0, lost));
  }

  #frame(bytes: Uint8Array): void {
    const frame = this.#unwrap(bytes);
    if (typeof frame === "string") this.#sink.discard(frame, bytes.length, bytes);
    else if (frame) this.#sink.frame(frame);
  }
}
