/** Every decoder that there is, with frames that it takes. */
import { z } from "zod";
import type { DecodeConfig } from "../../../src/config/schema.ts";
import { checksumOf } from "../../../src/core/checksum.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { ChannelNames } from "../../../src/decode/channel-names.ts";
import { compileDecoder, type Decode } from "../../../src/decode/decoder.ts";
import { i2cDrivers, oneWireDrivers } from "../../../src/drivers/catalogue.ts";
import type { Driver } from "../../../src/drivers/driver.ts";
import { frameOf } from "../../../src/drivers/modbus.ts";
import { jsonSource, pipelineOf } from "../../config/pipelines.ts";
import { dsmr5, real } from "../../decode/telegrams.ts";
import { sensirionChecksum } from "../../support/i2c/command-chips.ts";
import { pms5003, sds011 } from "../../support/packets.ts";
import { w1SlaveOf } from "../../support/sysfs-tree.ts";
import type { Language } from "./inputs.ts";

/** A decoder as one configuration makes it. */
export interface Variant {
  readonly decode: Decode;
  /** Frames that become readings. */
  readonly good: readonly Uint8Array[];
  /** The only channels that may come of it; absent where a frame names them. */
  readonly channels?: ReadonlySet<string>;
}
export interface FuzzedDecoder extends Language {
  readonly name: string;
  readonly variants: readonly Variant[];
  /** Its frames have a checksum: one bit that is wrong must never give another value. */
  readonly hasChecksum: boolean;
}

const crc = checksumOf("crc16-arc");
const telegrams = { kind: "telegrams" };
const cobs = { kind: "cobs" };
const bytes = (hex: string) => Buffer.from(hex.replaceAll(" ", ""), "hex");

/** When all frames are received. */
export const receivedMs = Date.UTC(2025, 0, 1, 12);

interface Format {
  readonly hasChecksum?: boolean;
  readonly seal?: FuzzedDecoder["seal"];
  readonly words: readonly string[];
  /** What stands in a serial source beside `path`, or a source of its own type; and frames that it takes. */
  readonly variants: readonly {
    readonly source: JsonObject;
    readonly good: readonly (string | Uint8Array)[];
  }[];
}

/** A new format is a line here; without it this file does not compile. */
const formats: Readonly<Record<Exclude<DecodeConfig["format"], "driver">, Format>> = {
  json: {
    words: [
      ...["{", "}", "[", "]", ":", ",", '"', "\\", "\\u0000", "\\ud800", "null", "true", "-", ".", "e", "0"],
      ...[
        "1e999",
        "NaN",
        '"__proto__":',
        '"constructor":',
        '"t":',
        '{"t":',
        '"id":"a",',
        '"ts":1735732800000,',
        '{"t":1e999}',
        '{"t":1,"t":2}',
        "9".repeat(400),
      ],
    ],
    variants: [
      {
        source: { decode: { format: "json" } },
        good: ['{"t":21.5,"h":40}', '[{"t":-1e3},{"t":"7.5","nested":{"a":[1,2]}}]'],
      },
      {
        source: { decode: { format: "json", time: { field: "ts" } }, device: { field: "id" } },
        good: ['{"id":"a","ts":1735732800000,"temp":1}', '{"id":7,"ts":1735732800000,"t":0}'],
      },
      {
        source: { decode: { format: "json", items: "$.a", fields: { t: "$['v'][-1]", h: "$.h" } } },
        good: ['{"a":[{"v":[1,2]},{"h":3}]}', '{"a":{"v":["7"]}}'],
      },
    ],
  },
  csv: {
    words: [",", '"', '""', ";", "1", "-", ".", "e", " ", "NaN", "1e999", "Infinity", "0x10"],
    variants: [
      {
        source: { decode: { format: "csv", columns: ["t", "h", "p"] } },
        good: ["21.5,40,1013", '"1","2,5"",",3', ",,1"],
      },
      {
        source: {
          decode: {
            format: "csv",
            columns: ["id", "ts", "t"],
            separator: ";",
            time: { field: "ts", unit: "s" },
          },
          device: { field: "id" },
        },
        good: ["a;1735732800;1"],
      },
    ],
  },
  keyValue: {
    words: ["=", " ", "&", "t", "h", "1", "-", ".", "e", "NaN", "1e999", "__proto__", "constructor"],
    variants: [
      { source: { decode: { format: "keyValue" } }, good: ["t=21.5 h=40", "  t=1   h=2 "] },
      {
        source: {
          decode: { format: "keyValue", separator: "&", time: { field: "ts", unit: "iso" } },
          device: { field: "id" },
        },
        good: ["id=a&ts=2025-01-01T12:00:00Z&t=1"],
      },
    ],
  },
  nmea: {
    hasChecksum: true,
    seal: sealSentence,
    words: [
      "$",
      "*",
      ",",
      "GP",
      "GGA",
      "RMC",
      "XDR",
      "PRDX",
      "00",
      "A",
      "V",
      "N",
      "W",
      "9999999999",
      "-",
      ".",
    ],
    variants: [
      {
        source: { decode: { format: "nmea" } },
        good: [
          "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47",
          "$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W*6A",
          "$YXXDR,P,1.02481,B,Barometer*28",
        ],
      },
      {
        source: { decode: { format: "nmea", time: { field: "utc", unit: "iso" } } },
        good: ["$GPRMC,115959,A,4807.038,N,01131.000,E,022.4,084.4,010125,003.1,W*6F"],
      },
    ],
  },
  value: {
    words: ["1", "-", ".", "e", "ON", "0x10", "NaN", "1e999", "\r\n", " "],
    variants: [
      {
        source: { decode: { format: "value", channel: "t", words: { ON: 1 } } },
        good: ["21.5", " -3e2\r\n", "ON"],
      },
    ],
  },
  regex: {
    words: ["t=", "h=", "%", "1", "-", ".", " ", "a".repeat(200)],
    variants: [
      {
        source: { decode: { format: "regex", pattern: "t=(?P<t>[^ ]+)( +h=(?P<h>[^%]+)%)? *" } },
        good: ["t=21.5 h=40%", "t=-3"],
      },
    ],
  },
  dsmr: {
    hasChecksum: true,
    seal: sealTelegram,
    words: ["/", "!", "\r\n", "1-0:1.8.1(", "0-1:24.1.0(003)", "0-1:24.2.1(", "*kWh)", "*m3)", "(", ")", "9"],
    variants: [
      { source: { framing: telegrams, decode: { format: "dsmr" } }, good: [dsmr5, real] },
      {
        source: {
          framing: telegrams,
          decode: { format: "dsmr", time: { field: "utc", unit: "iso", maxAheadMs: 86_400_000 } },
        },
        good: [dsmr5, real],
      },
    ],
  },
  binary: {
    words: [],
    variants: [pms5003, sds011].map(({ framing, decode, packet }) => ({
      source: { framing, decode },
      good: [packet],
    })),
  },
  cbor: {
    words: ["\x00", "\x18", "\x5f", "\x7f", "\x80", "\x9f", "\xa1", "\xbf", "\xc0", "\xf9", "\xfb", "\xff"],
    variants: [
      {
        source: { framing: cobs, decode: { format: "cbor" } },
        good: [bytes("a2 6161 01 6162 f93e00"), bytes("82 a16161 01 a16161 fb3ff199999999999a")],
      },
    ],
  },
  modbus: {
    words: [],
    variants: [
      {
        source: {
          type: "modbus",
          transport: "rtu",
          path: "/dev/line",
          unit: 1,
          device: "meter",
          registers: {
            flow: { address: 10, type: "float32" },
            energy: { address: 12, type: "uint64" },
            overload: { address: 16, type: "bool", bit: 5 },
            state: { address: 17, type: "string", length: 2, words: { RUN: 1 } },
            running: { table: "coil", address: 3 },
          },
        },
        good: [
          frameOf([
            {
              table: "holding",
              address: 10,
              count: 9,
              bytes: bytes("41480000 0000000000010000 0020 52554e00"),
            },
            { table: "coil", address: 0, count: 8, bytes: Uint8Array.of(0b1000) },
          ]),
        ],
      },
    ],
  },
  model: {
    words: [
      ...["{", "}", "[", "]", ":", ",", '"', "-", "1e999", "null", '"__proto__":', '"$time":', '"device":'],
      ...['"time":1735732800000,', '"values":{', '"discard":"modelFailed"', '"discard":"duplicate"'],
    ],
    variants: [
      {
        source: {
          type: "model",
          model: "any",
          inputs: { from: "values", source: "other", channels: ["x"], last: 1 },
          outputs: { score: {} },
        },
        good: ['{"device":"d","time":1735732800000,"values":{"score":0.5,"rest":-1e3}}'],
      },
    ],
  },
  sysfs: {
    words: [
      "{",
      "}",
      '"',
      ":",
      ",",
      "temp1_input",
      "in_temp_raw",
      "in_temp_scale",
      "\\n",
      "-",
      "1e999",
      "null",
    ],
    variants: [
      {
        source: {
          type: "sysfs",
          chip: "cpu_thermal",
          device: "cpu",
          files: { cpu: { path: "temp1_input" }, room: { path: "in_temp_raw" } },
        },
        good: [
          JSON.stringify({
            temp1_input: "45123",
            in_temp_raw: "2500",
            in_temp_scale: "10",
            in_temp_offset: "-5",
          }),
        ],
      },
    ],
  },
};

/** Of drivers; one that is not here is fuzzed without. */
const driverSeals: Readonly<Record<string, FuzzedDecoder["seal"]>> = {
  sht31: sealWords,
  scd41: sealWords,
  ...Object.fromEntries(oneWireDrivers.map(({ name }) => [name, sealScratchpad])),
};

/** @throws Error when a frame that should be good is none: it would be fuzzed in vain */
export function fuzzedDecoders(): readonly FuzzedDecoder[] {
  const all = [
    ...Object.entries(formats).map(([name, { hasChecksum = false, seal, words, variants }]) => ({
      name,
      hasChecksum,
      seal,
      words,
      variants: variants.map(({ source, good }) => ofFormat(source, good)),
    })),
    ...[...i2cDrivers, ...oneWireDrivers].map((driver) => ({
      name: driver.name,
      hasChecksum: driver.vectors.some(
        ({ expected }) => "discard" in expected && expected.discard === "badChecksum",
      ),
      seal: driverSeals[driver.name],
      words: [],
      variants: ofDriver(driver),
    })),
  ];
  for (const { name, variants } of all)
    for (const { decode, good } of variants)
      for (const frame of good) {
        const decoded = decode(frame, receivedMs);
        if ("discard" in decoded)
          throw new Error(`${name} discards its good frame ${Buffer.from(frame)}: ${decoded.discard}`);
      }
  return all;
}

function ofFormat(source: JsonObject, good: readonly (string | Uint8Array)[]): Variant {
  const s = "type" in source ? source : jsonSource("s", source);
  // What a source of type `model` names is there as well.
  const models = { any: { file: "/any.onnx" } };
  const config = pipelineOf({ sources: { s, other: jsonSource("other") }, models });
  const [compiled] = Object.values(config.sources);
  if (!compiled) throw new Error("the configuration lost its source");
  return {
    decode: compileDecoder(compiled, new ChannelNames(config.channels)),
    good: good.map((text) => Buffer.from(text)),
  };
}

/** One for all vectors of the same options. */
function ofDriver(driver: Driver): Variant[] {
  const schema = z.strictObject(driver.options?.(z) ?? {});
  const frames = new Map<string, Uint8Array[]>();
  for (const { frame, options = {}, expected } of driver.vectors) {
    // One that measured nothing has no values, and is good all the same.
    if ("discard" in expected || Object.keys(expected).length === 0) continue;
    const key = JSON.stringify(options);
    frames.set(key, [...(frames.get(key) ?? []), Buffer.from(frame.replaceAll(/\s/g, ""), "hex")]);
  }
  return [...frames].map(([key, good]) => {
    const options = schema.parse(JSON.parse(key));
    const decode = { format: "driver", driver: driver.name, options } as const;
    const source = { device: "d", decode, dedupe: { by: "none" }, idleMs: 0 } as const;
    return {
      decode: compileDecoder(source, new ChannelNames({})),
      good,
      channels: new Set(Object.keys(driver.channels(options))),
    };
  });
}

/** From `/` to the last `!`, and its checksum; what lacks them gets them. */
function sealTelegram(bytes: Buffer): Buffer {
  const end = bytes.lastIndexOf("!");
  const body = Buffer.concat([
    Buffer.from(bytes[0] === 0x2f ? "" : "/"),
    bytes.subarray(0, end < 0 ? bytes.length : end),
    Buffer.from("!"),
  ]);
  return Buffer.concat([body, Buffer.from(`${crc(body).toString(16).toUpperCase().padStart(4, "0")}\r\n`)]);
}

/** What stands between `$` and the last `*`, and its checksum; what is neither gets both. */
function sealSentence(bytes: Buffer): Buffer {
  const star = bytes.lastIndexOf("*");
  const body = bytes.subarray(bytes[0] === 0x24 ? 1 : 0, star < 0 ? bytes.length : star);
  const sum = body.reduce((all, byte) => all ^ byte, 0);
  return Buffer.concat([
    Buffer.from("$"),
    body,
    Buffer.from(`*${sum.toString(16).toUpperCase().padStart(2, "0")}`),
  ]);
}

/** Sensirion's words of two bytes and a checksum. */
function sealWords(bytes: Buffer): Buffer {
  const sealed = Buffer.from(bytes);
  for (let at = 2; at < sealed.length; at += 3)
    sealed[at] = sensirionChecksum(sealed[at - 2] ?? 0, sealed[at - 1] ?? 0);
  return sealed;
}

/** Eight bytes, as the kernel shows a scratchpad of them. */
function sealScratchpad(bytes: Buffer): Buffer {
  return Buffer.from(w1SlaveOf(Buffer.concat([bytes, Buffer.alloc(8)], 8)));
}
