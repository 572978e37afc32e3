import type { FrameDiscard } from "../core/reading.ts";
import type { FrameSink } from "./framer.ts";

/** As much as a log shows. */
const shownBytes = 64;

/** Bytes that belong to no frame, one behind the other: how many there are, and how they begin. */
export class SkippedRun {
  readonly #beginning = new Uint8Array(shownBytes);
  #shown = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(bytes: Uint8Array): void {
    const room = this.#count === this.#shown ? shownBytes - this.#shown : 0;
    const shown = bytes.subarray(0, room);
    this.#beginning.set(shown, this.#shown);
    this.#shown += shown.length;
    this.#count += bytes.length;
  }

  /** One discard, of so many of them; nothing when there are none. */
  tell(reason: FrameDiscard, sink: FrameSink, count = this.#count): void {
    if (count > 0) sink.discard(reason, count, this.#beginning.subarray(0, Math.min(count, this.#shown)));
    this.#count -= count;
    // How the rest began is not known any more.
    this.#shown = 0;
  }
}
