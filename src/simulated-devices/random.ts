/** Numbers from 0 (included) to 1 (excluded); the same seed gives the same ones on every machine. */
export type Random = () => number;

/** mulberry32 by Tommy Ettinger (public domain): 32 bits of state are plenty for noise, and it is six lines. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Seed of a stream of its own, so that one more draw in one stream shifts no other (FNV-1a, 32 bits). */
export function deriveSeed(seed: number, stream: string): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (const byte of Buffer.from(stream)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash;
}

/** A whole number from `low` to `high`, both included. */
export const between = (random: Random, low: number, high: number): number =>
  low + Math.floor(random() * (high - low + 1));

/** True once in `every` draws on average; never for 0. Always draws, so that the stream does not depend on `every`. */
export const happens = (random: Random, every: number): boolean => {
  const draw = random();
  return every > 0 && draw < 1 / every;
};
