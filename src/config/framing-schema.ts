import { z } from "zod";
import { checksumKinds } from "../core/checksum.ts";
import { endianness, ms } from "./field-schema.ts";

const first = z
  .enum(["discard", "keep"])
  .optional()
  .describe(
    "`discard`: what comes before the first end may be the tail of a frame, such as `1.5` of `121.5`; `keep` for devices that start to send when they are opened; default: `discard`, for connections to a `listen` socket `keep`",
  );
const maxBytes = z.int().min(16).max(1_048_576).default(4_096);

const lines = z.strictObject({
  kind: z.literal("lines").describe("Lines that end with LF, or with CR and LF"),
  maxBytes: maxBytes.describe("A longer line is a discard (`overlong`)"),
  first,
});

const telegrams = z.strictObject({
  kind: z
    .literal("telegrams")
    .describe("Telegrams of smart meters (DSMR P1): from `/` to the end of the line that begins with `!`"),
  maxBytes: maxBytes.default(8_192).describe("A longer telegram is a discard (`overlong`)"),
});

const hexBytes = (most: number) =>
  z
    .string()
    .regex(/^([0-9A-Fa-f]{2})*$/, "must be pairs of hex digits, such as 424d")
    .max(2 * most);

const checksumField = z.strictObject({
  kind: z
    .enum(checksumKinds)
    .describe("Sums modulo 2^8 or 2^16, exclusive or, or a CRC by its name in the CRC RevEng catalogue"),
  endianness,
  from: z
    .int()
    .min(0)
    .max(255)
    .default(0)
    .describe("Offset of the first byte that it covers; the last one is that ahead of it"),
});
export type ChecksumField = z.output<typeof checksumField>;

const lengthField = z.strictObject({
  offset: z.int().min(0).max(255).describe("Where the field stands, from the packet's first byte"),
  type: z.enum(["uint8", "uint16"]).default("uint8"),
  endianness,
  add: z
    .int()
    .min(-255)
    .max(65_535)
    .default(0)
    .describe("What the field does not count: the packet has so many bytes more than the field says"),
});

const packets = z.strictObject({
  kind: z.literal("packets").describe("Packets of bytes with a header, a length and mostly a checksum"),
  header: hexBytes(16).min(2).describe("Bytes that every packet begins with, in hex"),
  length: z
    .union([z.int().min(2).max(4_096), lengthField])
    .describe("Bytes of a packet, header and checksum too, or the field that tells them"),
  checksum: checksumField
    .optional()
    .describe(
      "Stands at the end of the packet, ahead of the trailer; without one noise may become a reading",
    ),
  trailer: hexBytes(16).default("").describe("Bytes that every packet ends with, in hex"),
  maxBytes: z
    .int()
    .min(2)
    // A byte of noise costs up to a checksum over so many.
    .max(4_096)
    .default(1_024)
    .describe("What claims to be longer is no packet (`overlong`)"),
  idleMs: ms(1, 60_000)
    .optional()
    .describe(
      "After this silence a packet that is not whole is a discard (`truncated`); default: with the next bytes",
    ),
});
export type PacketFraming = z.output<typeof packets>;

const delimited = {
  maxBytes: maxBytes.describe("A frame that takes more on the wire is a discard (`overlong`)"),
  first,
  checksum: checksumField
    .optional()
    .describe(
      "Stands at the end of what the frame holds, and is cut off; without one the tail of a frame may pass",
    ),
};
const slip = z.strictObject({ kind: z.literal("slip").describe("SLIP (RFC 1055)"), ...delimited });
const cobs = z.strictObject({
  kind: z.literal("cobs").describe("Consistent overhead byte stuffing, a zero behind each frame"),
  ...delimited,
});

/** How a stream of bytes is cut into frames. */
export const framing = z
  .discriminatedUnion("kind", [lines, telegrams, packets, slip, cobs])
  .prefault({ kind: "lines" })
  .describe("How the stream of bytes is cut into frames");

export type Framing = z.output<typeof framing>;
/** What becomes of the bytes before the first end. */
export type First = NonNullable<z.output<typeof first>>;
