import { expect } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { ChannelNames } from "../../src/decode/channel-names.ts";
import { compileDecoder, type Decoded } from "../../src/decode/decoder.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";

export const now = Date.UTC(2025, 0, 1, 12);

interface Options {
  readonly device?: string | JsonObject;
  readonly channels?: JsonObject;
  readonly framing?: JsonObject;
}

/** A decoder as the configuration makes it, of text or of hex. */
export function decoder(
  decode: JsonObject,
  { device = "d", channels = {}, framing = { kind: "lines" } }: Options = {},
) {
  const config = pipelineOf({ sources: { s: jsonSource("s", { decode, device, framing }) }, channels });
  const [source] = Object.values(config.sources);
  if (!source) throw new Error("the configuration lost its source");
  const compiled = compileDecoder(source, new ChannelNames(config.channels));
  return {
    bytes: (bytes: Uint8Array, receivedMs = now) => compiled(bytes, receivedMs),
    hex: (hex: string) => compiled(Buffer.from(hex.replaceAll(" ", ""), "hex"), now),
    text: (text: string) => compiled(Buffer.from(text), now),
  };
}

export const json = decoder({ format: "json" });
export const csv = decoder({ format: "csv", columns: ["t", "h", "p"] });
export const pairs = decoder({ format: "keyValue" });

/** The values of the only reading, or the reason of the discard. */
export function values(decoded: Decoded): Record<string, number> | string {
  if ("discard" in decoded) return decoded.discard;
  expect(decoded.readings).toHaveLength(1);
  return Object.fromEntries(
    decoded.readings.flatMap(({ values }) => values.map((v) => [v.channel, v.value] as const)),
  );
}

export const notes = (decoded: Decoded) => ("discard" in decoded ? decoded.discard : decoded.notes);
