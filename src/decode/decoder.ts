import { isUtf8 } from "node:buffer";
import type { DecodeConfig, PipelineConfig } from "../config/schema.ts";
import { InvariantError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import { type JsonPath, parseJsonPath, valueAt } from "../core/json-path.ts";
import type { FrameDiscard, Reading } from "../core/reading.ts";
import { compileTemplate, type TopicPlace, topicChannel } from "../core/topic-template.ts";
import { driverNamed } from "../drivers/catalogue.ts";
import { compileBinary } from "./binary.ts";
import { splitCbor } from "./cbor.ts";
import type { ChannelNames } from "./channel-names.ts";
import { splitDsmr } from "./dsmr.ts";
import { compileModbus } from "./modbus.ts";
import { splitModelResult } from "./model-result.ts";
import { splitNmea } from "./nmea.ts";
import { type FrameFields, ReadingReader, type ValueNote } from "./reading-reader.ts";
import { compileRegex } from "./regex.ts";
import { compileSysfs } from "./sysfs.ts";

export type Decoded =
  | { readonly readings: readonly Reading[]; readonly notes: readonly ValueNote[] }
  | { readonly discard: FrameDiscard };

/** Bytes of one frame, the wall time of its receipt and its topic in; readings or the reason why not out. Pure. */
export type Decode = (bytes: Uint8Array, receivedMs: number, origin?: string) => Decoded;

type Source = PipelineConfig["sources"][string];
/** `channel`: the name that the frame's origin gives to its channel, where it does. */
type SplitOf<Frame> = (frame: Frame, receivedMs: number, channel: string | undefined) => FrameFields;
type Split = SplitOf<Uint8Array>;
type SplitText = SplitOf<string>;

export function compileDecoder(source: Source, names: ChannelNames): Decode {
  const split = compileFormat(source.decode);
  const placeOf = compileDevice(source.device);
  const reader = new ReadingReader(source, names);
  return (bytes, receivedMs, origin = "") => {
    if (bytes.length === 0) return { discard: "empty" };
    const place = placeOf(origin);
    if (!place) return { discard: "otherTopic" };
    const frames = split(bytes, receivedMs, place.channel);
    if ("discard" in frames) return frames;
    const notes: ValueNote[] = [];
    const readings: Reading[] = [];
    for (const fields of frames) {
      // A frame counts as decoded or as discarded, never as both: one bad reading in it discards it whole.
      const reading = reader.read(fields, receivedMs, place.device, notes);
      if (typeof reading === "string") return { discard: reading };
      readings.push(reading);
    }
    return readings.length > 0 ? { readings, notes } : { discard: "noChannels" };
  };
}

/** What the frame's origin names: the device, unless a field does, and the channel. Undefined when it is another topic. */
function compileDevice(device: Source["device"]): (origin: string) => Partial<TopicPlace> | undefined {
  if (typeof device === "string") {
    const fixed = { device };
    return () => fixed;
  }
  if ("topicLevel" in device) return (origin) => ({ device: origin.split("/")[device.topicLevel] });
  if ("template" in device) return compileTemplate(device.template);
  // The source looked it up: the origin is the property's value.
  if ("property" in device) return (origin) => (origin === "" ? unnamed : { device: origin });
  return () => unnamed;
}
const unnamed = {};

function compileFormat(decode: DecodeConfig): Split {
  switch (decode.format) {
    case "json":
      return ofText(compileJson(decode));
    case "value":
      return ofText((text, _, channel) => splitValue(text, decode.channel ?? channel, decode.words));
    case "csv":
      return ofText((text) => splitCsv(text, decode.columns, decode.separator));
    case "keyValue":
      return ofText((text) => splitKeyValue(text, decode.separator));
    case "nmea": {
      const withTime = decode.time !== undefined;
      return ofText((text, receivedMs) => splitNmea(text, receivedMs, withTime));
    }
    case "regex":
      return ofText(compileRegex(decode.pattern));
    case "dsmr": {
      const isChecksumOptional = decode.checksum === "optional";
      const withTime = decode.time !== undefined;
      return (bytes) => splitDsmr(bytes, isChecksumOptional, withTime);
    }
    case "binary":
      return compileBinary(decode);
    case "cbor":
      return splitCbor;
    case "driver": {
      const driver = driverNamed(decode.driver);
      return (bytes) => {
        const values = driver.decode(bytes, decode.options);
        return "discard" in values ? values : [values];
      };
    }
    case "sysfs":
      return ofText(compileSysfs(decode.files));
    case "modbus":
      return compileModbus(decode);
    case "model": {
      const withTime = decode.time !== undefined;
      return ofText((text) => splitModelResult(text, withTime));
    }
    default:
      return decode satisfies never;
  }
}

function ofText(split: SplitText): Split {
  return (bytes, receivedMs, channel) => {
    if (bytes.includes(0)) return { discard: "nul" };
    if (!isUtf8(bytes)) return { discard: "invalidUtf8" };
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return split(buffer.toString("utf8"), receivedMs, channel);
  };
}

/** One object, or an array of objects, per line (https://jsonlines.org); or what paths lead to in any JSON. */
function compileJson({ items, fields }: Extract<DecodeConfig, { format: "json" }>): SplitText {
  const toItems = items === undefined ? [] : pathOf(items);
  const paths = fields && Object.entries(fields).map(([name, path]) => [name, pathOf(path)] as const);
  return (text, _, channel) => {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return { discard: "malformed" };
    }
    const found = valueAt(value, toItems);
    const readings = Array.isArray(found) ? found : [found];
    if (!paths) return readings.every(isObject) ? readings : { discard: "malformed" };
    return readings.map((reading) =>
      paths.flatMap(([name, path]) => {
        const at = valueAt(reading, path);
        return at === undefined ? [] : [[name === topicChannel ? (channel ?? "") : name, at] as const];
      }),
    );
  };
}

/** @throws InvariantError for a path that no schema lets through */
function pathOf(text: string): JsonPath {
  const path = parseJsonPath(text);
  if (!path) throw new InvariantError(`${text} is no path`);
  return path;
}

/** One number, or a word that stands for one. */
function splitValue(
  text: string,
  channel: string | undefined,
  words: Readonly<Record<string, number>>,
): FrameFields {
  if (channel === undefined) return { discard: "noChannels" };
  const word = text.trim();
  return [[[channel, Object.hasOwn(words, word) ? words[word] : word]]];
}

/** RFC 4180 quoting within one line; a column without a value is absent. */
function splitCsv(text: string, columns: readonly string[], separator: string): FrameFields {
  const cells = text.includes('"') ? quotedCells(text, separator) : text.split(separator);
  if (!cells) return { discard: "malformed" };
  if (cells.length !== columns.length) return { discard: "columnCount" };
  const fields: [string, string][] = [];
  for (const [i, column] of columns.entries()) {
    const cell = (cells[i] ?? "").trim();
    if (cell !== "") fields.push([column, cell]);
  }
  return [fields];
}

function quotedCells(text: string, separator: string): string[] | undefined {
  const cells: string[] = [];
  let at = 0;
  for (;;) {
    let cell = "";
    if (text[at] === '"') {
      at++;
      for (;;) {
        const end = text.indexOf('"', at);
        if (end < 0) return undefined;
        cell += text.slice(at, end);
        at = end + 1;
        if (text[at] !== '"') break;
        cell += '"';
        at++;
      }
      if (at < text.length && text[at] !== separator) return undefined;
    } else {
      const next = text.indexOf(separator, at);
      const end = next < 0 ? text.length : next;
      cell = text.slice(at, end);
      at = end;
    }
    cells.push(cell);
    if (at >= text.length) return cells;
    at++;
  }
}

/** `t=21.5 h=40`; white space around names and values does not count. */
function splitKeyValue(text: string, separator: string): FrameFields {
  const fields: [string, string][] = [];
  for (const pair of text.split(separator)) {
    if (pair.trim() === "") continue;
    const equals = pair.indexOf("=");
    const name = pair.slice(0, equals).trim();
    if (equals < 0 || name === "") return { discard: "malformed" };
    fields.push([name, pair.slice(equals + 1).trim()]);
  }
  return fields.length > 0 ? [fields] : { discard: "malformed" };
}
