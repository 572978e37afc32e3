/** Nested arrays of numbers, all of one length per level. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const zero = 0x30;
const colon = 0x3a;
const open = 0x5b;
const close = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;
const maxDepth = 8;
/** A decimal of so many digits is a whole number and a power of ten that are both exact in a double. */
const exactDigits = 15;
const powersOfTen = Array.from({ length: exactDigits + 1 }, (_, power) => 10 ** power);

/**
 * Reads `{"data": [[…]]}` without making a JavaScript value of each number and each array. Undefined for everything
 * else, exponents and decimals of more than 15 digits too, which is then for `JSON.parse` to read or to refuse: what is
 * returned is what it would have given.
 */
export function scanNumbers(bytes: Uint8Array): Numbers | undefined {
  const begin = afterKey(bytes, 0);
  return begin === undefined ? undefined : new Scan(bytes, begin).numbers();
}

function skip(bytes: Uint8Array, from: number): number {
  for (let at = from; ; at++) {
    const byte = bytes[at];
    if (byte !== space && byte !== lineFeed && byte !== carriageReturn && byte !== tab) return at;
  }
}

/** Behind `{"data":`. */
function afterKey(bytes: Uint8Array, from: number): number | undefined {
  let at = skip(bytes, from);
  if (bytes[at] !== openObject) return undefined;
  at = skip(bytes, at + 1);
  for (const byte of [quote, 0x64, 0x61, 0x74, 0x61, quote]) if (bytes[at++] !== byte) return undefined;
  at = skip(bytes, at);
  return bytes[at] === colon ? skip(bytes, at + 1) : undefined;
}

class Scan {
  readonly #bytes: Uint8Array;
  readonly #words: DataView;
  #at: number;
  readonly #data: Float32Array;
  #size = 0;
  /** Lengths by depth, from the first array of each that ended. */
  readonly #shape: (number | undefined)[] = [];
  readonly #counts: number[] = [];
  /** How deep the numbers stand, once one was met. */
  #leaf = 0;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.#words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = at;
    // A number and what parts it from the next take two bytes at least.
    this.#data = new Float32Array((bytes.length - at) >> 1);
  }

  numbers(): Numbers | undefined {
    const bytes = this.#bytes;
    let depth = 0;
    for (;;) {
      for (; bytes[this.#at] === open; depth++) {
        if (depth === maxDepth) return undefined;
        this.#counts[depth] = 0;
        this.#at = skip(bytes, this.#at + 1);
      }
      // An empty array has no number here, nor has anything else that is no array of numbers.
      if (depth === 0 || (this.#leaf !== 0 && depth !== this.#leaf)) return undefined;
      this.#leaf = depth;
      const count = this.#run();
      if (count === undefined) return undefined;
      this.#counts[depth - 1] = count;
      // Each run ends with the bracket that closes its array; others may follow.
      for (;;) {
        depth--;
        const length = this.#counts[depth];
        this.#shape[depth] ??= length;
        if (this.#shape[depth] !== length) return undefined;
        this.#at = skip(bytes, this.#at + 1);
        if (depth === 0) return this.#ended();
        this.#counts[depth - 1] = (this.#counts[depth - 1] ?? 0) + 1;
        const next = bytes[this.#at];
        if (next === close) continue;
        if (next !== comma) return undefined;
        this.#at = skip(bytes, this.#at + 1);
        break;
      }
    }
  }

  /** Numbers up to the bracket behind them, and how many; undefined when anything else comes. */
  #run(): number | undefined {
    const bytes = this.#bytes;
    const first = this.#size;
    let at = this.#at;
    for (;;) {
      at = skip(bytes, this.#pixels(at));
      const isNegative = bytes[at] === minus;
      if (isNegative) at++;
      const begin = at;
      let mantissa = 0;
      for (let d = digitOf(bytes[at]); isDigit(d); d = digitOf(bytes[++at])) mantissa = mantissa * 10 + d;
      const whole = at - begin;
      if (whole === 0 || (whole > 1 && bytes[begin] === zero)) return undefined;
      let places = 0;
      if (bytes[at] === point) {
        const behindPoint = ++at;
        for (let d = digitOf(bytes[at]); isDigit(d); d = digitOf(bytes[++at])) mantissa = mantissa * 10 + d;
        places = at - behindPoint;
        if (places === 0) return undefined;
      }
      if (whole + places > exactDigits) return undefined;
      // One division of exact numbers rounds as the decimal does.
      const value = places === 0 ? mantissa : mantissa / (powersOfTen[places] ?? 1);
      this.#data[this.#size++] = isNegative ? -value : value;
      at = skip(bytes, at);
      if (bytes[at] === close) {
        this.#at = at;
        return this.#size - first;
      }
      if (bytes[at] !== comma) return undefined;
      at++;
    }
  }

  /**
   * Whole numbers of one to three digits with a comma behind, which most are; ends before anything else. Four bytes are
   * looked at together, as one little-endian word: each further load and each further branch costs a tenth of the time.
   */
  #pixels(from: number): number {
    const words = this.#words;
    const data = this.#data;
    const last = words.byteLength - 4;
    let size = this.#size;
    let at = from;
    while (at <= last) {
      const word = words.getUint32(at, true) | 0;
      if ((word & 0xff) === space) at++;
      else if ((word & 0xff_00) === comma << 8) {
        const ones = (word & 0xff) - zero;
        if (ones >>> 0 > 9) break;
        data[size++] = ones;
        at += 2;
      } else if ((word & 0xff_00_00) === comma << 16) {
        const digits = (word & 0xff_ff) - 0x30_30;
        // Bit 7 of a byte is set where it was below `0` or is above 9; no zero leads.
        if (((digits | (digits + 0x76_76)) & 0x80_80) !== 0 || (digits & 0xff) === 0) break;
        data[size++] = (digits & 0xff) * 10 + (digits >> 8);
        at += 3;
      } else if (word >>> 24 === comma) {
        const digits = (word & 0xff_ff_ff) - 0x30_30_30;
        if (((digits | (digits + 0x76_76_76)) & 0x80_80_80) !== 0 || (digits & 0xff) === 0) break;
        data[size++] = (digits & 0xff) * 100 + ((digits >> 8) & 0xff) * 10 + (digits >> 16);
        at += 4;
      } else break;
    }
    this.#size = size;
    return at;
  }

  #ended(): Numbers | undefined {
    if (this.#bytes[this.#at] !== closeObject) return undefined;
    if (skip(this.#bytes, this.#at + 1) !== this.#bytes.length) return undefined;
    return { shape: this.#shape.map((length) => length ?? 0), data: this.#data.subarray(0, this.#size) };
  }
}

const digitOf = (byte: number | undefined) => (byte ?? 0) - zero;
/** One comparison: a negative number becomes a large one. */
const isDigit = (digit: number) => digit >>> 0 <= 9;
