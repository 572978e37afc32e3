import type { Check } from "./check.ts";
import type { Unwrap } from "./delimited-framer.ts";

/** A code of 255 stands for 254 bytes without a zero behind them. */
const longest = 0xff;

/**
 * What a frame of consistent overhead byte stuffing holds (Cheshire and Baker, "Consistent Overhead Byte Stuffing",
 * IEEE/ACM Transactions on Networking 7(2), 1999, section III), without its checksum. Between the blocks is a zero.
 */
export function cobsOf(maxBytes: number, check: Check): Unwrap {
  const plain = new Uint8Array(maxBytes);
  return (bytes) => {
    if (bytes.length === 0) return undefined;
    let length = 0;
    for (let at = 0; at < bytes.length; ) {
      const code = bytes[at] ?? 0;
      const next = at + code;
      if (next > bytes.length) return "malformed";
      plain.set(bytes.subarray(at + 1, next), length);
      length += code - 1;
      if (code !== longest && next < bytes.length) plain[length++] = 0;
      at = next;
    }
    const frame = plain.subarray(0, length);
    return check.holds(frame) ? frame.subarray(0, length - check.bytes) : "badChecksum";
  };
}
