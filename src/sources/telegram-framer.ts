import type { Framer, FrameSink } from "./framer.ts";
import { SkippedRun } from "./skipped-run.ts";

const slash = 0x2f;
const exclamationMark = 0x21;
const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * Cuts out telegrams of smart meters (IEC 62056-21 mode D, DSMR P1): from `/`, which stands nowhere else in one
 * (IEC 62056-21, data sets), to the end of the line that `!` begins. A telegram that another one begins in is a discard.
 */
export class TelegramFramer implements Framer {
  readonly #sink: FrameSink;
  readonly #buffer: Uint8Array;
  /** 0 outside of a telegram. */
  #length = 0;
  /** Behind the `!`. */
  #isEnding = false;
  readonly #skipped = new SkippedRun();
  #why: "unframed" | "overlong" = "unframed";

  constructor(maxBytes: number, sink: FrameSink) {
    this.#buffer = new Uint8Array(maxBytes);
    this.#sink = sink;
  }

  push(chunk: Uint8Array): void {
    for (const byte of chunk) {
      if (byte === slash) this.#begin();
      else if (this.#length === 0) this.#skip(byte);
      else if (byte === newline && this.#isEnding) this.#end();
      else this.#hold(byte);
    }
  }

  reset(): void {
    this.#tellSkipped();
    const held = this.#buffer.subarray(0, this.#length);
    if (held.length > 0) this.#sink.discard("truncated", held.length, held);
    this.#length = 0;
  }

  #begin(): void {
    this.reset();
    this.#isEnding = false;
    this.#hold(slash);
  }

  #hold(byte: number): void {
    if (this.#length === this.#buffer.length) {
      this.#skipped.add(this.#buffer);
      this.#skipped.add(Uint8Array.of(byte));
      this.#why = "overlong";
      this.#length = 0;
    } else {
      this.#buffer[this.#length++] = byte;
      if (byte === exclamationMark) this.#isEnding = true;
    }
  }

  #skip(byte: number): void {
    // Empty lines between telegrams are nothing that was lost.
    if (this.#skipped.count === 0 && (byte === newline || byte === carriageReturn)) return;
    this.#skipped.add(Uint8Array.of(byte));
    // What makes no sense for so long has to show before a telegram comes: none may come at all.
    if (this.#why === "unframed" && this.#skipped.count === this.#buffer.length) this.#tellSkipped();
  }

  #tellSkipped(): void {
    this.#skipped.tell(this.#why, this.#sink);
    this.#why = "unframed";
  }

  #end(): void {
    const end = this.#buffer[this.#length - 1] === carriageReturn ? this.#length - 1 : this.#length;
    this.#length = 0;
    this.#sink.frame(this.#buffer.subarray(0, end));
  }
}
