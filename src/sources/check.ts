import type { ChecksumField } from "../config/framing-schema.ts";
import { checksumBytes, checksumOf } from "../core/checksum.ts";

/** The checksum that stands at the end of a frame. */
export interface Check {
  /** How many bytes it has. */
  readonly bytes: number;
  /** Of the frame up to the checksum's last byte; false also when it has no room in it. */
  holds(frame: Uint8Array): boolean;
}

const none: Check = { bytes: 0, holds: () => true };

export function checkOf(field: ChecksumField | undefined): Check {
  if (!field) return none;
  const { kind, endianness, from } = field;
  const width = checksumBytes(kind);
  const checksum = checksumOf(kind);
  return {
    bytes: width,
    holds: (frame) => {
      const at = frame.length - width;
      if (at < from) return false;
      let told = 0;
      for (let i = 0; i < width; i++) {
        told = told * 256 + (frame[endianness === "big" ? at + i : at + width - 1 - i] ?? 0);
      }
      return told === checksum(frame.subarray(from, at));
    },
  };
}
