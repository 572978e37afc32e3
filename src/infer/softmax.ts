/**
 * Probabilities of scores, row by row. The greatest score of a row is subtracted first, so that no score is too large
 * for `exp`: its own share becomes exp(0).
 */
export function softmax(scores: Float32Array, classes: number): Float32Array {
  const probabilities = new Float32Array(scores.length);
  for (let from = 0; from < scores.length; from += classes) {
    const row = scores.subarray(from, from + classes);
    let greatest = Number.NEGATIVE_INFINITY;
    for (const score of row) greatest = Math.max(greatest, score);
    let sum = 0;
    for (const score of row) sum += Math.exp(score - greatest);
    for (const [i, score] of row.entries()) probabilities[from + i] = Math.exp(score - greatest) / sum;
  }
  return probabilities;
}

export interface Ranked {
  readonly index: number;
  readonly probability: number;
}

/** The `k` most probable classes, the first of equals first. */
export function mostProbable(probabilities: Float32Array, k: number): Ranked[] {
  const ranked = Array.from(probabilities, (probability, index) => ({ index, probability }));
  return ranked.sort((a, b) => b.probability - a.probability || a.index - b.index).slice(0, k);
}
