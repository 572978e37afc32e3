import type { PipelineConfig } from "../config/schema.ts";
import type { JsonObject } from "../core/json.ts";
import {
  type FrameDiscard,
  isPlainName,
  maxNameLength,
  type RawValue,
  type Reading,
} from "../core/reading.ts";
import type { ChannelNames } from "./channel-names.ts";

/** Fields of a reading in the order of its frame; a value is whatever the format carries there. */
export type Fields = JsonObject | readonly (readonly [name: string, value: unknown])[];

/** What a format finds in a frame: the fields of each reading, or why there is none. */
export type FrameFields = readonly Fields[] | { readonly discard: FrameDiscard };

/** Values that a frame carried and no channel took; each is counted, none is an error. */
export type ValueNote =
  | "notANumber"
  | "notFinite"
  | "inexact"
  | "duplicateChannel"
  | "badChannelName"
  | "noIdentity"
  | "notText";

type Source = PipelineConfig["sources"][string];

/** What a name means in the frames of one source. */
interface Meaning {
  readonly role: "device" | "time" | "text" | "ignored" | "channel" | "badName";
  /** It may be the device or the time as well; a channel it is not. */
  readonly isIdentity: boolean;
  readonly channel: Channel;
}

/** Shared by all spellings of a channel. */
interface Channel {
  readonly name: string;
  /** Number of the last reading that has it, and where in that reading's values. */
  reading: number;
  at: number;
  /** That value came under the channel's own name. */
  isExact: boolean;
}

/** Far more than a source has; beyond it names are looked up anew. */
const maxKnownNames = 4_096;

/** Makes readings of fields. A name is looked into once and not with every reading: devices send the same ones for ever. */
export class ReadingReader {
  readonly #names: ChannelNames;
  readonly #time: Source["decode"]["time"];
  readonly #ignored: ReadonlySet<string>;
  readonly #textFields: ReadonlySet<string>;
  readonly #deviceField: string | undefined;
  readonly #identityField: string | undefined;
  readonly #meanings = new Map<string, Meaning>();
  readonly #channels = new Map<string, Channel>();
  #readings = 0;
  /** Of the reading in hand. */
  #device: unknown;
  #identity: string | undefined;
  #timeMs: number | undefined;
  #values: RawValue[] = [];
  #texts: [string, string][] | undefined;
  #notes: ValueNote[] = [];

  constructor(source: Source, names: ChannelNames) {
    this.#names = names;
    this.#time = source.decode.time;
    this.#ignored = new Set(source.decode.ignore ?? []);
    this.#textFields = new Set(source.texts ?? []);
    const { device } = source;
    this.#deviceField = typeof device !== "string" && "field" in device ? device.field : undefined;
    this.#identityField = dedupeField(source);
  }

  /** `named`: the device, where its name stands in no field. `notes` gets what no channel took. */
  read(
    fields: Fields,
    receivedMs: number,
    named: string | undefined,
    notes: ValueNote[],
  ): Reading | FrameDiscard {
    if (this.#meanings.size > maxKnownNames) {
      this.#meanings.clear();
      this.#channels.clear();
    }
    this.#readings++;
    this.#device = named;
    this.#identity = undefined;
    this.#timeMs = this.#time ? undefined : receivedMs;
    this.#values = [];
    this.#texts = undefined;
    this.#notes = notes;
    if (Array.isArray(fields)) for (const [name, value] of fields) this.#field(name, value);
    // An object of `JSON.parse` inherits nothing that could be enumerated.
    else for (const name in fields) this.#field(name, (fields as JsonObject)[name]);
    return this.#reading(receivedMs);
  }

  #field(name: string, value: unknown): void {
    const { role, isIdentity, channel } = this.#meanings.get(name) ?? this.#learn(name);
    if (isIdentity) this.#identity = identityOf(value);
    if (role === "device") this.#device = typeof value === "number" ? String(value) : value;
    else if (role === "time") this.#timeMs = parseTime(value, this.#time?.unit ?? "ms");
    else if (role === "text") this.#text(name, value);
    else if (role !== "ignored") this.#value(role, name, channel, value);
  }

  /** A field without a text is as if it were not there. */
  #text(name: string, value: unknown): void {
    if (value === null || value === undefined) return;
    if (typeof value !== "string") this.#notes.push("notText");
    else if (value.trim() !== "") {
      this.#texts ??= [];
      this.#texts.push([name, value]);
    }
  }

  #value(role: "channel" | "badName", name: string, channel: Channel, value: unknown): void {
    const number = parseNumber(value);
    if (number === undefined) this.#notes.push(typeof value === "bigint" ? "inexact" : "notANumber");
    else if (!Number.isFinite(number)) this.#notes.push("notFinite");
    else if (role === "badName") this.#notes.push("badChannelName");
    else if (channel.reading !== this.#readings) {
      channel.reading = this.#readings;
      channel.isExact = name === channel.name;
      channel.at = this.#values.push({ channel: channel.name, value: number }) - 1;
    } else {
      // The canonical spelling wins over its aliases, else the first; the other value is counted, not mixed in.
      this.#notes.push("duplicateChannel");
      if (name !== channel.name || channel.isExact) return;
      channel.isExact = true;
      this.#values[channel.at] = { channel: channel.name, value: number };
    }
  }

  #reading(receivedMs: number): Reading | FrameDiscard {
    const device = this.#device;
    const timeMs = this.#timeMs;
    const values = this.#values;
    if (device === undefined || device === null) return "noDevice";
    if (typeof device !== "string" || !isPlainName(device)) return "badDevice";
    if (timeMs === undefined || !Number.isFinite(timeMs)) return "noTime";
    if (this.#time && timeMs > receivedMs + this.#time.maxAheadMs) return "future";
    const texts = this.#texts;
    if (values.length === 0 && !texts) return "noChannels";
    if (this.#identityField !== undefined && this.#identity === undefined) this.#notes.push("noIdentity");
    if (this.#identity === undefined && !texts) return { device, timeMs, values };
    const identity = this.#identity === undefined ? {} : { identity: this.#identity };
    return { device, timeMs, values, ...identity, ...(texts ? { texts } : {}) };
  }

  #learn(name: string): Meaning {
    const isIdentity = name === this.#identityField;
    const role =
      name === this.#deviceField
        ? "device"
        : name === this.#time?.field
          ? "time"
          : this.#textFields.has(name)
            ? "text"
            : isIdentity || this.#ignored.has(name)
              ? "ignored"
              : isPlainName(name)
                ? "channel"
                : "badName";
    const meaning = { role, isIdentity, channel: this.#channel(this.#names.canonical(name)) } as const;
    // A longer name is no channel's, and of any length.
    if (name.length <= maxNameLength) this.#meanings.set(name, meaning);
    return meaning;
  }

  #channel(name: string): Channel {
    let channel = this.#channels.get(name);
    if (!channel) {
      channel = { name, reading: 0, at: 0, isExact: false };
      if (name.length <= maxNameLength) this.#channels.set(name, channel);
    }
    return channel;
  }
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
