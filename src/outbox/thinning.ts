import { createHash } from "node:crypto";
import type { ChannelBody, WindowEntryBody } from "./entry-schema.ts";

/** How many windows become one. */
export const thinnedTo = 10;

/**
 * Entries that may be merged: of one window of one device, of one size and in the same units, told once, not revised, and not merged before.
 * A revision stands for a window whose first telling may have left already; merged, it would count twice.
 */
export function thinningKey(body: WindowEntryBody): string | undefined {
  if (body.kind !== "window" || body.revision > 0 || body.thinned !== undefined) return undefined;
  const sizeMs = Date.parse(body.windowEnd) - Date.parse(body.windowStart);
  const units = Object.entries(body.channels).map(([name, { unit }]) => [name, unit]);
  return JSON.stringify([body.window, body.source, body.device, sizeMs, units]);
}

/**
 * One entry for several, in order of time. What cannot be merged exactly from what they say is left out: a mean
 * needs counts, a deviation counts and means.
 */
export function merged(storeId: string, bodies: readonly WindowEntryBody[]): WindowEntryBody {
  const sorted = [...bodies].sort((a, b) => (a.windowStart < b.windowStart ? -1 : 1));
  const first = sorted[0] as WindowEntryBody;
  const last = sorted.at(-1) as WindowEntryBody;
  const sum = (of: (body: WindowEntryBody) => number) => sorted.reduce((total, body) => total + of(body), 0);
  const id = createHash("sha256")
    .update([storeId, "thinned", ...sorted.map((body) => body.id)].join("\n"))
    .digest("hex")
    .slice(0, 32);
  const partial = sorted.find((body) => body.partial)?.partial;
  const names = new Set(sorted.flatMap((body) => Object.keys(body.channels)));
  const { expected: _1, partial: _2, ...rest } = first;
  return {
    ...rest,
    id,
    windowEnd: last.windowEnd,
    timeQuality: worst(sorted.map((body) => body.timeQuality)),
    quality: qualityOf(sorted.map((body) => body.quality)),
    count: sum((body) => body.count),
    ...(sorted.every((body) => body.expected !== undefined)
      ? { expected: sum((body) => body.expected ?? 0) }
      : {}),
    bad: sum((body) => body.bad),
    ...(partial ? { partial } : {}),
    thinned: sum((body) => body.thinned ?? 1),
    channels: Object.fromEntries(
      [...names].map((name) => [
        name,
        mergedChannel(
          sorted.flatMap((body) =>
            Object.hasOwn(body.channels, name) ? [body.channels[name]] : [],
          ) as ChannelBody[],
        ),
      ]),
    ),
    configurations: [...new Set(sorted.flatMap((body) => body.configurations))],
  };
}

function mergedChannel(channels: readonly ChannelBody[]): ChannelBody {
  // A channel without a good value says nothing but how many were bad.
  const good = channels.filter(({ count }) => count !== 0);
  const all = (key: "mean" | "min" | "max" | "sum" | "count" | "stddev" | "first" | "last") =>
    good.length > 0 && good.every((channel) => channel[key] !== undefined)
      ? good.map((channel) => channel[key] as number)
      : undefined;
  const total = (numbers: readonly number[]) => numbers.reduce((sum, number) => sum + number, 0);
  const counts = channels.every(({ count }) => count !== undefined) ? (all("count") ?? []) : undefined;
  const count = counts && total(counts);
  const sums = all("sum");
  const means = all("mean");
  const mean =
    counts && count && means ? total(means.map((each, i) => each * (counts[i] ?? 0))) / count : undefined;
  const stddev = counts && means && mean !== undefined ? deviation(good, counts, means, mean) : undefined;
  const minima = all("min");
  const maxima = all("max");
  const unit = channels.find((channel) => channel.unit !== undefined)?.unit;
  const reasons: NonNullable<ChannelBody["reasons"]> = {};
  for (const channel of channels) {
    for (const [reason, times] of Object.entries(channel.reasons ?? {}) as [keyof typeof reasons, number][])
      reasons[reason] = (reasons[reason] ?? 0) + times;
  }
  return {
    ...(unit === undefined ? {} : { unit }),
    ...(mean === undefined ? {} : { mean }),
    ...(minima ? { min: Math.min(...minima) } : {}),
    ...(maxima ? { max: Math.max(...maxima) } : {}),
    ...(sums ? { sum: total(sums) } : {}),
    ...(count === undefined ? {} : { count }),
    ...(stddev === undefined ? {} : { stddev }),
    ...(all("first") ? { first: all("first")?.[0] as number } : {}),
    ...(all("last") ? { last: all("last")?.at(-1) as number } : {}),
    bad: total(channels.map(({ bad }) => bad)),
    ...(Object.keys(reasons).length > 0 ? { reasons } : {}),
  };
}

/**
 * Of the sample, from the parts' counts, means and deviations
 * (Chan, Golub, LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances", eq. 2.1).
 */
function deviation(
  channels: readonly ChannelBody[],
  counts: readonly number[],
  means: readonly number[],
  mean: number,
): number | undefined {
  let squares = 0;
  let count = 0;
  for (const [i, channel] of channels.entries()) {
    const n = counts[i] ?? 0;
    // A single value has no deviation of its own.
    if (n > 1 && channel.stddev === undefined) return undefined;
    squares += (channel.stddev ?? 0) ** 2 * Math.max(0, n - 1) + n * ((means[i] ?? 0) - mean) ** 2;
    count += n;
  }
  return count > 1 ? Math.sqrt(squares / (count - 1)) : undefined;
}

function worst(qualities: readonly WindowEntryBody["timeQuality"][]): WindowEntryBody["timeQuality"] {
  return (["unsynced", "holdover"] as const).find((quality) => qualities.includes(quality)) ?? "synced";
}

function qualityOf(qualities: readonly WindowEntryBody["quality"][]): WindowEntryBody["quality"] {
  const [first] = qualities;
  return first !== undefined && qualities.every((quality) => quality === first) ? first : "uncertain";
}
