import fc from "fast-check";
import { expect, test } from "vitest";
import { type ChecksumKind, checksumBytes, checksumKinds, checksumOf } from "../../src/core/checksum.ts";

/** `check` of the CRC RevEng catalogue: of the nine digits in ASCII; the sums by hand, 0x1dd in all. */
const checks: Record<ChecksumKind, number> = {
  sum8: 0xdd,
  "sum8-negated": 0x23,
  sum16: 0x1dd,
  xor8: 0x31,
  "crc8-smbus": 0xf4,
  "crc8-maxim-dow": 0xa1,
  "crc16-arc": 0xbb3d,
  "crc16-modbus": 0x4b37,
  "crc16-kermit": 0x2189,
  "crc16-xmodem": 0x31c3,
  "crc16-ibm-3740": 0x29b1,
  "crc16-ibm-sdlc": 0x906e,
  "crc32-iso-hdlc": 0xcbf43926,
};

test.each(checksumKinds)("%s of 123456789", (kind) => {
  expect(checksumOf(kind)(Buffer.from("123456789"))).toBe(checks[kind]);
});

test("a checksum fits into its bytes, and a flipped bit changes it", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...checksumKinds),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      fc.nat(),
      (kind, bytes, at) => {
        const checksum = checksumOf(kind);
        const flipped = Uint8Array.from(bytes);
        const bit = at % (bytes.length * 8);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(checksum(bytes)).toBeLessThan(256 ** checksumBytes(kind));
        expect(checksum(flipped)).not.toBe(checksum(bytes));
      },
    ),
    { numRuns: 2_000 },
  );
});
