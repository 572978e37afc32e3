import { z } from "zod";
import { templateProblem } from "../core/topic-template.ts";
import { i2cDrivers, oneWireDrivers } from "../drivers/catalogue.ts";
import type { Driver, I2cDriver } from "../drivers/driver.ts";
import { anySource, polledCommon } from "./any-source-schema.ts";
import { decode } from "./decode-schema.ts";
import { brokerLogin, brokerUrl, day, deviceName, ms } from "./field-schema.ts";
import { framing } from "./framing-schema.ts";
import { imageFolderSource, imageUrlSource } from "./image-source-schema.ts";
import { modbusDecode, modbusRtu, modbusTcp } from "./modbus-schema.ts";
import { modelSource } from "./model-source-schema.ts";
import { sentimentSource } from "./sentiment-schema.ts";
import { oneWireSource, sysfsFiles, sysfsSource } from "./sysfs-source-schema.ts";

const deviceField = z.strictObject({
  field: z.string().min(1).describe("Field of the frame that names the device"),
});
const device = z.union([deviceName, deviceField]).describe("The device's name, or the field that holds it");
/** Of a source whose frames come with something that may name the device. */
const deviceOr = <Places extends readonly z.ZodType[]>(...places: Places) =>
  z.union([deviceName, deviceField, ...places]).describe("The device's name, or where it stands");

const remembered = z
  .int()
  .min(1)
  .max(100_000)
  .default(1_000)
  .describe(
    "A repeat is known among the last so many that came, repeats counted, across restarts; later it is new",
  );
const dedupe = z
  .discriminatedUnion("by", [
    z.strictObject({ by: z.literal("none") }),
    z.strictObject({
      by: z.literal("sequence").describe("Device and sequence number"),
      field: z.string().min(1).describe("Field that holds the number; it is no channel then"),
      remembered,
    }),
    z.strictObject({ by: z.literal("timestamp").describe("Device and the reading's own time"), remembered }),
    z.strictObject({ by: z.literal("payload").describe("The frame's bytes, and its topic"), remembered }),
    z.strictObject({
      by: z.literal("key").describe("A field that is unique for each reading"),
      field: z.string().min(1).describe("It is no channel then"),
      remembered,
    }),
  ])
  .default({ by: "none" })
  .describe(
    "What makes a reading a repeat, which is a discard (`duplicate`); without it input is at least once",
  );

/** What sources have whose devices send of their own accord. */
const sourceCommon = {
  ...anySource,
  decode,
  dedupe,
  intervalMs: ms(1, day)
    .optional()
    .describe("How often the device sends; gives a window its `expected` count"),
  idleMs: ms(100, day)
    .default(10_000)
    .describe("After this silence a source with its own times no longer holds windows open"),
};

const serialSource = z.strictObject({
  ...sourceCommon,
  type: z.literal("serial"),
  path: z
    .string()
    .min(1)
    .max(4096)
    .describe(
      "Device file; prefer `/dev/serial/by-id/…`, which stays the same across unplugging and restarts",
    ),
  baudRate: z.int().min(50).max(4_000_000).default(115_200),
  dataBits: z.union([z.literal(5), z.literal(6), z.literal(7), z.literal(8)]).default(8),
  stopBits: z.union([z.literal(1), z.literal(1.5), z.literal(2)]).default(1),
  parity: z.enum(["none", "even", "odd", "mark", "space"]).default("none"),
  flowControl: z.enum(["none", "hardware", "software"]).default("none"),
  framing,
  device,
});

const socketAddress = z
  .string()
  .regex(
    /^(tcp:\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([1-9]\d{0,4})|unix:\/[^\p{C}]{1,106})$/u,
    "must be tcp://host:port or unix:/path, of at most 107 characters",
  )
  .refine((text) => Number(/^tcp:.*:(\d+)$/.exec(text)?.[1] ?? 0) <= 65_535, "must have a port up to 65535");

const socketSource = z.strictObject({
  ...sourceCommon,
  type: z.literal("socket").describe("A stream over TCP or a unix socket"),
  connect: socketAddress.optional().describe("Where the device listens: `tcp://host:port` or `unix:/path`"),
  listen: socketAddress
    .optional()
    .describe("Where devices connect to: `tcp://127.0.0.1:port`, or `unix:/path` of a file that is made"),
  framing,
  idleTimeoutMs: ms(100, day)
    .optional()
    .describe("A connection that brings nothing for so long is closed; default: never"),
  maxConnections: z.int().min(1).max(1_000).default(16).describe("Of `listen`; more are refused"),
  mode: z
    .string()
    .regex(/^[0-7]{3}$/, "must be three octal digits, such as 660")
    .default("660")
    .describe("Permissions of the unix socket's file"),
  device,
});

const maxPayloadBytes = z
  .int()
  .min(16)
  .max(1_048_576)
  .default(65_536)
  .describe("A larger payload is a discard (`overlong`)");

const topicLevel = z.strictObject({
  topicLevel: z.int().min(0).max(127).describe("Level of the topic that names the device, from 0"),
});

const topicTemplate = z.strictObject({
  template: z
    .string()
    .min(1)
    .max(512)
    .superRefine((text, context) => {
      const problem = templateProblem(text);
      if (problem !== undefined) context.addIssue(problem);
    })
    .describe(
      "The topic with `{device}` and `{channel}` where it names them, `+` and `#` as in a filter; a message of another topic is a discard (`otherTopic`)",
    ),
});

const mqttSource = z.strictObject({
  ...sourceCommon,
  type: z.literal("mqtt"),
  url: brokerUrl,
  topic: z
    .string()
    .min(1)
    .max(512)
    .regex(/^([^#+\p{C}/]*|\+)(\/([^#+\p{C}/]*|\+))*(\/#)?$|^#$/u, "must be an MQTT topic filter")
    .describe("Topic filter; `+` stands for one level, `#` at the end for all that follow"),
  qos: z
    .union([z.literal(0), z.literal(1)])
    .default(1)
    .describe(
      "1: the broker is answered only after the commit; 0: what comes while there is no room is lost",
    ),
  clientId: z
    .string()
    .min(1)
    .max(128)
    .optional()
    .describe("Default: made of the gateway's and the source's names; the broker keeps its session"),
  ...brokerLogin,
  maxPayloadBytes,
  device: deviceOr(topicLevel, topicTemplate),
});

const httpSource = z.strictObject({
  ...sourceCommon,
  type: z.literal("http").describe("`POST /api/readings` of the local API"),
  device,
});

const hubSource = z.strictObject({
  ...sourceCommon,
  type: z
    .literal("hub")
    .describe("What the hub brings to this gateway: messages of other modules, and cloud-to-device messages"),
  input: z
    .string()
    .min(1)
    .max(128)
    .regex(/^[^/#+\p{C}]*$/u, "must be a name without / # +")
    .optional()
    .describe(
      "The module input, as edge hub's routes name it; without it all that no other source takes, and what the cloud sends to a device",
    ),
  maxPayloadBytes,
  device: deviceOr(
    z.strictObject({
      property: z
        .string()
        .min(1)
        .max(128)
        .describe("Property of the message that names the device; `$.cmid` is the module that sent it"),
    }),
  ),
});

const i2cAddress = z
  .union([
    z.int().min(0x03).max(0x77),
    z.string().regex(/^0x(0[3-9a-fA-F]|[1-6][0-9a-fA-F]|7[0-7])$/, "must be a 7-bit address such as 0x76"),
  ])
  .describe("7-bit address, as a number or as `0x76`; default: the chip's usual one, if it has one");
const i2cSourceOf = ({ name, title, addresses, options }: I2cDriver) =>
  z
    .strictObject({
      ...polledCommon,
      type: z.literal("i2c"),
      driver: z.literal(name),
      bus: z.int().min(0).max(255).default(1).describe("Number of the bus: `/dev/i2c-N`"),
      address: (addresses === "any" ? i2cAddress : i2cAddress.optional()) as z.ZodOptional<typeof i2cAddress>,
      options: z.strictObject(options?.(z) ?? {}).prefault({}),
    })
    .describe(title);
const i2cSource = z.discriminatedUnion(
  "driver",
  i2cDrivers.map(i2cSourceOf) as [ReturnType<typeof i2cSourceOf>],
);

const modbusSource = z.discriminatedUnion("transport", [
  z.strictObject({ ...polledCommon, ...modbusRtu }).describe("Modbus on a serial line"),
  z.strictObject({ ...polledCommon, ...modbusTcp }).describe("Modbus over TCP"),
]);

const driverDecodeOf = ({ name, options }: Driver) =>
  z.strictObject({
    format: z.literal("driver"),
    driver: z.literal(name),
    options: z.strictObject(options?.(z) ?? {}).prefault({}),
  });
const driverDecode = z
  .discriminatedUnion(
    "driver",
    [...i2cDrivers, ...oneWireDrivers].map(driverDecodeOf) as [ReturnType<typeof driverDecodeOf>],
  )
  .describe("Frames of a source of type `i2c` or `oneWire`");
const sysfsDecode = z
  .strictObject({ format: z.literal("sysfs"), files: sysfsFiles })
  .describe("Frames of a source of type `sysfs`");

const replaySource = z.strictObject({
  ...sourceCommon,
  type: z.literal("replay").describe("What `headgate record` wrote to a capture"),
  decode: z
    .discriminatedUnion("format", [...decode.options, driverDecode, sysfsDecode, modbusDecode])
    .describe("How a frame becomes a reading: as for the source that was recorded"),
  path: z.string().min(1).max(4_096).describe("The capture"),
  speed: z
    .number()
    .min(0)
    .max(1_000)
    .default(1)
    .describe("1: as it came; 10: ten times as fast; 0: as fast as the store takes it"),
  repeat: z.enum(["once", "forever"]).default("once").describe("`forever` begins anew at the end"),
  maxFrameBytes: z
    .int()
    .min(16)
    .max(1_048_576)
    .default(65_536)
    .describe("A larger frame is a discard (`overlong`)"),
  device: deviceOr(topicLevel, topicTemplate),
});

/** Where bytes come from. */
export const source = z.discriminatedUnion("type", [
  serialSource,
  socketSource,
  mqttSource,
  httpSource,
  hubSource,
  i2cSource,
  oneWireSource,
  sysfsSource,
  modbusSource,
  modelSource,
  sentimentSource,
  imageFolderSource,
  imageUrlSource,
  replaySource,
]);
