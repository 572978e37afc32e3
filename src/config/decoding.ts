import type { KnownChannel } from "../core/reading.ts";
import { driverNamed, oneWireDriverOf } from "../drivers/catalogue.ts";
import { sysfsFileNamed } from "../drivers/sysfs-file.ts";
import type {
  Config,
  DecodeConfig,
  DedupeConfig,
  ModbusSourceConfig,
  ModelSourceConfig,
  PipelineConfig,
  SentimentSourceConfig,
  SourceConfig,
  SysfsSourceConfig,
} from "./schema.ts";
import { ownTimeScoreDecode, scoreChannels, scoreDecode, scoreDevice } from "./sentiment-texts.ts";

/** How a source's frames become readings. What is asked for comes once, and has no times of its own that might end. */
export function decoding(
  source: SourceConfig,
  sources: Config["sources"],
): Pick<PipelineConfig["sources"][string], "decode" | "dedupe" | "idleMs" | "channels" | "device"> {
  if (source.type === "model") {
    const { idleMs, outputs } = source;
    const time = isOwnTime(source, sources) ? { time: resultTime } : {};
    const decode = { format: "model", ...time } as const;
    const device = { field: "$device" };
    return { decode, dedupe: { by: "none" }, idleMs, device, channels: knownOf(outputs) };
  }
  if (source.type === "sentiment") {
    const { idleMs } = source;
    const decode = isOwnTime(source, sources) ? ownTimeScoreDecode : scoreDecode;
    return { decode, dedupe: { by: "none" }, idleMs, device: scoreDevice, channels: scoreChannels };
  }
  const decode = decodeOf(source);
  const { device } = source;
  const channels = channelsOf(decode);
  const known = channels === undefined ? {} : { channels };
  if (!("decode" in source)) return { decode, dedupe: dedupeOf(source), idleMs: 0, device, ...known };
  return { decode, dedupe: source.dedupe, idleMs: source.idleMs, device, ...known };
}

/** It was judged when the readings came that it is of. */
const resultTime = { field: "$time", unit: "ms", maxAheadMs: Number.MAX_SAFE_INTEGER } as const;

/** The times of results are those of the readings that they are of, and of scores those of the texts. */
function isOwnTime(source: SourceConfig | undefined, sources: Config["sources"]): boolean {
  if (source?.type === "model") return isOwnTime(sources[source.inputs.source], sources);
  if (source?.type === "sentiment") {
    return source.from !== undefined && isOwnTime(sources[source.from.source], sources);
  }
  return source !== undefined && decodeOf(source).time !== undefined;
}

function decodeOf(source: Exclude<SourceConfig, ModelSourceConfig | SentimentSourceConfig>): DecodeConfig {
  if ("decode" in source)
    return source.decode.format === "modbus" ? modbusDecode(source.decode) : source.decode;
  switch (source.type) {
    case "i2c":
      return { format: "driver", driver: source.driver, options: source.options };
    case "oneWire":
      return { format: "driver", driver: oneWireDriverOf(source.id).name, options: {} };
    case "sysfs":
      return { format: "sysfs", files: source.files };
    case "modbus":
      return modbusDecode(source);
    case "imageFolder":
    case "imageUrl":
      return { format: "json", ignore: [pictureField] };
    default:
      return source satisfies never;
  }
}

/** In the frame of a picture, what it is known by. No channel has such a name. */
export const pictureField = "$picture";

/** A picture that was scored and could not be removed before a kill is scored again. */
function dedupeOf({ type }: SourceConfig): DedupeConfig {
  if (type !== "imageFolder") return { by: "none" };
  return { by: "key", field: pictureField, remembered: 1_000 };
}

function channelsOf(decode: DecodeConfig): Readonly<Record<string, KnownChannel>> | undefined {
  if (decode.format === "driver") return driverNamed(decode.driver).channels(decode.options);
  if (decode.format === "modbus") return knownOf(decode.registers);
  return decode.format === "sysfs" ? channelsOfFiles(decode.files) : undefined;
}

function knownOf(channels: Readonly<Record<string, KnownChannel>>): Readonly<Record<string, KnownChannel>> {
  const known = Object.entries(channels).map(([name, { unit, min, max }]) => [name, { unit, min, max }]);
  return Object.fromEntries(known);
}

function channelsOfFiles(files: SysfsSourceConfig["files"]): Readonly<Record<string, KnownChannel>> {
  const known = ({ path, scale, unit, min, max }: (typeof files)[string]): KnownChannel => ({
    unit: unit ?? (scale === undefined ? sysfsFileNamed(path)?.unit : undefined),
    min,
    max,
  });
  return Object.fromEntries(Object.entries(files).map(([channel, file]) => [channel, known(file)]));
}

/** What may be written, and what is off, is nothing that a frame is read by. */
function modbusDecode({ registers }: Pick<ModbusSourceConfig, "registers">): DecodeConfig {
  const read = Object.entries(registers)
    .filter(([, { state }]) => state === "on")
    .map(([channel, { state: _, writable: __, ...register }]) => [channel, register] as const);
  return { format: "modbus", registers: Object.fromEntries(read) };
}
