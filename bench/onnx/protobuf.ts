/**
 * What of protobuf's wire format a writer of ONNX files needs (https://protobuf.dev/programming-guides/encoding/).
 * A message is the list of its fields, in pieces, so that large weights are never copied.
 */
export type Pieces = readonly Uint8Array[];

const wireType = { varint: 0, bytes: 2, fixed32: 5 } as const;

/** Non-negative whole numbers below 2^53: what shapes, versions and lengths are. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 0x80);
  }
}

const tag = (field: number, type: number) => varint(field * 8 + type);
const lengthOf = (pieces: Pieces) => pieces.reduce((sum, piece) => sum + piece.length, 0);

export function integer(field: number, value: number): Pieces {
  return [Uint8Array.from([...tag(field, wireType.varint), ...varint(value)])];
}

export function bytes(field: number, ...pieces: Pieces): Pieces {
  return [Uint8Array.from([...tag(field, wireType.bytes), ...varint(lengthOf(pieces))]), ...pieces];
}

export const text = (field: number, value: string): Pieces => bytes(field, Buffer.from(value, "utf8"));

/** A message as a field of another. */
export const message = (field: number, ...fields: readonly Pieces[]): Pieces =>
  bytes(field, ...fields.flat());

/** Little-endian IEEE 754. */
export function float(field: number, value: number): Pieces {
  const number = Buffer.alloc(4);
  number.writeFloatLE(value);
  return [Uint8Array.from(tag(field, wireType.fixed32)), number];
}
