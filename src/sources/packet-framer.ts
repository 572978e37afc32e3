import type { PacketFraming } from "../config/framing-schema.ts";
import { leastBytes, numberBytes } from "../config/packet-layout.ts";
import type { Clock } from "../core/clock.ts";
import type { FrameDiscard } from "../core/reading.ts";
import { checkOf } from "./check.ts";
import type { Framer, FrameSink } from "./framer.ts";
import { SkippedRun } from "./skipped-run.ts";

/** How many bytes the packet has that these bytes begin with, "incomplete" when more are needed, or why there is none. */
type Verdict = number | "incomplete" | FrameDiscard;
type Judge = (bytes: Uint8Array) => Verdict;

/**
 * Cuts packets out of a stream by what is declared of them. Where a packet does not hold, the search goes on at the
 * byte behind its first one: what claimed to be a packet may be noise that hides a real one.
 */
export class PacketFramer implements Framer {
  readonly #header: Uint8Array;
  readonly #judge: Judge;
  readonly #idleMs: number | undefined;
  readonly #sink: FrameSink;
  readonly #clock: Clock;
  /** What may still become a packet; begins with a header or the beginning of one. */
  readonly #buffer: Uint8Array;
  #length = 0;
  readonly #skipped = new SkippedRun();
  #why: FrameDiscard = "unframed";
  #pushedMs = 0;
  #watching: AbortController | undefined;

  constructor(framing: PacketFraming, sink: FrameSink, clock: Clock) {
    this.#header = Buffer.from(framing.header, "hex");
    this.#judge = judgeOf(framing);
    this.#idleMs = framing.idleMs;
    this.#buffer = new Uint8Array(framing.maxBytes);
    this.#sink = sink;
    this.#clock = clock;
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      const taken = chunk.subarray(at, at + this.#buffer.length - this.#length);
      this.#buffer.set(taken, this.#length);
      this.#length += taken.length;
      at += taken.length;
      // Whatever is left needs fewer bytes than the buffer has, so there is room for the next.
      this.#cut(false);
    }
    if (this.#idleMs !== undefined) this.#watch(this.#idleMs);
  }

  reset(): void {
    this.#watching?.abort();
    this.#watching = undefined;
    this.#cut(true);
    this.#tellSkipped();
  }

  /** `isOver`: nothing more comes, so what is incomplete is none. */
  #cut(isOver: boolean): void {
    const held = this.#buffer.subarray(0, this.#length);
    let at = 0;
    for (;;) {
      const begin = this.#begin(held, at);
      this.#skip(held.subarray(at, begin));
      at = begin;
      if (at === held.length) break;
      const verdict = this.#judge(held.subarray(at));
      if (verdict === "incomplete" && !isOver) break;
      this.#tellSkipped();
      if (typeof verdict === "number") {
        this.#sink.frame(held.subarray(at, at + verdict));
        at += verdict;
      } else {
        this.#why = verdict === "incomplete" ? "truncated" : verdict;
        this.#skip(held.subarray(at, at + 1));
        at++;
      }
    }
    this.#buffer.copyWithin(0, at, this.#length);
    this.#length -= at;
  }

  /** Where the next header begins, or what may become one at the end; else the end. */
  #begin(held: Uint8Array, from: number): number {
    const header = this.#header;
    for (let at = from; at < held.length; at++) {
      let matching = 0;
      while (matching < header.length && at + matching < held.length) {
        if (held[at + matching] !== header[matching]) break;
        matching++;
      }
      if (matching === header.length || at + matching === held.length) return at;
    }
    return held.length;
  }

  #skip(bytes: Uint8Array): void {
    this.#skipped.add(bytes);
    // What makes no sense for so long has to show before a packet comes: none may come at all.
    while (this.#skipped.count >= this.#buffer.length) {
      this.#skipped.tell(this.#why, this.#sink, this.#buffer.length);
      this.#why = "unframed";
    }
  }

  #tellSkipped(): void {
    this.#skipped.tell(this.#why, this.#sink);
    this.#why = "unframed";
  }

  #watch(idleMs: number): void {
    this.#pushedMs = this.#clock.monotonic();
    if (this.#watching || this.#length === 0) return;
    const watching = new AbortController();
    this.#watching = watching;
    this.#silence(idleMs, watching.signal).then(
      () => this.reset(),
      // Only a reset ends the sleep.
      () => undefined,
    );
  }

  /** Resolves when nothing came for so long. */
  async #silence(idleMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const nowMs = this.#clock.monotonic();
      const dueMs = this.#pushedMs + idleMs;
      if (nowMs >= dueMs) return;
      await this.#clock.sleep(dueMs - nowMs, signal);
      // A process that stood still has yet to read what came meanwhile.
      const wokenMs = this.#clock.monotonic();
      if (wokenMs - dueMs > idleMs) this.#pushedMs = wokenMs;
    }
  }
}

function judgeOf(framing: PacketFraming): Judge {
  const { header, length, checksum, trailer, maxBytes } = framing;
  const headerBytes = header.length / 2;
  const end = Buffer.from(trailer, "hex");
  const check = checkOf(checksum);
  const least = leastBytes(framing);
  const lengthOf = compileLength(length);
  return (bytes) => {
    if (bytes.length < headerBytes) return "incomplete";
    const claimed = lengthOf(bytes);
    if (claimed === undefined) return "incomplete";
    if (claimed < least) return "malformed";
    if (claimed > maxBytes) return "overlong";
    if (bytes.length < claimed) return "incomplete";
    const behind = claimed - end.length;
    if (end.some((byte, i) => bytes[behind + i] !== byte)) return "malformed";
    return check.holds(bytes.subarray(0, behind)) ? claimed : "badChecksum";
  };
}

/** Undefined as long as the field has not come. */
function compileLength(length: PacketFraming["length"]): (bytes: Uint8Array) => number | undefined {
  if (typeof length === "number") return () => length;
  const { offset, endianness, add } = length;
  const width = numberBytes[length.type];
  const [high, low] =
    endianness === "big" || width === 1 ? [offset, offset + width - 1] : [offset + 1, offset];
  return (bytes) => {
    if (bytes.length < offset + width) return undefined;
    const value = width === 1 ? (bytes[offset] ?? 0) : (bytes[high] ?? 0) * 256 + (bytes[low] ?? 0);
    return value + add;
  };
}
