import { z } from "zod";
import { parseJsonPath } from "../core/json-path.ts";
import { compilePattern } from "../core/linear-pattern.ts";
import { channelName, day, endianness, ms } from "./field-schema.ts";
import { numberTypes } from "./packet-layout.ts";

const decodeTime = z
  .strictObject({
    field: z.string().min(1),
    unit: z.enum(["s", "ms", "iso"]).default("ms"),
    maxAheadMs: ms(0, day)
      .default(60_000)
      .describe("A time further ahead of the receipt is a discard (`future`)"),
  })
  .describe("The device's own time; without it a reading has the time of its receipt");
const jsonPath = z
  .string()
  .refine(
    (text) => parseJsonPath(text) !== undefined,
    "must be a path to one value, such as $.data.temperature",
  )
  .describe("Singular query of JSONPath (RFC 9535)");
const ignore = z.array(z.string()).default([]).describe("Fields that are not channels, such as a counter");

const binaryField = z.strictObject({
  offset: z.int().min(0).max(65_535).describe("Where it begins, from the frame's first byte"),
  type: z.enum(numberTypes),
  endianness,
  scale: z.number().default(1),
  add: z.number().default(0).describe("value = raw × scale + add"),
  unit: z.string().max(32).optional(),
});

const binary = z
  .strictObject({
    format: z.literal("binary"),
    fields: z
      .record(channelName, binaryField)
      .refine((fields) => Object.keys(fields).length > 0, "must not be empty")
      .describe("Numbers at fixed places of the frame, by the channels that they are"),
    time: decodeTime.optional(),
    ignore,
  })
  .describe("Numbers at fixed places of a frame, such as a packet");
export type BinaryDecode = z.output<typeof binary>;

/** How bytes become values. */
export const decode = z
  .discriminatedUnion("format", [
    z.strictObject({
      format: z.literal("json"),
      items: jsonPath
        .optional()
        .describe("Where the reading stands, or the list of readings; default: the whole, `$`"),
      fields: z
        .record(z.string().min(1), jsonPath)
        .optional()
        .describe(
          "Names of fields and where in a reading they stand, such as `$.data.values[0]`; only these are read. Default: the members of the reading. The name `{channel}` is that of the topic",
        ),
      time: decodeTime.optional(),
      ignore,
    }),
    z
      .strictObject({
        format: z.literal("value"),
        channel: channelName.optional().describe("Default: the `{channel}` of the topic"),
        words: z
          .record(z.string().min(1), z.number())
          .default({})
          .describe("Texts that stand for a number, such as `ON`: 1"),
      })
      .describe("The frame is one number"),
    z.strictObject({
      format: z.literal("csv"),
      columns: z.array(z.string().min(1)).min(1).max(256).describe("Names of the columns, in order"),
      separator: z.string().length(1).default(","),
      time: decodeTime.optional(),
      ignore,
    }),
    z.strictObject({
      format: z.literal("keyValue"),
      separator: z.string().length(1).default(" ").describe("Between pairs, as in `t=21.5 h=40`"),
      time: decodeTime.optional(),
      ignore,
    }),
    z
      .strictObject({ format: z.literal("nmea"), time: decodeTime.optional(), ignore })
      .describe("NMEA 0183 sentences GGA, RMC and XDR; the time is the field `utc`, of unit `iso`"),
    z
      .strictObject({
        format: z.literal("dsmr"),
        checksum: z
          .enum(["required", "optional"])
          .default("required")
          .describe(
            "`optional`: for meters of DSMR 2.2 and 3.0, which send none; one that is there has to hold",
          ),
        time: decodeTime.optional(),
        ignore,
      })
      .describe("A telegram of a smart meter (DSMR P1); the time is the field `utc`, of unit `iso`"),
    z
      .strictObject({
        format: z.literal("regex"),
        pattern: z
          .string()
          .min(1)
          .superRefine((pattern, context) => {
            const compiled = compilePattern(pattern);
            if ("problem" in compiled) context.addIssue({ code: "custom", message: compiled.problem });
            else if (compiled.names.length === 0)
              context.addIssue({ code: "custom", message: "has no named group, such as (?<t>[0-9.]+)" });
          })
          .describe("Regular expression (RE2) that takes the whole frame; its named groups are the fields"),
        time: decodeTime.optional(),
        ignore,
      })
      .describe("Text by a regular expression"),
    binary,
    z
      .strictObject({ format: z.literal("cbor"), time: decodeTime.optional(), ignore })
      .describe("CBOR (RFC 8949): a map, or an array of maps"),
  ])
  .describe("How a frame becomes a reading");
