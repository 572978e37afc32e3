import type { PipelineConfig } from "../config/schema.ts";
import { InvariantError } from "../core/errors.ts";
import type { FrameDiscard, TimeQuality } from "../core/reading.ts";

/**
 * Everything that enters the pipeline, in one order. A batch of entries crosses the thread border as one buffer
 * and becomes one row of the journal.
 */
export type JournalEntry =
  | {
      readonly type: "frame";
      readonly source: string;
      readonly wallMs: number;
      readonly monotonicMs: number;
      readonly bytes: Uint8Array;
    }
  | { readonly type: "tick"; readonly wallMs: number; readonly monotonicMs: number }
  | {
      readonly type: "clock";
      readonly wallMs: number;
      readonly monotonicMs: number;
      readonly bootId: string;
      readonly quality: TimeQuality;
    }
  | { readonly type: "configuration"; readonly wallMs: number; readonly config: PipelineConfig }
  | {
      readonly type: "discard";
      readonly source: string;
      readonly reason: FrameDiscard;
      readonly count: number;
      readonly bytes: number;
    }
  | {
      readonly type: "gap";
      readonly source: string;
      /** Wall ms between which something may be missing. */
      readonly fromMs: number;
      readonly toMs: number;
      readonly count: number | "unknown";
      readonly reason: "uncleanStop" | "overrun";
    };

/** Entries that are not frames or ticks are rare: they travel as JSON. */
type RareEntry = Exclude<JournalEntry, { type: "frame" | "tick" }>;

const kind = { frame: 1, tick: 2, rare: 3, source: 4 } as const;

/**
 * Layout, little endian, records one after the other:
 * - source: u8 4, u32 length, UTF-8 name; gives the name the next free number, from 0
 * - frame: u8 1, u32 source number, f64 wall ms, f64 monotonic ms, u32 length, bytes
 * - tick: u8 2, f64 wall ms, f64 monotonic ms
 * - rare: u8 3, u32 length, UTF-8 JSON of the entry
 */
export class BatchWriter {
  #buffer = Buffer.allocUnsafeSlow(16_384);
  #length = 0;
  #sources = new Map<string, number>();
  #entries = 0;

  get byteLength(): number {
    return this.#length;
  }
  get entryCount(): number {
    return this.#entries;
  }

  frame(source: string, wallMs: number, monotonicMs: number, bytes: Uint8Array): void {
    const number = this.#sourceNumber(source);
    this.#reserve(25 + bytes.length);
    let at = this.#buffer.writeUInt8(kind.frame, this.#length);
    at = this.#buffer.writeUInt32LE(number, at);
    at = this.#buffer.writeDoubleLE(wallMs, at);
    at = this.#buffer.writeDoubleLE(monotonicMs, at);
    at = this.#buffer.writeUInt32LE(bytes.length, at);
    this.#buffer.set(bytes, at);
    this.#length = at + bytes.length;
    this.#entries++;
  }

  tick(wallMs: number, monotonicMs: number): void {
    this.#reserve(17);
    let at = this.#buffer.writeUInt8(kind.tick, this.#length);
    at = this.#buffer.writeDoubleLE(wallMs, at);
    this.#length = this.#buffer.writeDoubleLE(monotonicMs, at);
    this.#entries++;
  }

  rare(entry: RareEntry): void {
    this.#text(kind.rare, JSON.stringify(entry));
    this.#entries++;
  }

  /** Hands the bytes over in a buffer of their own, to be transferred, and starts anew. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#length);
    bytes.set(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    this.#entries = 0;
    this.#sources = new Map();
    return bytes;
  }

  #sourceNumber(name: string): number {
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const number = this.#sources.size;
    this.#sources.set(name, number);
    this.#text(kind.source, name);
    return number;
  }

  #text(type: number, text: string): void {
    const bytes = Buffer.from(text, "utf8");
    this.#reserve(5 + bytes.length);
    let at = this.#buffer.writeUInt8(type, this.#length);
    at = this.#buffer.writeUInt32LE(bytes.length, at);
    this.#buffer.set(bytes, at);
    this.#length = at + bytes.length;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#length + more));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

/**
 * Entries of a batch, in order. Frames point into `batch`.
 * @throws InvariantError when the bytes are not a batch; checksums are verified before, so this is our bug.
 */
export function* readBatch(batch: Uint8Array): Generator<JournalEntry> {
  const view = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);
  const sources: string[] = [];
  let at = 0;
  const bytes = (lengthAt: number): Buffer => {
    const length = view.readUInt32LE(lengthAt);
    const end = lengthAt + 4 + length;
    if (end > view.length)
      throw new InvariantError(`a record of ${length} bytes at ${lengthAt} ends behind its batch`);
    at = end;
    return view.subarray(lengthAt + 4, end);
  };
  while (at < view.length) {
    const type = view.readUInt8(at);
    switch (type) {
      case kind.source:
        sources.push(bytes(at + 1).toString("utf8"));
        break;
      case kind.frame: {
        const source = sources[view.readUInt32LE(at + 1)];
        if (source === undefined)
          throw new InvariantError(`a frame at ${at} names a source that the batch does not`);
        const wallMs = view.readDoubleLE(at + 5);
        const monotonicMs = view.readDoubleLE(at + 13);
        yield { type: "frame", source, wallMs, monotonicMs, bytes: bytes(at + 21) };
        break;
      }
      case kind.tick:
        yield { type: "tick", wallMs: view.readDoubleLE(at + 1), monotonicMs: view.readDoubleLE(at + 9) };
        at += 17;
        break;
      case kind.rare:
        yield JSON.parse(bytes(at + 1).toString("utf8")) as RareEntry;
        break;
      default:
        throw new InvariantError(`a record of unknown type ${type} at ${at}`);
    }
  }
}
