import { ofScore } from "./apis.ts";
import { isError, type Label, type Outcome, type PartOutcome, type Sentiment } from "./outcome.ts";

/** A part of a text with its length, in text elements. */
export interface ScoredPart {
  readonly elements: number;
  readonly outcome: PartOutcome;
}

/**
 * What a text's parts say together: scores are means, weighted by length; an error of one is the whole text's.
 * The label is made of the parts' labels as the service makes one of a document's sentences
 * (learn.microsoft.com, "Sentiment analysis": positive and negative together are mixed, neutral ones do not count);
 * of v2, which knows no such labels, it follows from the score.
 */
export function mergeParts(parts: readonly ScoredPart[]): Outcome {
  const sentiments: (Sentiment & { elements: number })[] = [];
  for (const [index, { elements, outcome }] of parts.entries()) {
    if (!isError(outcome)) {
      sentiments.push({ ...outcome, elements });
      continue;
    }
    const { code, message } = outcome.error;
    const where = parts.length > 1 ? `part ${index + 1} of ${parts.length}: ` : "";
    return { error: { code, message: `${where}${message}` } };
  }
  const [first] = sentiments;
  if (!first) return { error: { code: "unscored", message: "there is no text" } };
  const { elements: _, ...only } = first;
  if (sentiments.length === 1) return { ...only, parts: 1 };
  const whole = sentiments.reduce((sum, { elements }) => sum + elements, 0);
  const mean = (pick: (sentiment: Sentiment) => number) =>
    Math.min(1, sentiments.reduce((sum, part) => sum + pick(part) * part.elements, 0) / whole);
  const warnings = [...new Set(sentiments.flatMap((part) => part.warnings))].slice(0, 8);
  const score = mean((part) => part.score);
  if (first.scores.neutral === undefined) return { ...ofScore(score), warnings, parts: parts.length };
  const scores = {
    positive: mean((part) => part.scores.positive),
    neutral: mean((part) => part.scores.neutral ?? 0),
    negative: mean((part) => part.scores.negative ?? 0),
  };
  return {
    label: labelOf(sentiments.map(({ label }) => label)),
    score,
    scores,
    warnings,
    parts: parts.length,
  };
}

function labelOf(labels: readonly Label[]): Label {
  const found = new Set(labels);
  if (found.has("mixed") || (found.has("positive") && found.has("negative"))) return "mixed";
  if (found.has("positive")) return "positive";
  return found.has("negative") ? "negative" : "neutral";
}
