import { isUtf8 } from "node:buffer";
import type { DecodeConfig, PipelineConfig } from "../config/schema.ts";
import { isObject } from "../core/json.ts";
import type { FrameDiscard, Reading } from "../core/reading.ts";
import { driverNamed } from "../drivers/catalogue.ts";
import type { ChannelNames } from "./channel-names.ts";
import { splitNmea } from "./nmea.ts";
import { type Fields, ReadingReader, type ValueNote } from "./reading-reader.ts";

export type Decoded =
  | { readonly readings: readonly Reading[]; readonly notes: readonly ValueNote[] }
  | { readonly discard: FrameDiscard };

/** Bytes of one frame, the wall time of its receipt and its topic in; readings or the reason why not out. Pure. */
export type Decode = (bytes: Uint8Array, receivedMs: number, origin?: string) => Decoded;

type Source = PipelineConfig["sources"][string];
type Split = (
  bytes: Uint8Array,
  receivedMs: number,
) => readonly Fields[] | { readonly discard: FrameDiscard };
type SplitText = (text: string, receivedMs: number) => ReturnType<Split>;

export function compileDecoder(source: Source, names: ChannelNames): Decode {
  const split = compileFormat(source.decode);
  const nameOf = compileDevice(source.device);
  const reader = new ReadingReader(source, names);
  return (bytes, receivedMs, origin = "") => {
    if (bytes.length === 0) return { discard: "empty" };
    const frames = split(bytes, receivedMs);
    if ("discard" in frames) return frames;
    const notes: ValueNote[] = [];
    const readings: Reading[] = [];
    const named = nameOf(origin);
    for (const fields of frames) {
      // A frame counts as decoded or as discarded, never as both: one bad reading in it discards it whole.
      const reading = reader.read(fields, receivedMs, named, notes);
      if (typeof reading === "string") return { discard: reading };
      readings.push(reading);
    }
    return readings.length > 0 ? { readings, notes } : { discard: "noChannels" };
  };
}

/** The device's name by the frame's origin; undefined where a field names it, or nothing does. */
function compileDevice(device: Source["device"]): (origin: string) => string | undefined {
  if (typeof device === "string") return () => device;
  if ("topicLevel" in device) return (origin) => origin.split("/")[device.topicLevel];
  // The source looked it up: the origin is the property's value.
  if ("property" in device) return (origin) => (origin === "" ? undefined : origin);
  return () => undefined;
}

function compileFormat(decode: DecodeConfig): Split {
  switch (decode.format) {
    case "json":
      return ofText(splitJson);
    case "csv":
      return ofText((text) => splitCsv(text, decode.columns, decode.separator));
    case "keyValue":
      return ofText((text) => splitKeyValue(text, decode.separator));
    case "nmea": {
      const withTime = decode.time !== undefined;
      return ofText((text, receivedMs) => splitNmea(text, receivedMs, withTime));
    }
    case "driver": {
      const driver = driverNamed(decode.driver);
      return (bytes) => {
        const values = driver.decode(bytes, decode.options);
        return "discard" in values ? values : [values];
      };
    }
    default:
      return decode satisfies never;
  }
}

function ofText(split: SplitText): Split {
  return (bytes, receivedMs) => {
    if (bytes.includes(0)) return { discard: "nul" };
    if (!isUtf8(bytes)) return { discard: "invalidUtf8" };
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    return split(buffer.toString("utf8"), receivedMs);
  };
}

/** One object, or an array of objects, per line (https://jsonlines.org). */
const splitJson: SplitText = (text) => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { discard: "malformed" };
  }
  const objects = Array.isArray(value) ? value : [value];
  if (!objects.every(isObject)) return { discard: "malformed" };
  return objects;
};

/** RFC 4180 quoting within one line; a column without a value is absent. */
function splitCsv(text: string, columns: readonly string[], separator: string): ReturnType<Split> {
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
function splitKeyValue(text: string, separator: string): ReturnType<Split> {
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
