import { expect } from "vitest";
import type { Framing } from "../../src/config/framing-schema.ts";
import { framing as framingSchema } from "../../src/config/framing-schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { framerOf } from "../../src/sources/framing.ts";

/** As the configuration makes it, defaults and all. */
export const framingOf = (framing: JsonObject): Framing => framingSchema.parse(framing);

/** What a framer made of chunks: frames as hex, discards as reason and bytes. */
export function framed(framing: JsonObject, chunks: readonly Uint8Array[], reset = false): string[] {
  const seen: string[] = [];
  const framer = framerOf(
    framingOf(framing),
    {
      frame: (bytes) => seen.push(Buffer.from(bytes).toString("hex")),
      discard: (reason, bytes) => seen.push(`${reason} ${bytes}`),
    },
    systemClock,
  );
  for (const chunk of chunks) framer.push(chunk);
  if (reset) framer.reset();
  return seen;
}

/** Cuts bytes into chunks at these places, wherever they lie. */
export function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const at = [0, ...cuts.map((n) => n % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

/** How many bytes the discards tell of. */
export const discardedBytes = (seen: readonly string[]) =>
  seen.reduce((sum, one) => sum + Number(/^\w+ (\d+)$/.exec(one)?.[1] ?? 0), 0);

/** Megabytes of noise leave a framer as small as it was. */
export function expectBounded(framing: JsonObject, noise: (at: number) => number): void {
  let frames = 0;
  let discards = 0;
  const framer = framerOf(
    framingOf(framing),
    { frame: () => frames++, discard: () => discards++ },
    systemClock,
  );
  const chunk = Uint8Array.from({ length: 65_536 }, (_, at) => noise(at));
  framer.push(chunk);
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 16; i++) framer.push(chunk);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  expect(discards + frames).toBeGreaterThan(0);
}
