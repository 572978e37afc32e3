/** The frame of a poll to a reading, as the pipeline does it. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { ChannelNames } from "../../src/decode/channel-names.ts";
import { compileDecoder } from "../../src/decode/decoder.ts";
import { frameOf, type RegisterRecord } from "../../src/drivers/modbus.ts";
import { pipelineOf } from "../config/pipelines.ts";
import { notes, now, values } from "./decoders.ts";

function decoder(registers: JsonObject) {
  const source = { type: "modbus", transport: "rtu", path: "/dev/line", unit: 1, device: "meter", registers };
  const config = pipelineOf({ sources: { s: source }, channels: { temperature: { aliases: ["temp"] } } });
  const [compiled] = Object.values(config.sources);
  if (!compiled) throw new Error("the configuration lost its source");
  const decode = compileDecoder(compiled, new ChannelNames(config.channels));
  return (...records: readonly RegisterRecord[]) => decode(frameOf(records), now);
}
const holding = (address: number, hex: string): RegisterRecord => {
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  return { table: "holding", address, count: bytes.length / 2, bytes };
};

const registers = {
  temp: { address: 10, type: "int16", scale: 0.1 },
  energy: { address: 11, type: "uint64" },
  flow: { address: 20, type: "float32" },
  alarm: { table: "discrete", address: 3 },
};

test("the answers of a poll are one reading, with channels by their spelling's name", () => {
  const decode = decoder(registers);
  const discrete = { table: "discrete", address: 0, count: 4, bytes: Uint8Array.of(0b1000) } as const;
  const decoded = decode(discrete, holding(10, "ff9c 0000 0000 0001 0000"), holding(20, "4148 0000"));
  expect(values(decoded)).toEqual({ temperature: -10, energy: 65_536, flow: 12.5, alarm: 1 });
  expect(decoded).toMatchObject({ readings: [{ device: "meter", timeMs: now }], notes: [] });
});

test("what was refused has no value, and the rest has", () => {
  const decode = decoder(registers);
  expect(values(decode(holding(10, "00eb")))).toEqual({ temperature: 23.5 });
  expect(values(decode(holding(100, "0000")))).toBe("noChannels");
});

test("an integer beyond 2^53 and a NaN are notes, never a wrong number", () => {
  const decode = decoder(registers);
  const decoded = decode(holding(10, "0001 0020 0000 0000 0001"), holding(20, "7fc0 0000"));
  expect(values(decoded)).toEqual({ temperature: 0.1 });
  expect(notes(decoded)).toEqual(["inexact", "notFinite"]);
});

test("a text is the number that a word says, or that it is, and else a note", () => {
  const decode = decoder({
    state: { address: 0, type: "string", length: 2, words: { RUN: 1, STOP: 0 } },
    level: { address: 2, type: "string", length: 2 },
  });
  expect(values(decode(holding(0, "5354 4f50 3231 2e35")))).toEqual({ state: 0, level: 21.5 });
  const other = decode(holding(0, "4649 5245 3231 2e35"));
  expect(values(other)).toEqual({ level: 21.5 });
  expect(notes(other)).toEqual(["notANumber"]);
});

test("any bytes are readings or a discard", () => {
  const config = pipelineOf({
    sources: { s: { type: "modbus", transport: "tcp", host: "h", device: "d", registers } },
  });
  const [source] = Object.values(config.sources);
  if (!source) throw new Error("the configuration lost its source");
  const decode = compileDecoder(source, new ChannelNames({}));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const decoded = decode(bytes, now);
      if ("discard" in decoded)
        expect(["empty", "truncated", "malformed", "noChannels"]).toContain(decoded.discard);
      else
        for (const { value } of decoded.readings[0]?.values ?? []) expect(Number.isFinite(value)).toBe(true);
    }),
    { numRuns: 1_000 },
  );
});
