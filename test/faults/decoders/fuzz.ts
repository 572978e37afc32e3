import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { randomFrom } from "../../support/random.ts";
import { type Input, type Language, nextInput } from "./inputs.ts";

/** A decoder or a framer, and what must hold of it. */
export interface Fuzzed extends Language {
  readonly name: string;
  readonly variants: readonly Tried[];
}
/** As one configuration makes it. */
export interface Tried {
  /** What it takes. */
  readonly good: readonly Uint8Array[];
  attempt(input: Input, random: () => number): Attempt;
}
export interface Attempt {
  /** Something came of it. */
  readonly isTaken: boolean;
  /** What must not come of any bytes at all; undefined when all is well. */
  readonly problem: string | undefined;
}

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

/** Feeds a decoder or a framer. `onInput` is told before each thousand inputs. */
export function fuzz(
  fuzzed: Fuzzed,
  inputs: number,
  seed: number,
  onInput: (count: number) => void = () => undefined,
): FuzzResult {
  const { name, variants } = fuzzed;
  // A decoder that is added changes nothing for the others.
  const random = randomFrom([...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, seed));
  const problems: string[] = [];
  let [decoded, heapBefore, count] = [0, 0, 0];
  for (; count < inputs && problems.length < mostProblems; count++) {
    if (count % 1_000 === 0) onInput(count);
    if (count === inputs >> 1) heapBefore = heapBytes();
    const variant = variants[Math.floor(random() * variants.length)];
    if (!variant) throw new Error(`${name} has no variants`);
    const input = nextInput(random, variant, fuzzed);
    try {
      const { isTaken, problem } = variant.attempt(input, random);
      if (isTaken) decoded++;
      if (problem !== undefined) problems.push(describe(fuzzed, variant, input, problem));
    } catch (error) {
      problems.push(describe(fuzzed, variant, input, `threw ${error}`));
    }
  }
  let heapGrowthBytes = problems.length > 0 ? 0 : heapBytes() - heapBefore;
  // V8 keeps the shapes of dead objects over two collections (--retain-maps-for-n-gc), with the names in them.
  for (let more = 0; more < 3 && heapGrowthBytes > mostHeapGrowth; more++)
    heapGrowthBytes = heapBytes() - heapBefore;
  if (heapGrowthBytes > mostHeapGrowth)
    problems.push(`${name}: the heap grew by ${heapGrowthBytes} bytes in ${inputs - (inputs >> 1)} inputs`);
  return { inputs: count, decoded, discarded: count - decoded, heapGrowthBytes, problems };
}

function describe({ name, variants }: Fuzzed, variant: Tried, { bytes }: Input, problem: string): string {
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
