import { median } from "../test/faults/soak/trend.ts";

export { median };

/** Of rounds in which both were measured one after the other: the median of their ratios, not the ratio of medians. */
export function medianRatio<T>(
  rounds: readonly T[],
  numerator: (round: T) => number | undefined,
  denominator: (round: T) => number | undefined,
): number | undefined {
  const ratios = rounds.flatMap((round) => {
    const [a, b] = [numerator(round), denominator(round)];
    return a === undefined || b === undefined || b === 0 ? [] : [a / b];
  });
  return ratios.length > 0 ? median(ratios) : undefined;
}

export function medianOf<T>(rounds: readonly T[], of: (round: T) => number | undefined): number | undefined {
  const numbers = rounds.map(of).filter((number) => number !== undefined);
  return numbers.length > 0 ? median(numbers) : undefined;
}

export interface Percentiles {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

export const percentiles = (ms: readonly number[]): Percentiles => ({
  p50Ms: quantile(ms, 0.5),
  p99Ms: quantile(ms, 0.99),
  p999Ms: quantile(ms, 0.999),
});

/** Below which a part of them lies; NaN of none. */
export function quantile(numbers: readonly number[], part: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
