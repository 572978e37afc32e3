import { z } from "zod";
import { registerTypes, tables } from "../drivers/modbus.ts";
import { channelName, endianness, ms, state } from "./field-schema.ts";

const register = z
  .strictObject({
    state,
    table: z
      .enum(tables)
      .default("holding")
      .describe("`holding` (4x in manuals), `input` (3x), `coil` (0x) or `discrete` (1x)"),
    address: z
      .int()
      .min(0)
      .max(65_535)
      .describe("As on the wire, from 0: register 40001 of a manual is address 0 of `holding`"),
    type: z
      .enum(registerTypes)
      .optional()
      .describe("Default: `bool` for coils and discrete inputs, else `uint16`"),
    wordOrder: endianness.describe("`little`: of several registers the first holds the lowest bits"),
    byteOrder: endianness.describe("`little`: the two bytes of each register are swapped"),
    length: z
      .int()
      .min(1)
      .max(125)
      .optional()
      .describe("Of a `string`: how many registers it takes, two characters each"),
    words: z
      .record(z.string().min(1).max(250), z.number())
      .optional()
      .describe("Of a `string`: numbers that stand for its texts, as a channel holds numbers only"),
    bit: z
      .int()
      .min(0)
      .max(31)
      .optional()
      .describe("The value is a field of bits of a `uint16`, `uint32` or `bool`: its lowest bit, from 0"),
    bits: z.int().min(1).max(32).default(1).describe("How many bits that field has"),
    scale: z
      .number()
      .refine((factor) => factor !== 0, "must not be 0")
      .default(1)
      .describe("value = register × scale + offset"),
    offset: z.number().default(0),
    unit: z.string().max(32).optional().describe("Unit of the value"),
    min: z.number().optional().describe("A smaller value gets quality `bad`"),
    max: z.number().optional().describe("A larger value gets quality `bad`"),
    writable: z
      .strictObject({ min: z.number(), max: z.number() })
      .refine((range) => range.min <= range.max, "min must not exceed max")
      .optional()
      .describe(
        "What the direct method `writeRegister` may set, both ends included; without it nothing. File and environment only",
      ),
  })
  .describe("A channel, and where its value is");

const unitRange = "must be 0 to 247, or 255";

/** What every source of Modbus has, besides its line. */
const modbusUnit = {
  timeoutMs: ms(10, 60_000)
    .default(1_000)
    .describe("How long the unit may take to answer; the time on a serial line is added"),
  maxGap: z
    .int()
    .min(0)
    .max(124)
    .default(0)
    .describe(
      "Registers that nobody asked for are read when so many at most lie between two that are, to save a request",
    ),
  registers: z
    .record(channelName, register)
    .refine((all) => Object.keys(all).length > 0, "must have a register")
    .refine((all) => Object.keys(all).length <= 1_000, "must have at most 1,000 registers")
    .describe("The channels; neighbours in a table are read in one request"),
};

export const modbusRtu = {
  type: z.literal("modbus"),
  transport: z.literal("rtu").describe("A serial line; sources with one `path` share it"),
  path: z.string().min(1).max(4_096).describe("Device file; prefer `/dev/serial/by-id/…`"),
  baudRate: z.int().min(50).max(4_000_000).default(19_200),
  dataBits: z.literal(8).default(8).describe("RTU has 8"),
  stopBits: z.union([z.literal(1), z.literal(2)]).default(1),
  parity: z.enum(["none", "even", "odd"]).default("even").describe("`even` is the standard's default"),
  unit: z.int().min(1).max(247).describe("Address of the device on the line"),
  ...modbusUnit,
};

export const modbusTcp = {
  type: z.literal("modbus"),
  transport: z.literal("tcp").describe("A server; sources with one `host` and `port` share the connection"),
  host: z.string().min(1).max(255).describe("Name or address of the device or gateway"),
  port: z.int().min(1).max(65_535).default(502),
  unit: z
    .int()
    .min(0)
    .max(255)
    .refine((unit) => unit <= 247 || unit === 255, unitRange)
    .default(255)
    .describe("Of a device behind a gateway; 255, or 0, is the server itself"),
  ...modbusUnit,
};

/** For a source that brings what one of Modbus was answered. */
export const modbusDecode = z
  .strictObject({ format: z.literal("modbus"), registers: modbusUnit.registers })
  .describe("Frames of a source of type `modbus`");
