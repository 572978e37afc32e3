import type { BinaryDecode } from "../config/decode-schema.ts";
import { fieldEnd, type NumberType } from "../config/packet-layout.ts";
import type { KnownChannel } from "../core/reading.ts";
import type { FrameFields } from "./reading-reader.ts";

type Read = (view: DataView, offset: number, isLittle: boolean) => number;

const reads: Readonly<Record<NumberType, Read>> = {
  uint8: (view, at) => view.getUint8(at),
  int8: (view, at) => view.getInt8(at),
  uint16: (view, at, isLittle) => view.getUint16(at, isLittle),
  int16: (view, at, isLittle) => view.getInt16(at, isLittle),
  uint32: (view, at, isLittle) => view.getUint32(at, isLittle),
  int32: (view, at, isLittle) => view.getInt32(at, isLittle),
  // Beyond 2^53 the lowest bits are rounded away, as in any number of ours.
  uint64: (view, at, isLittle) => Number(view.getBigUint64(at, isLittle)),
  int64: (view, at, isLittle) => Number(view.getBigInt64(at, isLittle)),
  float32: (view, at, isLittle) => view.getFloat32(at, isLittle),
  float64: (view, at, isLittle) => view.getFloat64(at, isLittle),
};

/** Numbers at fixed places of a frame. One that is too short for all of them is a discard. */
export function compileBinary({ fields }: BinaryDecode): (bytes: Uint8Array) => FrameFields {
  const all = Object.entries(fields);
  const least = Math.max(...all.map(([, field]) => fieldEnd(field)));
  const readers = all.map(([name, { offset, type, endianness, scale, add }]) => {
    const read = reads[type];
    const isLittle = endianness === "little";
    const scaled = scaledBy(scale);
    return (view: DataView) => [name, scaled(read(view, offset, isLittle)) + add] as const;
  });
  return (bytes) => {
    if (bytes.length < least) return { discard: "truncated" };
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    return [readers.map((read) => read(view))];
  };
}

/** 1236 tenths are 123.6 where they are divided, and 123.60000000000001 where they are multiplied. */
function scaledBy(scale: number): (raw: number) => number {
  const divisor = Math.round(1 / scale);
  if (1 / divisor === scale) return (raw) => raw / divisor;
  return (raw) => raw * scale;
}

export function binaryChannels({ fields }: BinaryDecode): Readonly<Record<string, KnownChannel>> {
  return Object.fromEntries(Object.entries(fields).map(([name, { unit }]) => [name, { unit }]));
}
