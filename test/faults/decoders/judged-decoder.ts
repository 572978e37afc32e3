import { isPlainName } from "../../../src/core/reading.ts";
import type { Decoded } from "../../../src/decode/decoder.ts";
import type { Fuzzed } from "./fuzz.ts";
import { type FuzzedDecoder, receivedMs, type Variant } from "./fuzzed-decoders.ts";
import type { Input } from "./inputs.ts";

/** A decoder, with what must hold of what it gives. */
export function judgedDecoder(decoder: FuzzedDecoder): Fuzzed {
  const { name, words, seal, variants } = decoder;
  return {
    name,
    words,
    seal,
    variants: variants.map((variant) => ({
      good: variant.good,
      attempt: (input) => {
        const result = variant.decode(input.bytes, receivedMs);
        const problem = judged(result, variant) ?? judgedFlip(result, input, decoder, variant);
        return { isTaken: !("discard" in result), problem };
      },
    })),
  };
}

/** What must not come of any bytes at all; undefined when all is well. */
function judged(result: Decoded, { channels }: Variant): string | undefined {
  if ("discard" in result) return result.discard === "pipelineFault" ? "took itself for a bug" : undefined;
  if (result.readings.length === 0) return "gave neither readings nor a discard";
  for (const { device, timeMs, values } of result.readings) {
    if (!isPlainName(device)) return `named a device ${JSON.stringify(device)}`;
    if (!Number.isFinite(timeMs)) return `gave the time ${timeMs}`;
    if (values.length === 0) return "gave a reading without values";
    const seen = new Set<string>();
    for (const { channel, value } of values) {
      if (typeof value !== "number" || !Number.isFinite(value)) return `gave ${channel} = ${value}`;
      if (!isPlainName(channel)) return `named a channel ${JSON.stringify(channel)}`;
      if (channels && !channels.has(channel)) return `gave ${channel}, which it does not declare`;
      if (seen.has(channel)) return `gave ${channel} twice`;
      seen.add(channel);
    }
  }
  return undefined;
}

/** One wrong bit: another value is the one thing that a checksum is for. */
function judgedFlip(
  result: Decoded,
  { flippedOf }: Input,
  { hasChecksum }: FuzzedDecoder,
  { decode }: Variant,
): string | undefined {
  if (!hasChecksum || flippedOf === undefined || "discard" in result) return undefined;
  const good = decode(flippedOf, receivedMs);
  const isSame = JSON.stringify(result) === JSON.stringify(good);
  return isSame
    ? undefined
    : `gave other values for one wrong bit of ${Buffer.from(flippedOf).toString("hex")}`;
}
