import { isUtf8 } from "node:buffer";
import type { Fields, FrameFields } from "./reading-reader.ts";

/** Arrays and maps within each other, and tags; more are no reading of a device. */
const maxDepth = 32;
/** Bytes of a bignum that is read as a number; RFC 8949 has no limit. */
const maxBignumBytes = 32;
const major = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5, tag: 6, simple: 7 } as const;
const selfDescribed = 55_799;

/** What is no number and no text: nothing that a channel could take. */
type Scalar = number | string | undefined;
interface Head {
  readonly major: number;
  /** The low five bits. */
  readonly info: number;
  /** Undefined for an indefinite length, and for a break. */
  readonly argument: number | undefined;
}

/** Bytes that are no well-formed CBOR; never leaves this file. */
class Malformed extends Error {}

/**
 * One map, or an array of maps, per frame (RFC 8949). Keys are texts or whole numbers. Nothing is built but the scalars
 * of these maps, so that no claimed length costs memory; what is nested deeper than `maxDepth` is malformed.
 */
export function splitCbor(bytes: Uint8Array): FrameFields {
  try {
    return new CborReader(bytes).readings();
  } catch (error) {
    if (error instanceof Malformed) return { discard: "malformed" };
    throw error;
  }
}

class CborReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  readings(): readonly Fields[] {
    const head = this.#head();
    const readings: Fields[] = [];
    if (head.major === major.tag && head.argument === selfDescribed) this.#collect(this.#head(), readings);
    else this.#collect(head, readings);
    if (this.#at !== this.#bytes.length) throw new Malformed();
    return readings;
  }

  #collect(head: Head, readings: Fields[]): void {
    if (head.major !== major.array) readings.push(this.#map(head, 0));
    else this.#items(head, (item) => readings.push(this.#map(item, 1)));
  }

  #map(head: Head, depth: number): Fields {
    if (head.major !== major.map) throw new Malformed();
    const fields: [string, Scalar][] = [];
    this.#items(head, (item) => {
      const key = this.#scalar(item, depth + 1);
      if (key === undefined) throw new Malformed();
      fields.push([String(key), this.#scalar(this.#head(), depth + 1)]);
    });
    return fields;
  }

  /** Section 3.2.1: an indefinite length ends with a break. */
  #items({ argument }: Head, take: (item: Head) => void): void {
    for (let i = 0; argument === undefined || i < argument; i++) {
      const item = this.#head();
      if (isBreak(item)) {
        if (argument === undefined) return;
        throw new Malformed();
      }
      take(item);
    }
  }

  /** Section 3. */
  #scalar(head: Head, depth: number): Scalar {
    if (depth > maxDepth) throw new Malformed();
    const { argument } = head;
    switch (head.major) {
      case major.unsigned:
        return argument;
      case major.negative:
        return -1 - (argument ?? 0);
      case major.bytes:
        this.#string(head);
        return undefined;
      case major.text: {
        const text = this.#string(head);
        if (!isUtf8(text)) throw new Malformed();
        return text.toString("utf8");
      }
      case major.array:
        this.#items(head, (item) => this.#scalar(item, depth + 1));
        return undefined;
      case major.map:
        this.#items(head, (item) => {
          this.#scalar(item, depth + 1);
          this.#scalar(this.#head(), depth + 1);
        });
        return undefined;
      case major.tag:
        return this.#tagged(argument ?? 0, depth + 1);
      default:
        return this.#simple(head);
    }
  }

  /** Section 3.4: bignums are numbers; what another tag says does not change which number or text it is. */
  #tagged(tag: number, depth: number): Scalar {
    const head = this.#head();
    if (head.major !== major.bytes || (tag !== 2 && tag !== 3)) return this.#scalar(head, depth);
    const bytes = this.#string(head);
    if (bytes.length > maxBignumBytes) return undefined;
    const value = BigInt(`0x0${bytes.toString("hex")}`);
    return Number(tag === 2 ? value : -1n - value);
  }

  /** Section 3.3. */
  #simple({ info, argument = 0 }: Head): Scalar {
    const at = this.#at;
    if (info === 25) return half(argument);
    if (info === 26) return this.#view.getFloat32(at - 4);
    if (info === 27) return this.#view.getFloat64(at - 8);
    // A break where none may be, or a simple value that has a shorter form.
    if (info === 31 || (info === 24 && argument < 32)) throw new Malformed();
    return undefined;
  }

  /** Section 3.2.3: one of indefinite length is a row of definite ones of its kind. */
  #string(head: Head): Buffer {
    if (head.argument !== undefined) return this.#take(head.argument);
    const parts: Buffer[] = [];
    this.#items(head, (part) => {
      if (part.major !== head.major || part.argument === undefined) throw new Malformed();
      parts.push(this.#take(part.argument));
    });
    return Buffer.concat(parts);
  }

  #head(): Head {
    const first = this.#bytes[this.#at];
    if (first === undefined) throw new Malformed();
    this.#at++;
    const [kind, info] = [first >> 5, first & 0x1f];
    if (info < 24) return { major: kind, info, argument: info };
    if (info < 28) return { major: kind, info, argument: this.#number(2 ** (info - 24)) };
    const isIndefinite =
      info === 31 && kind !== major.unsigned && kind !== major.negative && kind !== major.tag;
    if (!isIndefinite) throw new Malformed();
    return { major: kind, info, argument: undefined };
  }

  #number(width: number): number {
    const at = this.#at;
    if (at + width > this.#bytes.length) throw new Malformed();
    this.#at += width;
    if (width === 1) return this.#view.getUint8(at);
    if (width === 2) return this.#view.getUint16(at);
    if (width === 4) return this.#view.getUint32(at);
    return Number(this.#view.getBigUint64(at));
  }

  /** A view of the next bytes. */
  #take(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw new Malformed();
    const taken = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, count);
    this.#at = end;
    return taken;
  }
}

const isBreak = ({ major: kind, info }: Head) => kind === major.simple && info === 31;

/** Section 3.3 and appendix D: five bits of exponent, ten of mantissa. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent < 31) return sign * (mantissa + 1_024) * 2 ** (exponent - 25);
  return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
}
