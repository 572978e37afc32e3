import type { PipelineConfig } from "../config/schema.ts";
import { InvariantError } from "../core/errors.ts";
import type { FrameDiscard, TimeQuality } from "../core/reading.ts";
import type { KeyEntry } from "./key-memory.ts";

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
      /** Where in the source it came from, such as the MQTT topic; empty where the source has one place only. */
      readonly origin: string;
    }
  | { readonly type: "tick"; readonly wallMs: number; readonly monotonicMs: number }
  | {
      readonly type: "clock";
      readonly wallMs: number;
      readonly monotonicMs: number;
      readonly bootId: string;
      readonly quality: TimeQuality;
    }
  | {
      readonly type: "configuration";
      readonly wallMs: number;
      /** Absent in journals of versions that knew no steps. */
      readonly monotonicMs?: number;
      readonly config: PipelineConfig;
    }
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
      readonly reason: GapReason;
    }
  | {
      /** A frame that a stage of the pipeline threw at, again and again; it is a discard. */
      readonly type: "fault";
      readonly source: string;
      /** The beginning of the frame's; absent in journals of versions that fed no models. */
      readonly origin?: string;
      readonly error: string;
      /** The beginning of the frame, base64. */
      readonly bytes: string;
    }
  /** Texts that wait for their scores, and are not in the store any more: discards. */
  | { readonly type: "lostTexts"; readonly lost: readonly (readonly [number: number, source: string])[] }
  /** The frames before it came with an idempotency key; a repeat of the request is not taken again. */
  | ({ readonly type: "key" } & KeyEntry);

/** What was lost before a commit, and how. */
export type GapReason = "uncleanStop" | "overrun" | "damage";

/** Entries that are not frames or ticks are rare: they travel as JSON. */
type RareEntry = Exclude<JournalEntry, { type: "frame" | "tick" }>;

/** Room for some dozens of frames, in powers of two. */
const smallestBytes = 16_384;
const kind = { frame: 1, tick: 2, rare: 3, source: 4, origin: 5 } as const;

/**
 * Layout, little endian, records one after the other:
 * - source: u8 4, u32 length, UTF-8 name; gives the name the next free number, from 0
 * - origin: u8 5, u32 source number, u32 length, UTF-8 text; gives source and origin together the next free number
 * - frame: u8 1, u32 number of its source or origin, f64 wall ms, f64 monotonic ms, u32 length, bytes
 * - tick: u8 2, f64 wall ms, f64 monotonic ms
 * - rare: u8 3, u32 length, UTF-8 JSON of the entry
 */
export class BatchWriter {
  #buffer = Buffer.allocUnsafeSlow(smallestBytes);
  /** Of the same bytes: Node's own way to write and read a double takes several times as long. */
  #view = viewOf(this.#buffer);
  #length = 0;
  #sources = new Map<string, number>();
  #origins = new Map<string, Map<string, number>>();
  #numbers = 0;
  #entries = 0;

  get byteLength(): number {
    return this.#length;
  }
  get entryCount(): number {
    return this.#entries;
  }

  frame(source: string, wallMs: number, monotonicMs: number, bytes: Uint8Array, origin = ""): void {
    const number = origin === "" ? this.#sourceNumber(source) : this.#originNumber(source, origin);
    this.#reserve(25 + bytes.length);
    const at = this.#length;
    this.#view.setUint8(at, kind.frame);
    this.#view.setUint32(at + 1, number, true);
    this.#view.setFloat64(at + 5, wallMs, true);
    this.#view.setFloat64(at + 13, monotonicMs, true);
    this.#view.setUint32(at + 21, bytes.length, true);
    this.#buffer.set(bytes, at + 25);
    this.#length = at + 25 + bytes.length;
    this.#entries++;
  }

  tick(wallMs: number, monotonicMs: number): void {
    this.#reserve(17);
    this.#view.setUint8(this.#length, kind.tick);
    this.#view.setFloat64(this.#length + 1, wallMs, true);
    this.#view.setFloat64(this.#length + 9, monotonicMs, true);
    this.#length += 17;
    this.#entries++;
  }

  rare(entry: RareEntry): void {
    this.#text(kind.rare, JSON.stringify(entry));
    this.#entries++;
  }

  /** Any entry, as `readBatch` gives it. */
  entry(entry: JournalEntry): void {
    if (entry.type === "frame")
      this.frame(entry.source, entry.wallMs, entry.monotonicMs, entry.bytes, entry.origin);
    else if (entry.type === "tick") this.tick(entry.wallMs, entry.monotonicMs);
    else this.rare(entry);
  }

  /** Hands the bytes over in a buffer of their own, to be transferred, and starts anew. */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#length);
    bytes.set(this.#buffer.subarray(0, this.#length));
    // What a slow disk once let gather must not be held for ever.
    if (this.#buffer.length > smallestBytes && this.#buffer.length > 4 * this.#length)
      this.#use(Buffer.allocUnsafeSlow(Math.max(smallestBytes, this.#buffer.length / 2)));
    this.#length = 0;
    this.#entries = 0;
    this.#sources = new Map();
    this.#origins = new Map();
    this.#numbers = 0;
    return bytes;
  }

  #sourceNumber(name: string): number {
    const known = this.#sources.get(name);
    if (known !== undefined) return known;
    const number = this.#numbers++;
    this.#sources.set(name, number);
    this.#text(kind.source, name);
    return number;
  }

  #originNumber(source: string, origin: string): number {
    const before = this.#origins.get(source)?.get(origin);
    if (before !== undefined) return before;
    const sourceNumber = this.#sourceNumber(source);
    const known = this.#origins.get(source) ?? new Map<string, number>();
    this.#origins.set(source, known);
    const number = this.#numbers++;
    known.set(origin, number);
    const bytes = Buffer.from(origin, "utf8");
    this.#reserve(9 + bytes.length);
    let at = this.#buffer.writeUInt8(kind.origin, this.#length);
    at = this.#buffer.writeUInt32LE(sourceNumber, at);
    at = this.#buffer.writeUInt32LE(bytes.length, at);
    this.#buffer.set(bytes, at);
    this.#length = at + bytes.length;
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
    this.#use(larger);
  }

  #use(buffer: Buffer<ArrayBuffer>): void {
    this.#buffer = buffer;
    this.#view = viewOf(buffer);
  }
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/**
 * Entries of a batch, in order. Frames point into `batch`.
 * @throws InvariantError when the bytes are not a batch; checksums are verified before, so this is our bug.
 */
export function* readBatch(batch: Uint8Array): Generator<JournalEntry> {
  const buffer = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);
  const view = viewOf(batch);
  const places: { readonly source: string; readonly origin: string }[] = [];
  let at = 0;
  const bytes = (lengthAt: number): Buffer => {
    const length = view.getUint32(lengthAt, true);
    const end = lengthAt + 4 + length;
    if (end > buffer.length)
      throw new InvariantError(`a record of ${length} bytes at ${lengthAt} ends behind its batch`);
    at = end;
    return buffer.subarray(lengthAt + 4, end);
  };
  while (at < buffer.length) {
    const type = view.getUint8(at);
    switch (type) {
      case kind.source:
        places.push({ source: bytes(at + 1).toString("utf8"), origin: "" });
        break;
      case kind.origin: {
        const place = placeOf(places, view.getUint32(at + 1, true), at);
        places.push({ source: place.source, origin: bytes(at + 5).toString("utf8") });
        break;
      }
      case kind.frame: {
        const { source, origin } = placeOf(places, view.getUint32(at + 1, true), at);
        const wallMs = view.getFloat64(at + 5, true);
        const monotonicMs = view.getFloat64(at + 13, true);
        yield { type: "frame", source, wallMs, monotonicMs, bytes: bytes(at + 21), origin };
        break;
      }
      case kind.tick:
        yield {
          type: "tick",
          wallMs: view.getFloat64(at + 1, true),
          monotonicMs: view.getFloat64(at + 9, true),
        };
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

function placeOf<T>(places: readonly T[], number: number, at: number): T {
  const place = places[number];
  if (!place) throw new InvariantError(`a record at ${at} names a source that the batch does not`);
  return place;
}
