/** Of what is fuzzed: what the inputs are made of beside good frames and noise. */
export interface Language {
  /** What its language is made of, and what has ever been trouble in it. */
  readonly words: readonly string[];
  /** Makes the checksum right, or nothing that is changed would come further than to its check. */
  readonly seal?: ((bytes: Buffer) => Buffer) | undefined;
}

export interface Input {
  readonly bytes: Uint8Array;
  /** The good frame of which one bit was flipped, and nothing else. */
  readonly flippedOf?: Uint8Array;
}

type Random = () => number;
const below = (random: Random, limit: number) => Math.floor(random() * limit);
const pick = <T>(random: Random, items: readonly T[], otherwise: T): T =>
  items[below(random, items.length)] ?? otherwise;

const nothing = Buffer.alloc(0);
/** Beyond the longest frame of most, and within what is quick. */
const longestRandom = 80;
const longestRepeat = 4_096;

/** The next thing that a decoder gets; half of what is not one flipped bit with a checksum that is right. */
export function nextInput(
  random: Random,
  { good }: { readonly good: readonly Uint8Array[] },
  { words, seal }: Language,
): Input {
  const frame = Buffer.from(pick<Uint8Array>(random, good, nothing));
  if (random() < 0.2) return { bytes: flipped(random, frame), flippedOf: frame };
  const bytes = anything(random, frame, good, words);
  return { bytes: seal && random() < 0.5 ? seal(bytes) : bytes };
}

/** Noise, a good frame that something happened to, or words of a decoder's language. */
function anything(
  random: Random,
  frame: Buffer,
  good: readonly Uint8Array[],
  words: readonly string[],
): Buffer {
  const dice = random();
  if (dice < 0.15) return noise(random, below(random, longestRandom));
  // Of the right length, or the check of the length would be all that is tried.
  if (dice < 0.35) return noise(random, frame.length);
  if (dice < 0.6) return mutated(random, frame);
  if (dice < 0.8) {
    const from = random() < 0.3 ? below(random, frame.length) : 0;
    return frame.subarray(from, below(random, frame.length));
  }
  if (dice < 0.999) return soup(random, good, words);
  const part = words.length > 0 ? Buffer.from(pick(random, words, "")) : frame;
  return Buffer.alloc(below(random, longestRepeat), part.length > 0 ? part : 0);
}

function noise(random: Random, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = below(random, 256);
  return bytes;
}

function flipped(random: Random, frame: Buffer): Buffer {
  const bytes = Buffer.from(frame);
  const bit = below(random, 8 * bytes.length);
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes;
}

function mutated(random: Random, frame: Buffer): Buffer {
  let bytes = Buffer.from(frame);
  for (let i = 0; i <= below(random, 4); i++) {
    const at = below(random, bytes.length + 1);
    const length = below(random, 4);
    const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)];
    const kinds = [
      () => Buffer.concat([before, noise(random, length), behind]),
      () => Buffer.concat([before, behind.subarray(length)]),
      () => Buffer.concat([before, noise(random, length), behind.subarray(length)]),
      () => Buffer.concat([before, behind.subarray(0, length), behind]),
      () => Buffer.concat([behind, before]),
    ];
    bytes = pick(random, kinds, () => bytes)();
  }
  return bytes;
}

function soup(random: Random, good: readonly Uint8Array[], words: readonly string[]): Buffer {
  const parts: Uint8Array[] = [];
  for (let i = 0; i <= below(random, 12); i++) {
    const frame = pick<Uint8Array>(random, good, nothing);
    const from = below(random, frame.length);
    if (words.length > 0 && random() < 0.6) parts.push(Buffer.from(pick(random, words, "")));
    else parts.push(frame.subarray(from, from + below(random, 12)));
  }
  return Buffer.concat(parts);
}
