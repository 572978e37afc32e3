import { isUtf8 } from "node:buffer";
import type { PipelineConfig } from "../config/schema.ts";
import { isObject } from "../core/json.ts";
import { type FrameDiscard, isPlainName, type RawValue, type Reading } from "../core/reading.ts";
import type { ChannelNames } from "./channel-names.ts";

/** Fields of a frame in its order; a value is whatever the format carries there. */
export type Fields = Iterable<readonly [name: string, value: unknown]>;

/** Values that a frame carried and no channel took; each is counted, none is an error. */
export type ValueNote = "notANumber" | "notFinite" | "duplicateChannel" | "badChannelName" | "noIdentity";

export type Decoded =
  | { readonly readings: readonly Reading[]; readonly notes: readonly ValueNote[] }
  | { readonly discard: FrameDiscard };

/** Bytes of one frame, the wall time of its receipt and its topic in; readings or the reason why not out. Pure. */
export type Decode = (bytes: Uint8Array, receivedMs: number, origin?: string) => Decoded;

type Source = PipelineConfig["sources"][string];
type Split = (text: string) => readonly Fields[] | { readonly discard: FrameDiscard };

export function compileDecoder(source: Source, names: ChannelNames): Decode {
  const split = compileFormat(source.decode);
  const { time } = source.decode;
  const ignored = new Set(source.decode.ignore);
  const place = typeof source.device === "string" ? { name: source.device } : source.device;
  const deviceField = "field" in place ? place.field : undefined;
  const identityField = dedupeField(source);

  const toReading = (
    fields: Fields,
    receivedMs: number,
    named: string | undefined,
    notes: ValueNote[],
  ): Reading | FrameDiscard => {
    let device: unknown = named;
    let identity: string | undefined;
    let timeMs: number | undefined = time ? undefined : receivedMs;
    const values: RawValue[] = [];
    const exact = new Set<string>();
    const places = new Map<string, number>();
    for (const [name, value] of fields) {
      // It may be the device or the time as well; a channel it is not.
      if (name === identityField) identity = identityOf(value);
      if (name === deviceField) {
        device = typeof value === "number" ? String(value) : value;
        continue;
      }
      if (name === time?.field) {
        timeMs = parseTime(value, time.unit);
        continue;
      }
      if (name === identityField || ignored.has(name)) continue;
      const number = parseNumber(value);
      if (number === undefined) {
        notes.push("notANumber");
        continue;
      }
      if (!Number.isFinite(number)) {
        notes.push("notFinite");
        continue;
      }
      if (!isPlainName(name)) {
        notes.push("badChannelName");
        continue;
      }
      const channel = names.canonical(name);
      const at = places.get(channel);
      if (at === undefined) places.set(channel, values.push({ channel, value: number }) - 1);
      else {
        // The canonical spelling wins over its aliases, else the first; the other value is counted, not mixed in.
        notes.push("duplicateChannel");
        if (name === channel && !exact.has(channel)) values[at] = { channel, value: number };
      }
      if (name === channel) exact.add(channel);
    }
    if (device === undefined || device === null) return "noDevice";
    if (typeof device !== "string" || !isPlainName(device)) return "badDevice";
    if (timeMs === undefined || !Number.isFinite(timeMs)) return "noTime";
    if (time && timeMs > receivedMs + time.maxAheadMs) return "future";
    if (values.length === 0) return "noChannels";
    if (identityField === undefined) return { device, timeMs, values };
    if (identity !== undefined) return { device, timeMs, values, identity };
    notes.push("noIdentity");
    return { device, timeMs, values };
  };

  return (bytes, receivedMs, origin = "") => {
    if (bytes.length === 0) return { discard: "empty" };
    if (bytes.includes(0)) return { discard: "nul" };
    if (!isUtf8(bytes)) return { discard: "invalidUtf8" };
    const frames = split(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
    if ("discard" in frames) return frames;
    const notes: ValueNote[] = [];
    const readings: Reading[] = [];
    const named =
      "name" in place ? place.name : "topicLevel" in place ? origin.split("/")[place.topicLevel] : undefined;
    for (const fields of frames) {
      // A frame counts as decoded or as discarded, never as both: one bad reading in it discards it whole.
      const reading = toReading(fields, receivedMs, named, notes);
      if (typeof reading === "string") return { discard: reading };
      readings.push(reading);
    }
    return readings.length > 0 ? { readings, notes } : { discard: "noChannels" };
  };
}

/** The field that tells a reading from its repeats. A configuration journaled by an older version has no `dedupe`. */
function dedupeField({ dedupe }: Partial<Source>): string | undefined {
  return dedupe && "field" in dedupe ? dedupe.field : undefined;
}

/** Anything else than a text or a number names nothing. */
function identityOf(value: unknown): string | undefined {
  if (typeof value === "number") return String(value);
  return typeof value === "string" && value !== "" ? value : undefined;
}

function compileFormat(decode: Source["decode"]): Split {
  switch (decode.format) {
    case "json":
      return splitJson;
    case "csv":
      return (text) => splitCsv(text, decode.columns, decode.separator);
    case "keyValue":
      return (text) => splitKeyValue(text, decode.separator);
    default:
      return decode satisfies never;
  }
}

/** One object, or an array of objects, per line (https://jsonlines.org). */
const splitJson: Split = (text) => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { discard: "malformed" };
  }
  const objects = Array.isArray(value) ? value : [value];
  if (!objects.every(isObject)) return { discard: "malformed" };
  return objects.map((object) => Object.entries(object));
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

const numeric = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$/;

/** Numbers, and text that is nothing but a decimal number; `Number("")` and hex would be silent surprises. */
function parseNumber(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "string" && numeric.test(value) ? Number(value) : undefined;
}

/** ISO 8601 needs its offset: a local time would mean something else on the next box. */
const isoTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})$/;

/** ms since 1970 UTC, or undefined. Times before 2000 and beyond 2200 are clocks that were never set. */
function parseTime(value: unknown, unit: "s" | "ms" | "iso"): number | undefined {
  let timeMs: number | undefined;
  if (unit === "iso")
    timeMs = typeof value === "string" && isoTime.test(value) ? Date.parse(value) : undefined;
  else {
    const number = parseNumber(value);
    timeMs = number === undefined ? undefined : Math.round(unit === "s" ? number * 1000 : number);
  }
  return timeMs !== undefined && timeMs >= 946_684_800_000 && timeMs < 7_258_118_400_000 ? timeMs : undefined;
}
