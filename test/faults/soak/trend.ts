export interface Trend {
  /** Per unit of x. */
  readonly slope: number;
  /** Half the width of the 95 % interval of the slope. */
  readonly spread: number;
}

/**
 * Straight line through points, by least squares. Samples of a process that follow each other are alike, so the spread
 * counts them as fewer, by the correlation of neighbours (effective size n (1 − r) / (1 + r)).
 */
export function trendOf(points: readonly { readonly x: number; readonly y: number }[]): Trend | undefined {
  const n = points.length;
  if (n < 3) return undefined;
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / n;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / n;
  const squares = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
  if (squares === 0) return undefined;
  const slope = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0) / squares;
  const rest = points.map(({ x, y }) => y - meanY - slope * (x - meanX));
  const variance = rest.reduce((sum, r) => sum + r * r, 0);
  const neighbours = rest.slice(1).reduce((sum, r, i) => sum + r * (rest[i] ?? 0), 0);
  const alike = variance === 0 ? 0 : Math.min(0.99, Math.max(0, neighbours / variance));
  const error = Math.sqrt(variance / (n - 2) / squares) * Math.sqrt((1 + alike) / (1 - alike));
  return { slope, spread: 1.96 * error };
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
