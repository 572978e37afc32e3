/** Senders of frames, written from the descriptions of their wrapping. */
import { checksumOf } from "../../src/core/checksum.ts";

/** RFC 1055, as a sender does it: END at both ends. */
export function slip(bytes: Uint8Array): Buffer {
  const out = [0xc0];
  for (const byte of bytes) {
    if (byte === 0xc0) out.push(0xdb, 0xdc);
    else if (byte === 0xdb) out.push(0xdb, 0xdd);
    else out.push(byte);
  }
  return Buffer.from([...out, 0xc0]);
}

/** Cheshire and Baker, from its description: blocks of at most 254 bytes without a zero. */
export function cobs(bytes: Uint8Array): Buffer {
  const out: number[] = [];
  let block: number[] = [];
  for (const byte of bytes) {
    if (byte === 0) {
      out.push(block.length + 1, ...block);
      block = [];
    } else {
      block.push(byte);
      if (block.length === 254) {
        out.push(255, ...block);
        block = [];
      }
    }
  }
  out.push(block.length + 1, ...block);
  return Buffer.from([...out, 0]);
}

/** With the CRC-32 of Ethernet behind it, high byte first. */
export function withCrc(bytes: Uint8Array): Buffer {
  const crc = Buffer.alloc(4);
  crc.writeUInt32BE(checksumOf("crc32-iso-hdlc")(bytes));
  return Buffer.concat([bytes, crc]);
}
