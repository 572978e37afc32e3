import type { AggregateName } from "../config/schema.ts";
import type { MeasuredValue, QualityReason } from "../core/reading.ts";

/** Running aggregate of one channel in one window. Plain data, so that a snapshot is its JSON. */
export interface ChannelAggregate {
  /** Values of quality good, the only ones that enter the numbers below. */
  count: number;
  bad: number;
  /** Bad values by reason. */
  reasons: Partial<Record<QualityReason, number>>;
  /** Sum in order of arrival, so that anyone who adds the same numbers gets the same mean to the last bit. */
  sum: number;
  /** Welford's running mean and sum of squared differences (Technometrics 4, 1962): no cancellation. */
  runningMean: number;
  squares: number;
  min: number;
  max: number;
  first: number;
  last: number;
  firstMs: number;
  lastMs: number;
}

export function emptyAggregate(): ChannelAggregate {
  return {
    count: 0,
    bad: 0,
    reasons: {},
    sum: 0,
    runningMean: 0,
    squares: 0,
    min: 0,
    max: 0,
    first: 0,
    last: 0,
    firstMs: 0,
    lastMs: 0,
  };
}

export function addValue(
  a: ChannelAggregate,
  timeMs: number,
  { value, quality, reason }: MeasuredValue,
): void {
  if (quality === "bad") {
    a.bad++;
    if (reason) a.reasons[reason] = (a.reasons[reason] ?? 0) + 1;
    return;
  }
  a.count++;
  a.sum += value;
  const difference = value - a.runningMean;
  a.runningMean += difference / a.count;
  a.squares += difference * (value - a.runningMean);
  if (a.count === 1) {
    a.min = a.max = a.first = a.last = value;
    a.firstMs = a.lastMs = timeMs;
    return;
  }
  if (value < a.min) a.min = value;
  if (value > a.max) a.max = value;
  // First and last by the readings' own time; readings of equal time keep their order of arrival.
  if (timeMs < a.firstMs) {
    a.first = value;
    a.firstMs = timeMs;
  }
  if (timeMs >= a.lastMs) {
    a.last = value;
    a.lastMs = timeMs;
  }
}

/** The numbers of an entry. Without a good value there is only the count; a deviation needs two (n − 1). */
export function aggregateNumbers(
  a: ChannelAggregate,
  names: readonly AggregateName[],
): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const name of names) {
    const number = aggregateNumber(a, name);
    if (number !== undefined && Number.isFinite(number)) numbers[name] = number;
  }
  return numbers;
}

function aggregateNumber(a: ChannelAggregate, name: AggregateName): number | undefined {
  if (name === "count") return a.count;
  if (a.count === 0) return undefined;
  switch (name) {
    case "mean":
      return a.sum / a.count;
    case "min":
      return a.min;
    case "max":
      return a.max;
    case "sum":
      return a.sum;
    case "first":
      return a.first;
    case "last":
      return a.last;
    case "stddev":
      return a.count > 1 ? Math.sqrt(a.squares / (a.count - 1)) : undefined;
    default:
      return name satisfies never;
  }
}
