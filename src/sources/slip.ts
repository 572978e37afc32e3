import type { Check } from "./check.ts";
import type { Unwrap } from "./delimited-framer.ts";

/** END of RFC 1055; what stands for it and for ESC within a frame. */
export const slipEnd = 0xc0;
const escapeByte = 0xdb;
const escapedEnd = 0xdc;
const escapedEscape = 0xdd;

/**
 * What a SLIP frame holds (RFC 1055), without its checksum. An END may begin a frame as well, so nothing between two is
 * nothing. RFC 1055 leaves open what follows an ESC that should not; here it is a discard.
 */
export function slipOf(maxBytes: number, check: Check): Unwrap {
  const plain = new Uint8Array(maxBytes);
  return (bytes) => {
    if (bytes.length === 0) return undefined;
    let length = 0;
    for (let at = 0; at < bytes.length; at++) {
      let byte = bytes[at] ?? 0;
      if (byte === escapeByte) {
        const escaped = bytes[++at];
        if (escaped !== escapedEnd && escaped !== escapedEscape) return "malformed";
        byte = escaped === escapedEnd ? slipEnd : escapeByte;
      }
      plain[length++] = byte;
    }
    const frame = plain.subarray(0, length);
    return check.holds(frame) ? frame.subarray(0, length - check.bytes) : "badChecksum";
  };
}
