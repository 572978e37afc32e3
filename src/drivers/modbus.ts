/**
 * What Modbus registers hold, and how what was read of them stands in a frame. Sections are those of the MODBUS
 * Application Protocol Specification V1.1b3. It opens nothing; `sources/` asks, `decode/` reads frames.
 */
import type { FrameDiscard } from "../core/reading.ts";

/** The four tables, by the function code that reads them (sections 6.1 to 6.4). */
export const readFunction = { coil: 1, discrete: 2, holding: 3, input: 4 } as const;
export type Table = keyof typeof readFunction;
export const tables = Object.keys(readFunction) as [Table, ...Table[]];
/** Most that one request may ask of a table (sections 6.1 to 6.4). */
export const maxCount: Readonly<Record<Table, number>> = {
  coil: 2_000,
  discrete: 2_000,
  holding: 125,
  input: 125,
};
/** Tables of single bits; the others hold registers of 16. */
export const isBits = (table: Table): boolean => table === "coil" || table === "discrete";

/** How many registers a number takes. */
const registersOf = {
  bool: 1,
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  float32: 2,
  int64: 4,
  uint64: 4,
  float64: 4,
} as const;
type NumberType = keyof typeof registersOf;
export type RegisterType = NumberType | "string";
export const registerTypes: readonly RegisterType[] = [
  ...(Object.keys(registersOf) as NumberType[]),
  "string",
];

/** Where a channel's value is, and what it means. */
export interface Register {
  readonly table: Table;
  /** From 0, as it is on the wire (section 4.4). */
  readonly address: number;
  /** Default: `bool` in tables of bits, else `uint16`. */
  readonly type?: RegisterType | undefined;
  /** How many registers a string takes, two characters each. */
  readonly length?: number | undefined;
  /** Numbers that stand for the texts of a string. */
  readonly words?: Readonly<Record<string, number>> | undefined;
  readonly wordOrder: "big" | "little";
  readonly byteOrder: "big" | "little";
  /** The lowest bit of a field of so many `bits`, from 0. */
  readonly bit?: number | undefined;
  readonly bits: number;
  readonly scale: number;
  readonly offset: number;
}

export const typeOf = ({ table, type }: Register): RegisterType =>
  type ?? (isBits(table) ? "bool" : "uint16");
/** In registers, or in bits where the table holds bits. */
export function sizeOf(register: Register): number {
  if (isBits(register.table)) return 1;
  const type = typeOf(register);
  return type === "string" ? (register.length ?? 1) : registersOf[type];
}

/** So many of a table, as they were read: registers as on the wire, bits from the lowest of the first byte on. */
export interface RegisterRecord {
  readonly table: Table;
  readonly address: number;
  readonly count: number;
  readonly bytes: Uint8Array;
}

export const bytesOf = (table: Table, count: number): number =>
  isBits(table) ? Math.ceil(count / 8) : 2 * count;

/** Table (its function code), address and count, big-endian; the bytes follow. */
const headBytes = 5;

export const recordBytes = (table: Table, count: number): number => headBytes + bytesOf(table, count);

export function frameOf(records: readonly RegisterRecord[]): Uint8Array {
  const frame = new Uint8Array(records.reduce((sum, { bytes }) => sum + headBytes + bytes.length, 0));
  const view = new DataView(frame.buffer);
  let at = 0;
  for (const { table, address, count, bytes } of records) {
    view.setUint8(at, readFunction[table]);
    view.setUint16(at + 1, address);
    view.setUint16(at + 3, count);
    frame.set(bytes, at + headBytes);
    at += headBytes + bytes.length;
  }
  return frame;
}

/** The records point into the frame. */
export function recordsOf(frame: Uint8Array): RegisterRecord[] | { readonly discard: FrameDiscard } {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const records: RegisterRecord[] = [];
  for (let at = 0; at < frame.length; ) {
    if (frame.length - at < headBytes) return { discard: "truncated" };
    const table = tables.find((name) => readFunction[name] === view.getUint8(at));
    const address = view.getUint16(at + 1);
    const count = view.getUint16(at + 3);
    if (!table || count === 0 || count > maxCount[table] || address + count > 65_536)
      return { discard: "malformed" };
    const end = at + recordBytes(table, count);
    if (end > frame.length) return { discard: "truncated" };
    records.push({ table, address, count, bytes: frame.subarray(at + headBytes, end) });
    at = end;
  }
  return records;
}

/**
 * The register's value in its channel's unit; a bigint is an integer beyond 2^53, which no number tells exactly; a text
 * is one that no word stands for; undefined when the record does not hold it.
 */
export function valueIn(record: RegisterRecord, register: Register): number | bigint | string | undefined {
  const at = register.address - record.address;
  if (record.table !== register.table || at < 0 || at + sizeOf(register) > record.count) return undefined;
  if (isBits(record.table)) return scaled(((record.bytes[at >> 3] ?? 0) >> (at & 7)) & 1, register);
  const raw = rawOf(record.bytes.subarray(2 * at, 2 * (at + sizeOf(register))), register);
  return typeof raw === "number" ? scaled(raw, register) : raw;
}

function rawOf(bytes: Uint8Array, register: Register): number | bigint | string {
  const inOrder = ordered(bytes, register);
  const view = new DataView(inOrder.buffer);
  const type = typeOf(register);
  switch (type) {
    case "bool":
    case "uint16":
      return field(view.getUint16(0), register);
    case "uint32":
      return field(view.getUint32(0), register);
    case "int16":
      return view.getInt16(0);
    case "int32":
      return view.getInt32(0);
    case "float32":
      return view.getFloat32(0);
    case "float64":
      return view.getFloat64(0);
    case "int64":
      return exactly(view.getBigInt64(0));
    case "uint64":
      return exactly(view.getBigUint64(0));
    case "string":
      return textOf(inOrder, register);
    default:
      return type satisfies never;
  }
}

/** One byte a character, up to the first zero; devices fill up with zeros or blanks. */
function textOf(bytes: Uint8Array<ArrayBuffer>, { words = {} }: Register): number | string {
  const [text = ""] = Buffer.from(bytes.buffer).toString("latin1").split("\0");
  const word = text.trim();
  return Object.hasOwn(words, word) ? (words[word] ?? word) : word;
}

/** A copy with the most significant byte first, or from that to the order of the wire: the same both ways. */
function ordered(bytes: Uint8Array, { wordOrder, byteOrder }: Register): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes.length);
  const words = bytes.length / 2;
  for (let word = 0; word < words; word++) {
    const from = 2 * (wordOrder === "big" ? word : words - 1 - word);
    const [high, low] = byteOrder === "big" ? [from, from + 1] : [from + 1, from];
    copy[2 * word] = bytes[high] ?? 0;
    copy[2 * word + 1] = bytes[low] ?? 0;
  }
  return copy;
}

function field(value: number, { bit, bits }: Register): number {
  return bit === undefined ? value : Math.floor(value / 2 ** bit) % 2 ** bits;
}

function exactly(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/** Dividing by 10 gives the decimal that is meant where a factor of 0.1 gives 0.30000000000000004. */
function scaled(raw: number, { scale, offset }: Register): number {
  const divisor = Math.round(1 / scale);
  return (divisor * scale === 1 ? raw / divisor : raw * scale) + offset;
}

const integers: Readonly<Partial<Record<RegisterType, readonly [min: number, max: number]>>> = {
  bool: [0, 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [0, 2 ** 16 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  // Beyond these a number is not exact.
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint64: [0, Number.MAX_SAFE_INTEGER],
};

/**
 * The bytes that make the register say `value`, rounded to what it can say; undefined when its type cannot hold it, as no string does.
 * A bit of a coil is a byte, 0 or 1. Fields of bits are not written: what is beside them would have to be read before.
 */
export function bytesFor(register: Register, value: number): Uint8Array | undefined {
  const { scale, offset } = register;
  const divisor = Math.round(1 / scale);
  const shifted = value - offset;
  const exact = divisor * scale === 1 ? shifted * divisor : shifted / scale;
  const type = typeOf(register);
  const limits = integers[type];
  const raw = limits ? Math.round(exact) : exact;
  if (!Number.isFinite(raw) || register.bit !== undefined) return undefined;
  if (limits && (raw < limits[0] || raw > limits[1])) return undefined;
  if (isBits(register.table)) return Uint8Array.of(raw);
  const bytes = new Uint8Array(2 * sizeOf(register));
  const view = new DataView(bytes.buffer);
  switch (type) {
    case "bool":
    case "uint16":
    case "int16":
      view.setInt16(0, raw);
      break;
    case "uint32":
    case "int32":
      view.setInt32(0, raw);
      break;
    case "float32":
      view.setFloat32(0, raw);
      break;
    case "float64":
      view.setFloat64(0, raw);
      break;
    case "int64":
    case "uint64":
      view.setBigInt64(0, BigInt(raw));
      break;
    case "string":
      return undefined;
    default:
      return type satisfies never;
  }
  // A value that a float32 makes infinite.
  if (type === "float32" && !Number.isFinite(view.getFloat32(0))) return undefined;
  return ordered(bytes, register);
}
