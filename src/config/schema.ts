import { z } from "zod";
import type { KnownChannel } from "../core/reading.ts";
import type { Register } from "../drivers/modbus.ts";
import {
  aggregateNames,
  channelName,
  day,
  deviceName,
  entryName,
  ms,
  secret,
  state,
} from "./field-schema.ts";
import { hub } from "./hub-schema.ts";
import { model } from "./model-schema.ts";
import { publish } from "./publish-schema.ts";
import { sentiment } from "./sentiment-schema.ts";
import { source } from "./source-schema.ts";

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

/**
 * The one place where the shape, the defaults and the descriptions of the configuration are written, with the parts
 * beside it (`*-schema.ts`).
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
    models: z
      .record(entryName, model)
      .default({})
      .describe("Models that score images and tensors over the local API"),
    sentiment,
    publish,
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
          .describe(
            "Frames between snapshots of the open windows, which a start has to replay; up to ten times as many where a snapshot is large",
          ),
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
        scoring: z
          .enum(["token", "open"])
          .default("token")
          .describe(
            "`open`: models and `/sentiment` are asked without a token, for clients of scoring containers, which send none",
          ),
        cors: z
          .strictObject({
            origins: z
              .array(
                z
                  .string()
                  .regex(
                    /^(\*|https?:\/\/[a-z0-9.-]+(:\d{1,5})?|https?:\/\/\[[0-9a-f:]+\](:\d{1,5})?)$/,
                    "must be an origin such as https://dashboard.example, without a path, or *",
                  ),
              )
              .max(32)
              .default([])
              .describe(
                "Origins of the pages that may call from a browser; `*`: any. They need the token, too",
              ),
          })
          .prefault({}),
        maxBodyBytes: z
          .int()
          .min(1_024)
          .max(16_777_216)
          .default(1_048_576)
          .describe("A larger request is answered with 413"),
        maxScoringBytes: z
          .int()
          .min(1_024)
          .max(67_108_864)
          .default(16_777_216)
          .describe(
            "The same for requests to models and `/sentiment`; twice as much may be on its way at a time",
          ),
      })
      .prefault({}),
    hub,
  })
  .describe("Configuration of Headgate");

export type Config = z.output<typeof configSchema>;
export type SourceConfig = Config["sources"][string];
/** A source that cuts a stream of bytes into frames. */
export type StreamSource = Extract<SourceConfig, { readonly framing: unknown }>;
export type SocketSourceConfig = Extract<SourceConfig, { type: "socket" }>;
export type SerialSourceConfig = Extract<SourceConfig, { type: "serial" }>;
export type MqttSourceConfig = Extract<SourceConfig, { type: "mqtt" }>;
export type HubSourceConfig = Extract<SourceConfig, { type: "hub" }>;
/** A source whose frames come as its devices like, in a format that the configuration names. */
export type LinkedSource = Extract<SourceConfig, { readonly decode: unknown }>;
export type I2cSourceConfig = Extract<SourceConfig, { type: "i2c" }>;
export type OneWireSourceConfig = Extract<SourceConfig, { type: "oneWire" }>;
export type SysfsSourceConfig = Extract<SourceConfig, { type: "sysfs" }>;
export type SentimentSourceConfig = Extract<SourceConfig, { type: "sentiment" }>;
export type ImageFolderSourceConfig = Extract<SourceConfig, { type: "imageFolder" }>;
export type ImageUrlSourceConfig = Extract<SourceConfig, { type: "imageUrl" }>;
/** A source whose pictures a model scores. */
export type ImageSourceConfig = Extract<SourceConfig, { type: "imageFolder" | "imageUrl" }>;
export type ReplaySourceConfig = Extract<SourceConfig, { type: "replay" }>;
export type DedupeConfig = LinkedSource["dedupe"];
export type ModbusSourceConfig = Extract<SourceConfig, { type: "modbus" }>;
export type ModelSourceConfig = Extract<SourceConfig, { type: "model" }>;
/** What the pipeline has to know of a source of type `model`, to feed its model. */
export interface FeedConfig extends Pick<ModelSourceConfig, "inputs" | "missing"> {
  /** The times of its readings are the device's; absent where they are stamped on receipt. */
  readonly ownTime?: true;
  /** What it keeps at most; absent where the store is large enough for the usual. */
  readonly maxNumbers?: number;
}
/** A format of frames, whether the configuration names it or a source has it by itself. */
export type DecodeConfig =
  | Uniform<Exclude<LinkedSource["decode"], { readonly format: "driver" | "sysfs" | "modbus" }>>
  | DriverDecode
  | SysfsDecode
  | ModbusDecode
  | ModelDecode;
/** Formats without times of their own have no member for them. */
type Uniform<Format> = Format extends { readonly ignore: unknown }
  ? Format
  : Format & { readonly time?: undefined; readonly ignore?: undefined };
export interface DriverDecode {
  readonly format: "driver";
  /** Name of the driver. */
  readonly driver: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly time?: undefined;
  readonly ignore?: undefined;
}
export interface SysfsDecode {
  readonly format: "sysfs";
  readonly files: SysfsSourceConfig["files"];
  readonly time?: undefined;
  readonly ignore?: undefined;
}
export interface ModbusDecode {
  readonly format: "modbus";
  /** By channel. */
  readonly registers: Readonly<Record<string, Register & KnownChannel>>;
  readonly time?: undefined;
  readonly ignore?: undefined;
}
/** What a model made of readings; the time is theirs, of receipt or their own. */
export interface ModelDecode {
  readonly format: "model";
  readonly time?:
    | NonNullable<Extract<LinkedSource["decode"], { readonly format: "json" }>["time"]>
    | undefined;
  readonly ignore?: undefined;
}
export type ModelConfig = Config["models"][string];
export type RemoteConfig = NonNullable<ModelConfig["remote"]>;
export type SentimentConfig = Config["sentiment"];
export type WindowConfig = Config["windows"][string];
export type HubConfig = Config["hub"];
export type SecretReference = z.output<typeof secret>;
export type AggregateName = (typeof aggregateNames)[number];

/** Sections that only the file and the environment may set: a remote change of these could cost data, or open the box. */
export const localSections: readonly (keyof Config)[] = ["store", "api"];

/** Whose texts a source has scored, the device of those that name none, and how many may wait. */
export interface SentimentTexts {
  readonly from?: { readonly source: string; readonly field: string };
  readonly device: string;
  readonly maxTexts: number;
  readonly maxBytes: number;
  /** What the texts of all sources together may take of the store. */
  readonly storeBytes: number;
}

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
      Pick<LinkedSource, "device" | "dedupe" | "intervalMs" | "idleMs"> & {
        readonly decode: DecodeConfig;
        /** Of its driver or its registers; what `channels` and `validate` say of all devices gives way to it. */
        readonly channels?: Readonly<Record<string, KnownChannel>>;
        /** Absent where windows alone are published. */
        readonly readings?: "all";
        /** Absent where silence is no alarm. */
        readonly silentMs?: number;
        /** Fields that hold texts for sources of type `sentiment`. */
        readonly texts?: readonly string[];
        /** Of a source of that type. */
        readonly sentiment?: SentimentTexts;
      }
    >
  >;
  readonly clock: Config["clock"];
  readonly channels: Config["channels"];
  readonly calibrate: Config["calibrate"];
  readonly validate: Config["validate"];
  readonly windows: Config["windows"];
  /** By source of type `model`; absent where there is none. */
  readonly feeds?: Readonly<Record<string, FeedConfig>>;
  /** Absent where there are none, and in journals of versions that knew none. */
  readonly alarms?: { readonly minSpacingMs: number };
}
