import { z } from "zod";

const first = z
  .enum(["discard", "keep"])
  .default("discard")
  .describe(
    "`discard`: what comes before the first end may be the tail of a frame, such as `1.5` of `121.5`; `keep` for devices that start to send when they are opened",
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

/** How a stream of bytes is cut into frames. */
export const framing = z
  .discriminatedUnion("kind", [lines, telegrams])
  .prefault({ kind: "lines" })
  .describe("How the stream of bytes is cut into frames");

export type Framing = z.output<typeof framing>;
