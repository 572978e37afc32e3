import { z } from "zod";
import { isPlainName } from "../core/reading.ts";

/** Names become keys of plain objects; those every object inherits (`constructor`, `__proto__`) would clash. */
const isOrdinary = (name: string) => !(name in Object.prototype);

const ms = (min: number, max: number) => z.int().min(min).max(max);
const day = 86_400_000;

export const entryName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 of A-Z a-z 0-9 _ -")
  .refine(isOrdinary, "is a word of the language the gateway is written in")
  .describe("Name of an entry");

const state = z
  .enum(["on", "off"])
  .default("on")
  .describe("`off` hides the entry, also one of a lower layer");
const deviceName = z
  .string()
  .refine(isPlainName, "must be 1 to 128 characters without control characters")
  .describe("Name of a field device");
const channelName = z
  .string()
  .regex(/^[^\p{C}\s.$#]{1,64}$/u, "must be 1 to 64 characters without space, control characters, . $ #")
  .refine(isOrdinary, "is a word of the language the gateway is written in")
  .describe("Name of a channel, one quantity of one device");

const secret = z
  .union([
    z.strictObject({
      env: z.string().min(1).describe("Name of the environment variable that holds the value"),
    }),
    z.strictObject({
      file: z.string().min(1).describe("File that holds the value; a trailing newline is ignored"),
    }),
  ])
  .describe("Reference to a secret; the value itself never stands in a configuration");

const decodeTime = z
  .strictObject({
    field: z.string().min(1),
    unit: z.enum(["s", "ms", "iso"]).default("ms"),
    maxAheadMs: ms(0, day)
      .default(60_000)
      .describe("A time further ahead of the receipt is a discard (`future`)"),
  })
  .describe("The device's own time; without it a reading has the time of its receipt");
const ignore = z.array(z.string()).default([]).describe("Fields that are not channels, such as a counter");

const decode = z
  .discriminatedUnion("format", [
    z.strictObject({ format: z.literal("json"), time: decodeTime.optional(), ignore }),
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
  ])
  .describe("How a frame becomes a reading");

const device = z
  .union([
    deviceName,
    z.strictObject({ field: z.string().min(1).describe("Field of the frame that names the device") }),
  ])
  .describe("The device's name, or the field that holds it");

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

/** What every source has, whatever its transport. */
const sourceCommon = {
  state,
  decode,
  dedupe,
  intervalMs: ms(1, day)
    .optional()
    .describe("How often the device sends; gives a window its `expected` count"),
  silentMs: ms(0, day)
    .optional()
    .describe(
      "A device that sends nothing for so long is an alarm (`silent`); 0: never; default: 10 × intervalMs, at least 10,000, without intervalMs never",
    ),
  readings: z
    .enum(["none", "all"])
    .optional()
    .describe("`all`: each reading is published by itself, beside the windows; default: `publish.readings`"),
  idleMs: ms(100, day)
    .default(10_000)
    .describe("After this silence a source with its own times no longer holds windows open"),
  priority: z
    .int()
    .min(0)
    .max(9)
    .default(5)
    .describe("When the store is full, entries of a lower number are thinned and evicted first"),
  share: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Part of `store.maxBytes` that other sources cannot take from this one"),
  whenFull: z
    .enum(["evict", "keep"])
    .default("evict")
    .describe(
      "`keep`: its entries are never evicted; when nothing else can go, the store takes no more data until the hub does",
    ),
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
  maxLineBytes: z
    .int()
    .min(16)
    .max(1_048_576)
    .default(4096)
    .describe("A longer line is a discard (`overlong`)"),
  firstLine: z
    .enum(["discard", "keep"])
    .default("discard")
    .describe(
      "`discard`: what comes before the first line end after opening may be the tail of a line, such as `1.5` of `121.5`; `keep` for devices that start to send when the port is opened",
    ),
  device,
});

const brokerUrl = z
  .string()
  .regex(
    /^(mqtts?|wss?):\/\/[^@/?]+(\/[^?]*)?$/,
    "must be mqtt://, mqtts://, ws:// or wss:// and hold no password",
  );
const caFile = z.string().min(1).optional().describe("PEM file of the authorities to trust");

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
  username: z.string().optional(),
  password: secret.optional(),
  caFile,
  certFile: z.string().min(1).optional(),
  keyFile: z.string().min(1).optional(),
  maxPayloadBytes: z
    .int()
    .min(16)
    .max(1_048_576)
    .default(65_536)
    .describe("A larger payload is a discard (`overlong`)"),
  device: z
    .union([
      deviceName,
      z.strictObject({ field: z.string().min(1).describe("Field of the frame that names the device") }),
      z.strictObject({
        topicLevel: z.int().min(0).max(127).describe("Level of the topic that names the device, from 0"),
      }),
    ])
    .describe("The device's name, or where it stands"),
});

const httpSource = z.strictObject({
  ...sourceCommon,
  type: z.literal("http").describe("`POST /api/readings` of the local API"),
  device,
});

const source = z.discriminatedUnion("type", [serialSource, mqttSource, httpSource]);

const channel = z.strictObject({
  state,
  aliases: z.array(z.string().min(1)).default([]).describe("Spellings that mean this channel"),
  unit: z.string().max(32).optional(),
});

const calibration = z.strictObject({
  state,
  device: deviceName,
  channels: z.record(
    channelName,
    z
      .strictObject({
        kind: z.literal("linear").default("linear"),
        slope: z.number().default(1),
        intercept: z.number().default(0),
      })
      .describe("calibrated = value × slope + intercept"),
  ),
});

const range = z
  .strictObject({ min: z.number().optional(), max: z.number().optional() })
  .refine((r) => r.min === undefined || r.max === undefined || r.min <= r.max, "min must not exceed max")
  .describe("Outside it a value keeps its number and gets quality `bad`; the borders are good");
const validation = z.strictObject({
  state,
  device: deviceName
    .optional()
    .describe("Without it the entry is for every device that has no entry of its own for the channel"),
  channels: z.record(channelName, range),
});

export const aggregateNames = ["mean", "min", "max", "sum", "count", "stddev", "first", "last"] as const;
const window = z.strictObject({
  state,
  kind: z.literal("tumbling").default("tumbling"),
  sizeMs: ms(100, day).describe("Windows start at whole multiples of it since 1970 UTC"),
  aggregates: z
    .array(z.enum(aggregateNames))
    .min(1)
    .default([...aggregateNames]),
  sources: z.array(entryName).min(1).optional().describe("Only readings of these sources"),
  devices: z.array(deviceName).min(1).optional().describe("Only readings of these devices"),
  allowedLatenessMs: ms(0, day)
    .default(0)
    .describe("A reading this late still gives a new revision; a later one is a discard"),
});

const hubDeadlines = {
  connectTimeoutMs: ms(100, 29_000).default(20_000),
  sendTimeoutMs: ms(100, 29_000).default(20_000).describe("A send not confirmed by then rebuilds the client"),
  twinTimeoutMs: ms(100, 29_000).default(15_000),
  closeTimeoutMs: ms(100, 3_000).default(2_000),
  trialMs: ms(1_000, 3_600_000)
    .default(120_000)
    .describe("A changed hub section is taken back unless the hub confirms a message within this time"),
};
const upstream = z
  .strictObject({
    state: z
      .enum(["on", "off"])
      .default("on")
      .describe("`off` hands messages over whether edge hub has a way to the cloud or not"),
    url: z
      .url({ protocol: /^http$/, error: "must be an http:// URL" })
      .default("http://edgeHub:9600/metrics")
      .describe("Edge hub's metrics; without them nothing is held back"),
    intervalMs: ms(100, 600_000).default(10_000).describe("Time between looks at them"),
    maxQueueLength: z
      .int()
      .min(1)
      .max(1_000_000_000)
      .optional()
      .describe(
        "Beyond so many messages in edge hub's queue ours wait; without it only while the queue grows",
      ),
  })
  .prefault({})
  .describe("While edge hub is offline or its queue grows, messages wait in the store");
const hubClient = z
  .enum(["direct", "sdk"])
  .default("direct")
  .describe("Who speaks to the hub: `direct` is Headgate itself, `sdk` the Azure IoT device SDK");
const hubTransport = z
  .enum(["mqtt", "websocket"])
  .default("mqtt")
  .describe(
    "`mqtt`: port 8883; `websocket`: MQTT in a WebSocket on port 443, for networks that let nothing else out",
  );
const hub = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("edge").describe("IoT Edge module, from the IOTEDGE_* environment"),
    client: hubClient,
    transport: hubTransport,
    upstream,
    ...hubDeadlines,
  }),
  z.strictObject({
    type: z.literal("iothub").describe("Straight to IoT Hub, or through a gateway"),
    client: hubClient,
    transport: hubTransport,
    proxy: z
      .string()
      .regex(/^https?:\/\/[^@/?#]+\/?$/, "must be http://host:port or https://host:port, without a password")
      .optional()
      .describe(
        "HTTP proxy; without it `websocket` takes HTTPS_PROXY of the environment, unless NO_PROXY names the hub",
      ),
    connectionString: secret,
    caFile,
    ...hubDeadlines,
  }),
  z.strictObject({
    type: z.literal("mqtt").describe("Any MQTT 3.1.1 or 5 broker"),
    url: brokerUrl,
    protocolVersion: z.union([z.literal(4), z.literal(5)]).default(4),
    clientId: z.string().min(1).max(128).optional().describe("Default: `headgate-` and the gateway's name"),
    username: z.string().optional(),
    password: secret.optional(),
    caFile,
    certFile: z.string().min(1).optional(),
    keyFile: z.string().min(1).optional(),
    topic: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[^#+\p{C}]+$/u, "must be a topic without wildcards")
      .default("headgate/{gateway}/{output}")
      .describe("`{gateway}` and `{output}` are replaced"),
    ...hubDeadlines,
  }),
]);

/**
 * The one place where the shape, the defaults and the descriptions of the configuration are written.
 * Types, JSON Schema and the reference documentation derive from it.
 * Maps are keyed by name, so that a twin patch can touch one entry; `"state": "off"` hides an entry of a lower layer.
 */
export const configSchema = z
  .strictObject({
    gateway: z.strictObject({ name: deviceName.describe("Name of this box in every entry") }),
    sources: z.record(entryName, source).default({}).describe("Where bytes come from"),
    channels: z
      .record(channelName, channel)
      .default({})
      .describe("Channel names, the spellings that mean them, their units"),
    calibrate: z.record(entryName, calibration).default({}),
    validate: z.record(entryName, validation).default({}),
    windows: z
      .record(entryName, window)
      .default({})
      .describe("A reading is accounted by the first that matches it"),
    alarms: z
      .strictObject({
        state: z
          .enum(["on", "off"])
          .default("on")
          .describe("Changes of quality and silence are published as entries of kind `alarm`"),
        minSpacingMs: ms(100, 3_600_000)
          .default(10_000)
          .describe(
            "Least time between two alarms of one channel; what happens meanwhile is told at its end, as it is then",
          ),
      })
      .prefault({}),
    publish: z
      .strictObject({
        maxDelayMs: ms(0, 3_600_000)
          .default(5_000)
          .describe("How long a finished entry may wait for company"),
        maxMessageBytes: z
          .int()
          .min(1024)
          .max(258_048)
          .default(65_536)
          .describe(
            "Whole blocks of it are filled; with its topic a message stays below the 262,144 bytes of hubs",
          ),
        blockBytes: z
          .int()
          .min(1)
          .max(65_536)
          .default(4_096)
          .describe("What the hub bills by: 4,096; 512 on the free tier of IoT Hub"),
        dailyBlocks: z
          .int()
          .min(24)
          .max(1_000_000_000)
          .optional()
          .describe(
            "Blocks that may be billed in a day, UTC. When it runs short, raw readings are left out, then windows merged, then what is left waits; alarms always go",
          ),
        maxInFlight: z
          .int()
          .min(1)
          .max(256)
          .default(16)
          .describe("Messages handed over and not yet confirmed; 1 waits for each"),
        format: z
          .enum(["array", "lines", "object"])
          .default("array")
          .describe("Body of a message: a JSON array of entries, an entry per line, or a single entry"),
        compression: z
          .enum(["none", "gzip"])
          .default("none")
          .describe("`gzip` makes messages smaller, and routing by the body impossible"),
        backfill: z
          .strictObject({
            afterMs: ms(1_000, day)
              .default(30_000)
              .describe("An entry that waited longer for the hub is backlog, which goes behind what is new"),
            messagesPerSecond: z
              .number()
              .min(0.01)
              .max(10_000)
              .default(10)
              .describe("Of the backlog, at most"),
            bytesPerSecond: z
              .int()
              .min(1_024)
              .max(1_000_000_000)
              .default(1_000_000)
              .describe("Of the backlog, at most"),
          })
          .prefault({})
          .describe("What waited during an outage is marked `backfill`, and goes out at this rate"),
        output: z
          .string()
          .regex(/^[A-Za-z0-9_-]{1,64}$/)
          .default("readings")
          .describe("Output name, for routes"),
        readings: z
          .enum(["none", "all"])
          .default("none")
          .describe("`all`: each reading is published by itself, beside the windows; a source may differ"),
      })
      .prefault({}),
    report: z
      .strictObject({
        state: z.enum(["on", "off"]).default("on").describe("Reported properties of the box's health"),
        intervalMs: ms(1_000, day).default(300_000),
        minSpacingMs: ms(100, 3_600_000)
          .default(10_000)
          .describe("Least time between two reports, because each is billed"),
        freeRam: z.enum(["on", "off"]).default("on").describe("`off` deletes `freeRam` from the twin"),
      })
      .prefault({}),
    store: z
      .strictObject({
        path: z.string().min(1).default("data").describe("Folder of the store"),
        maxBytes: z
          .int()
          .min(4_194_304)
          .max(1_000_000_000_000)
          .default(1_000_000_000)
          .describe(
            "Size of the store's files; when it is reached, old entries are thinned to summaries, then evicted",
          ),
        maxLossMs: ms(20, 600_000)
          .default(5_000)
          .describe("What a power cut may cost: from last byte received to finished sync"),
        minCommitMs: ms(0, 10_000).default(20).describe("Least time between commits when a caller waits"),
        maxQueueBytes: z
          .int()
          .min(65_536)
          .max(268_435_456)
          .default(8_388_608)
          .describe("Bytes received and not yet stored"),
        snapshotEvery: z
          .int()
          .min(10)
          .max(1_000_000)
          .default(10_000)
          .describe("Frames between snapshots of the open windows: what a start has to replay at most"),
        replayBytes: z
          .int()
          .min(0)
          .max(1_000_000_000_000)
          .default(0)
          .describe("Journal kept below the snapshot, for a replay by hand; compressed bytes"),
      })
      .prefault({}),
    clock: z
      .strictObject({
        maxHoldMs: ms(0, 3_600_000)
          .default(30_000)
          .describe(
            "How long after a start readings wait for the clock to be known good; then they pass as `unsynced`",
          ),
      })
      .prefault({}),
    api: z
      .strictObject({
        state: z
          .enum(["on", "off"])
          .default("on")
          .describe("Local HTTP: readings in, ledger, status, metrics"),
        host: z.string().min(1).default("127.0.0.1").describe("Address to listen on"),
        port: z.int().min(0).max(65_535).default(9_600).describe("0 takes any free port"),
        token: secret
          .optional()
          .describe("Token of the callers; without it one is made in `api-token` in the store's folder"),
        metrics: z
          .enum(["token", "open"])
          .default("token")
          .describe("`open`: `/metrics` is served without a token, for collectors that send none"),
        maxBodyBytes: z
          .int()
          .min(1_024)
          .max(16_777_216)
          .default(1_048_576)
          .describe("A larger request is answered with 413"),
      })
      .prefault({}),
    hub,
  })
  .describe("Configuration of Headgate");

export type Config = z.output<typeof configSchema>;
export type SourceConfig = Config["sources"][string];
export type SerialSourceConfig = Extract<SourceConfig, { type: "serial" }>;
export type MqttSourceConfig = Extract<SourceConfig, { type: "mqtt" }>;
export type HttpSourceConfig = Extract<SourceConfig, { type: "http" }>;
export type DedupeConfig = SourceConfig["dedupe"];
export type WindowConfig = Config["windows"][string];
export type HubConfig = Config["hub"];
export type SecretReference = z.output<typeof secret>;
export type AggregateName = (typeof aggregateNames)[number];

/** Sections that only the file and the environment may set: a remote change of these could cost data, or open the box. */
export const localSections: readonly (keyof Config)[] = ["store", "api"];

/**
 * The part of the configuration that decides what readings become.
 * It enters the journal, so that a replay runs with the configuration of its time.
 */
export interface PipelineConfig {
  readonly gateway: string;
  readonly hash: string;
  readonly sources: Readonly<
    Record<
      string,
      Pick<SourceConfig, "decode" | "device" | "dedupe" | "intervalMs" | "idleMs"> & {
        /** Absent where windows alone are published. */
        readonly readings?: "all";
        /** Absent where silence is no alarm. */
        readonly silentMs?: number;
      }
    >
  >;
  readonly clock: Config["clock"];
  readonly channels: Config["channels"];
  readonly calibrate: Config["calibrate"];
  readonly validate: Config["validate"];
  readonly windows: Config["windows"];
  /** Absent where there are none, and in journals of versions that knew none. */
  readonly alarms?: { readonly minSpacingMs: number };
}
