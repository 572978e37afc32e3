/** Of bytes on a wire, for what devices and protocols append to their frames. */
export type Checksum = (bytes: Uint8Array) => number;

interface Crc {
  readonly width: 8 | 16 | 32;
  readonly polynomial: number;
  readonly initial: number;
  /** Bytes come in, and the remainder goes out, lowest bit first. */
  readonly isReflected: boolean;
  readonly xorOut: number;
}

/** Parameters as the CRC RevEng catalogue has them (https://reveng.sourceforge.io/crc-catalogue/all.htm). */
const crcs = {
  "crc8-smbus": { width: 8, polynomial: 0x07, initial: 0, isReflected: false, xorOut: 0 },
  "crc8-maxim-dow": { width: 8, polynomial: 0x31, initial: 0, isReflected: true, xorOut: 0 },
  "crc16-arc": { width: 16, polynomial: 0x8005, initial: 0, isReflected: true, xorOut: 0 },
  "crc16-modbus": { width: 16, polynomial: 0x8005, initial: 0xffff, isReflected: true, xorOut: 0 },
  "crc16-kermit": { width: 16, polynomial: 0x1021, initial: 0, isReflected: true, xorOut: 0 },
  "crc16-xmodem": { width: 16, polynomial: 0x1021, initial: 0, isReflected: false, xorOut: 0 },
  "crc16-ibm-3740": { width: 16, polynomial: 0x1021, initial: 0xffff, isReflected: false, xorOut: 0 },
  "crc16-ibm-sdlc": { width: 16, polynomial: 0x1021, initial: 0xffff, isReflected: true, xorOut: 0xffff },
  "crc32-iso-hdlc": {
    width: 32,
    polynomial: 0x04c11db7,
    initial: 0xffffffff,
    isReflected: true,
    xorOut: 0xffffffff,
  },
} as const satisfies Record<string, Crc>;

const sums = {
  sum8: 8,
  /** Two's complement of the sum, so that all bytes with it sum up to 0. */
  "sum8-negated": 8,
  sum16: 16,
  xor8: 8,
} as const;

export type ChecksumKind = keyof typeof sums | keyof typeof crcs;
export const checksumKinds = [...Object.keys(sums), ...Object.keys(crcs)] as [
  ChecksumKind,
  ...ChecksumKind[],
];

/** How many bytes it takes on the wire. */
export function checksumBytes(kind: ChecksumKind): number {
  return (kind in crcs ? crcs[kind as keyof typeof crcs].width : sums[kind as keyof typeof sums]) / 8;
}

export function checksumOf(kind: ChecksumKind): Checksum {
  switch (kind) {
    case "sum8":
      return (bytes) => sum(bytes) & 0xff;
    case "sum8-negated":
      return (bytes) => -sum(bytes) & 0xff;
    case "sum16":
      return (bytes) => sum(bytes) & 0xffff;
    case "xor8":
      return xor;
    default:
      return crcOf(crcs[kind]);
  }
}

function sum(bytes: Uint8Array): number {
  let all = 0;
  for (const byte of bytes) all += byte;
  return all;
}

function xor(bytes: Uint8Array): number {
  let all = 0;
  for (const byte of bytes) all ^= byte;
  return all;
}

function crcOf(crc: Crc): Checksum {
  const { width, initial, isReflected, xorOut } = crc;
  const table = tableOf(crc);
  const mask = width === 32 ? 0xffffffff : 2 ** width - 1;
  if (isReflected) {
    // An initial value of all ones or none is its own mirror image; there is no other in the list.
    return (bytes) => {
      let remainder = initial;
      for (const byte of bytes) remainder = (remainder >>> 8) ^ (table[(remainder ^ byte) & 0xff] ?? 0);
      return (remainder ^ xorOut) >>> 0;
    };
  }
  return (bytes) => {
    let remainder = initial;
    for (const byte of bytes)
      remainder = (remainder << 8) ^ (table[((remainder >>> (width - 8)) ^ byte) & 0xff] ?? 0);
    return ((remainder ^ xorOut) & mask) >>> 0;
  };
}

/** What eight shifts make of each byte. */
function tableOf({ width, polynomial, isReflected }: Crc): Uint32Array {
  const top = 2 ** (width - 1);
  const mirrored = isReflected ? mirror(polynomial, width) : polynomial;
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let remainder = isReflected ? byte : byte * 2 ** (width - 8);
    for (let bit = 0; bit < 8; bit++) {
      if (isReflected) remainder = remainder & 1 ? (remainder >>> 1) ^ mirrored : remainder >>> 1;
      else remainder = remainder & top ? (remainder << 1) ^ mirrored : remainder << 1;
    }
    return remainder >>> 0;
  });
}

function mirror(value: number, width: number): number {
  let mirrored = 0;
  for (let bit = 0; bit < width; bit++) if ((value >>> bit) & 1) mirrored += 2 ** (width - 1 - bit);
  return mirrored;
}
