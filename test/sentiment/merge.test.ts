import { expect, test } from "vitest";
import { ofScore } from "../../src/sentiment/apis.ts";
import { mergeParts } from "../../src/sentiment/merge.ts";
import type { Label, Sentiment } from "../../src/sentiment/outcome.ts";

const of = (label: Label, positive: number, negative: number, warnings: string[] = []): Sentiment => {
  const neutral = 1 - positive - negative;
  return { label, score: positive + neutral / 2, scores: { positive, neutral, negative }, warnings };
};
const error = { error: { code: "InvalidDocument", message: "no" } };

test("one part is the text", () => {
  const outcome = of("positive", 0.75, 0.125);
  expect(mergeParts([{ elements: 7, outcome }])).toEqual({ ...outcome, parts: 1 });
});

test("scores are weighted by length", () => {
  const merged = mergeParts([
    { elements: 300, outcome: of("positive", 0.8, 0, ["a"]) },
    { elements: 100, outcome: of("neutral", 0, 0.4, ["a", "b"]) },
  ]);
  expect(merged).toMatchObject({ label: "positive", parts: 2, warnings: ["a", "b"] });
  if ("error" in merged) throw new Error("no error is meant");
  expect(merged.scores.positive).toBeCloseTo(0.6, 12);
  expect(merged.scores.negative).toBeCloseTo(0.1, 12);
  expect(merged.scores.neutral).toBeCloseTo(0.3, 12);
  expect(merged.score).toBeCloseTo(0.75, 12);
});

test.each([
  [["positive", "neutral"], "positive"],
  [["neutral", "negative", "neutral"], "negative"],
  [["positive", "negative"], "mixed"],
  [["neutral", "mixed"], "mixed"],
  [["neutral", "neutral"], "neutral"],
] as const)("%s together are %s", (labels, whole) => {
  const parts = labels.map((label) => ({ elements: 1, outcome: of(label, 0.2, 0.2) }));
  expect(mergeParts(parts)).toMatchObject({ label: whole });
});

test("of v2 the label follows from the mean", () => {
  const merged = mergeParts([
    { elements: 9, outcome: ofScore(0.1) },
    { elements: 1, outcome: ofScore(1) },
  ]);
  expect(merged).toMatchObject({ label: "negative", scores: { positive: expect.closeTo(0.19, 12) } });
});

test("an error of one part is the text's, and says of which", () => {
  const parts = [
    { elements: 1, outcome: of("positive", 1, 0) },
    { elements: 1, outcome: error },
  ];
  expect(mergeParts(parts)).toEqual({ error: { code: "InvalidDocument", message: "part 2 of 2: no" } });
  expect(mergeParts([{ elements: 1, outcome: error }])).toEqual(error);
});
