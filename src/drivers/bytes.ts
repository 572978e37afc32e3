/** Of bytes as registers hold them. Unsigned unless the name says otherwise. */

export const u16le = (bytes: Uint8Array, at: number): number =>
  (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
export const u16be = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
export const s16le = (bytes: Uint8Array, at: number): number => signed(u16le(bytes, at), 16);
export const s16be = (bytes: Uint8Array, at: number): number => signed(u16be(bytes, at), 16);

/** The lowest `bits` of `value` as two's complement. */
export function signed(value: number, bits: number): number {
  return value >= 2 ** (bits - 1) ? value - 2 ** bits : value;
}
