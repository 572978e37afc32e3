import type { FrameDiscard } from "../core/reading.ts";

/** Words of two bytes and their checksum, as Sensirion's chips send them (SHT3x-DIS datasheet section 4.12). */
const wordBytes = 3;

/** CRC-8, polynomial 0x31, begun with 0xFF, neither reflected nor inverted (table 20: of 0xBEEF it is 0x92). */
function crc8(bytes: Uint8Array): number {
  let crc = 0xff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x80 ? (crc << 1) ^ 0x31 : crc << 1) & 0xff;
  }
  return crc;
}

/** The values of so many words, or why not. */
export function sensirionWords(
  bytes: Uint8Array,
  count: number,
): readonly number[] | { readonly discard: FrameDiscard } {
  const words: number[] = [];
  for (let at = 0; at + wordBytes <= bytes.length; at += wordBytes) {
    const [high = 0, low = 0, crc = 0] = bytes.subarray(at, at + wordBytes);
    if (crc8(bytes.subarray(at, at + 2)) !== crc) return { discard: "badChecksum" };
    words.push((high << 8) | low);
  }
  return bytes.length === count * wordBytes ? words : { discard: "truncated" };
}

/** A command of two bytes. */
export const sensirionCommand = (code: number): readonly number[] => [code >> 8, code & 0xff];

/** °C of a word (SHT3x-DIS datasheet section 4.13, SCD4x datasheet table 11). */
export const sensirionTemperature = (word: number): number => -45 + (175 * word) / 65_535;
/** % relative humidity of a word. */
export const sensirionHumidity = (word: number): number => (100 * word) / 65_535;
