import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isPlainName } from "../../../src/core/reading.ts";
import type { Decoded } from "../../../src/decode/decoder.ts";
import { randomFrom } from "../../support/random.ts";
import { type FuzzedDecoder, receivedMs, type Variant } from "./fuzzed-decoders.ts";
import { type Input, nextInput } from "./inputs.ts";

export interface FuzzResult {
  readonly inputs: number;
  readonly decoded: number;
  readonly discarded: number;
  readonly heapGrowthBytes: number;
  readonly problems: readonly string[];
}

/** A decoder that is broken is broken for most inputs. */
const mostProblems = 5;
/**
 * Of the second half of the inputs, behind a collection. Names of channels are remembered up to a bound, which is
 * some of it; a million inputs that each left nine bytes behind would be more.
 */
const mostHeapGrowth = 4 * 1_048_576;

/** Feeds a decoder. `onInput` is told before each thousand of them. */
export function fuzz(
  decoder: FuzzedDecoder,
  inputs: number,
  seed: number,
  onInput: (count: number) => void = () => undefined,
): FuzzResult {
  const { name, variants } = decoder;
  // A decoder that is added changes nothing for the others.
  const random = randomFrom([...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, seed));
  const problems: string[] = [];
  let [decoded, heapBefore, count] = [0, 0, 0];
  for (; count < inputs && problems.length < mostProblems; count++) {
    if (count % 1_000 === 0) onInput(count);
    if (count === inputs >> 1) heapBefore = heapBytes();
    const variant = variants[Math.floor(random() * variants.length)];
    if (!variant) throw new Error(`${name} has no variants`);
    const input = nextInput(random, variant, decoder);
    try {
      const result = variant.decode(input.bytes, receivedMs);
      if (!("discard" in result)) decoded++;
      const problem = judged(result, variant) ?? judgedFlip(result, input, decoder, variant);
      if (problem !== undefined) problems.push(describe(decoder, variant, input, problem));
    } catch (error) {
      problems.push(describe(decoder, variant, input, `threw ${error}`));
    }
  }
  const heapGrowthBytes = problems.length > 0 ? 0 : heapBytes() - heapBefore;
  if (heapGrowthBytes > mostHeapGrowth)
    problems.push(`${name}: the heap grew by ${heapGrowthBytes} bytes in ${inputs - (inputs >> 1)} inputs`);
  return { inputs: count, decoded, discarded: count - decoded, heapGrowthBytes, problems };
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

function describe(
  { name, variants }: FuzzedDecoder,
  variant: Variant,
  { bytes }: Input,
  problem: string,
): string {
  const shown = Buffer.from(bytes.subarray(0, 500)).toString("hex");
  return `${name} (variant ${variants.indexOf(variant)}) ${problem} at ${shown || "nothing"} (${bytes.length} bytes)`;
}

let collect: (() => void) | undefined;

/** What is alive, with what buffers hold outside the heap. */
function heapBytes(): number {
  if (!collect) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
  const { used_heap_size: used, external_memory: external } = getHeapStatistics();
  return used + external;
}
