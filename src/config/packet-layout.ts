import { checksumBytes } from "../core/checksum.ts";
import type { PacketFraming } from "./framing-schema.ts";

/** The numbers that a field may be, and their bytes. */
export const numberBytes = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  uint64: 8,
  int64: 8,
  float32: 4,
  float64: 8,
} as const;
export type NumberType = keyof typeof numberBytes;
export const numberTypes = Object.keys(numberBytes) as [NumberType, ...NumberType[]];

/** Where a field ends, counted like its offset. */
export function fieldEnd({ offset, type }: { readonly offset: number; readonly type: NumberType }): number {
  return offset + numberBytes[type];
}

/** What every packet has: its header and its length field, its checksum and its trailer. */
export function leastBytes({ header, length, checksum, trailer }: PacketFraming): number {
  const head = Math.max(header.length / 2, typeof length === "number" ? 0 : fieldEnd(length));
  return head + (checksum ? checksumBytes(checksum.kind) : 0) + trailer.length / 2;
}
