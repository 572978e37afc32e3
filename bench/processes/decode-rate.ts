/** `decode-rate FORMAT MS`: decodes one reading in a format for so long, and prints how fast. A process for each, because
 * what one format teaches the compiler would slow the next. */
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { ChannelNames } from "../../src/decode/channel-names.ts";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { bme280 } from "../../src/drivers/bme280.ts";
import { frameOf } from "../../src/drivers/modbus.ts";
import { dsmr5 } from "../../test/decode/telegrams.ts";
import { monotonicMs } from "../../test/faults/time.ts";
import type { DecodeRate } from "../decode.ts";
import { readingText } from "../reading.ts";

interface Format {
  readonly name: string;
  readonly decode: JsonObject;
  readonly frame: Uint8Array;
  readonly framing?: JsonObject;
}

/** The values of one reading, as every format brings them but `value`, the telegram and the chip. */
const reading = JSON.parse(readingText(1, 1, 1)) as Record<string, number | string>;
const values = Object.entries(reading).filter(
  (field): field is [string, number] => typeof field[1] === "number" && field[0] !== "seq",
);
const names = values.map(([name]) => name);
const text = (join: string, one: (name: string, value: number) => string) =>
  Buffer.from(values.map(([name, value]) => one(name, value)).join(join));

const formats: readonly Format[] = [
  { name: "json", decode: { format: "json", ignore: ["seq"] }, frame: Buffer.from(readingText(1, 1, 1)) },
  { name: "csv", decode: { format: "csv", columns: names }, frame: text(",", (_, value) => String(value)) },
  {
    name: "keyValue",
    decode: { format: "keyValue" },
    frame: text(" ", (name, value) => `${name}=${value}`),
  },
  {
    name: "regex",
    decode: { format: "regex", pattern: names.map((name) => `${name}=(?<${name}>[-0-9.]+)`).join(" ") },
    frame: text(" ", (name, value) => `${name}=${value}`),
  },
  { name: "nmea", decode: { format: "nmea" }, frame: sentence() },
  { name: "cbor", decode: { format: "cbor" }, frame: cbor(), framing: { kind: "cobs" } },
  {
    name: "binary",
    decode: {
      format: "binary",
      fields: Object.fromEntries(names.map((name, i) => [name, { offset: 4 * i, type: "float32" }])),
    },
    frame: floats(),
    framing: { kind: "cobs" },
  },
  {
    name: "value",
    decode: { format: "value", channel: "temperature" },
    frame: Buffer.from(String(values[0]?.[1])),
  },
  {
    name: "sysfs",
    decode: {
      format: "sysfs",
      files: Object.fromEntries(names.map((name, i) => [name, { path: `temp${i + 1}_input` }])),
    },
    frame: kernelTexts(),
  },
  {
    name: "modbus",
    decode: {
      format: "modbus",
      registers: Object.fromEntries(names.map((name, i) => [name, { address: 2 * i, type: "float32" }])),
    },
    frame: frameOf([{ table: "holding", address: 0, count: 2 * names.length, bytes: floats() }]),
  },
  {
    name: "driver",
    decode: { format: "driver", driver: "bme280" },
    frame: Buffer.from(bme280.vectors[0]?.frame.replaceAll(/\s/g, "") ?? "", "hex"),
  },
  {
    name: "dsmr",
    decode: { format: "dsmr" },
    frame: Buffer.from(dsmr5.trimEnd()),
    framing: { kind: "telegrams" },
  },
];

function sentence(): Buffer {
  const body = `WIXDR,${values.map(([name, value]) => `G,${value},X,${name}`).join(",")}`;
  const checksum = [...Buffer.from(body)].reduce((all, byte) => all ^ byte, 0);
  return Buffer.from(`$${body}*${checksum.toString(16).toUpperCase().padStart(2, "0")}`);
}

/** RFC 8949: a map of texts to floats of double precision. */
function cbor(): Buffer {
  const parts = values.map(([name, value]) => {
    const float = Buffer.alloc(9, 0xfb);
    float.writeDoubleBE(value, 1);
    return Buffer.concat([Buffer.from([0x60 + name.length]), Buffer.from(name), float]);
  });
  return Buffer.concat([Buffer.from([0xa0 + values.length]), ...parts]);
}

function floats(): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [i, [, value]] of values.entries()) buffer.writeFloatBE(value, 4 * i);
  return buffer;
}

/** What a kernel's files say, in thousandths. */
function kernelTexts(): Buffer {
  const texts = values.map(([, value], i) => [`temp${i + 1}_input`, String(Math.round(1_000 * value))]);
  return Buffer.from(JSON.stringify(Object.fromEntries(texts)));
}

/** Decodes the same frame again and again; the rate is per second of CPU, so that neighbours do not count. */
function measure(frame: Uint8Array, decode: () => boolean, ms: number): DecodeRate {
  let isGood = true;
  const run = (spanMs: number) => {
    const endMs = monotonicMs() + spanMs;
    let count = 0;
    for (; monotonicMs() < endMs; count += 1_000) for (let i = 0; i < 1_000; i++) isGood = decode() && isGood;
    return count;
  };
  run(ms / 3);
  const begun = process.cpuUsage();
  const count = run(ms);
  const { user, system } = process.cpuUsage(begun);
  return {
    readingsPerCpuSecond: (count / (user + system)) * 1e6,
    frameBytes: frame.length,
    problems: isGood ? [] : ["a frame was not decoded"],
  };
}

/** What `JSON.parse` alone does with the reading. */
function bare(ms: number): DecodeRate {
  const frame = Buffer.from(readingText(1, 1, 1));
  return measure(frame, () => typeof JSON.parse(frame.toString("utf8")) === "object", ms);
}

/** A serial port brings what its framing can; the frames of sources that ask come of a capture as well. */
const asked = ["sysfs", "modbus", "driver"];

function formatRate({ name, decode, frame, framing = { kind: "lines" } }: Format, ms: number): DecodeRate {
  const common = { path: "/dev/null", decode, device: "d" };
  const source = asked.includes(name)
    ? { type: "replay", ...common }
    : { type: "serial", framing, ...common };
  const checked = checkConfig({ gateway: { name: "b" }, sources: { s: source }, hub: { type: "edge" } });
  const config = pipelineConfig(checked);
  const compiled = config.sources.s;
  if (!compiled) throw new Error("the configuration lost its source");
  const decoder = compileDecoder(compiled, new ChannelNames(config.channels));
  const nowMs = Date.now();
  return measure(frame, () => "readings" in decoder(frame, nowMs), ms);
}

const [name = "", ms = ""] = process.argv.slice(2);
const format = formats.find((one) => one.name === name);
process.stdout.write(JSON.stringify(format ? formatRate(format, Number(ms)) : bare(Number(ms))));
