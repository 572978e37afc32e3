/** Answers as the swaggers of Azure/azure-rest-api-specs have them, and what is none. */
import { expect, test } from "vitest";
import { type Api, bodyOf, pathOf, readAnswer, reasonOf } from "../../src/sentiment/apis.ts";

const read = (api: Api, answer: unknown, ids = ["1", "2"]) =>
  readAnswer(api, typeof answer === "string" ? answer : JSON.stringify(answer), ids);
const outcomes = (api: Api, answer: unknown, ids?: string[]) => {
  const found = read(api, answer, ids);
  return "fault" in found ? found : Object.fromEntries(found.outcomes);
};

test("requests go where each version has them, in its shape", () => {
  const documents = [{ id: "1", language: "en", text: "Hello" }];
  expect(pathOf("v2.0")).toBe("/text/analytics/v2.0/sentiment");
  expect(pathOf("v3.1")).toBe("/text/analytics/v3.1/sentiment");
  expect(JSON.parse(bodyOf("v3.0", documents))).toEqual({ documents });
  expect(pathOf("analyzeText")).toBe("/language/:analyze-text?api-version=2022-05-01");
  expect(JSON.parse(bodyOf("analyzeText", documents))).toEqual({
    kind: "SentimentAnalysis",
    parameters: { modelVersion: "latest" },
    analysisInput: { documents },
  });
});

test("v2 tells one number, which is the label's by 0.3 and 0.7", () => {
  const scores = [0, 0.2999, 0.3, 0.7, 0.7001, 1];
  const documents = scores.map((score, n) => ({ id: String(n), score }));
  const found = outcomes(
    "v2.1",
    { documents, errors: [] },
    scores.map((_, n) => String(n)),
  );
  const labels = ["negative", "negative", "neutral", "neutral", "positive", "positive"];
  expect(Object.values(found)).toEqual(
    scores.map((score, n) => ({ label: labels[n], score, scores: { positive: score }, warnings: [] })),
  );
});

test("v2 tells an error of a document by its message", () => {
  const answer = {
    documents: [{ id: "1", score: 0.5 }],
    errors: [{ id: "2", message: "A document cannot be empty" }],
  };
  expect(outcomes("v2.0", answer)).toMatchObject({
    "1": { label: "neutral" },
    "2": { error: { code: "unscored", message: "A document cannot be empty" } },
  });
});

const confidenceScores = { positive: 0.2, neutral: 0.3, negative: 0.5 };
const v3 = {
  documents: [
    {
      id: "1",
      sentiment: "mixed",
      confidenceScores,
      sentences: [{ sentiment: "negative", confidenceScores, offset: 0, length: 6 }],
      warnings: [{ code: "LongWordsInDocument", message: "…" }],
    },
  ],
  errors: [
    {
      id: "2",
      error: {
        code: "InvalidArgument",
        message: "Invalid document in request.",
        innererror: { code: "InvalidDocument", message: "Document text is empty." },
      },
    },
  ],
  modelVersion: "2020-04-01",
};
const v3Outcomes = {
  "1": { label: "mixed", score: 0.35, scores: confidenceScores, warnings: ["LongWordsInDocument"] },
  "2": { error: { code: "InvalidDocument", message: "Document text is empty." } },
};

test("v3 tells three numbers, and its errors by their innermost code", () => {
  for (const api of ["v3.0", "v3.1"] as const) {
    expect(outcomes(api, v3)).toEqual(v3Outcomes);
    expect(read(api, v3)).toMatchObject({ modelVersion: "2020-04-01" });
  }
});

test(":analyze-text has the same under results", () => {
  expect(outcomes("analyzeText", { kind: "SentimentAnalysisResults", results: v3 })).toEqual(v3Outcomes);
  expect(outcomes("analyzeText", v3)).toEqual({ fault: "the answer has no documents" });
});

const document = v3.documents[0];
test.each([
  [
    "an error with 200",
    { error: { code: "InternalServerError", message: "the model is gone" } },
    "an error: the model is gone",
  ],
  ["an error that is a text", { error: "no", ...v3 }, "an error: no"],
  ["no documents", { errors: [], modelVersion: "1" }, "no documents"],
  ["documents that are no array", { documents: {} }, "no documents"],
  ["errors that are no array", { ...v3, errors: {} }, "errors are no array"],
  ["HTML", "<html><body>It works!</body></html>", "not JSON"],
  ["a cut body", JSON.stringify(v3).slice(0, 90), "not JSON"],
  ["nothing", "", "not JSON"],
  ["null", "null", "no object"],
  ["an array", "[]", "no object"],
  ["a document less", { ...v3, errors: [] }, "lacks a document"],
  ["a document twice", { ...v3, documents: [document, document] }, "a document twice"],
  [
    "a document that is an error, too",
    { ...v3, errors: [{ id: "1", error: {} }, ...v3.errors] },
    "a document twice",
  ],
  ["a document of a stranger", { ...v3, documents: [document, { ...document, id: "7" }] }, "was not sent"],
  ["a document of no id", { ...v3, documents: [{ ...document, id: 1 }] }, "was not sent"],
  ["a document that is null", { ...v3, documents: [null] }, "was not sent"],
  [
    "a label of another language",
    { ...v3, documents: [{ ...document, sentiment: "heureux" }] },
    "sentiment that is known",
  ],
  [
    "no scores",
    { ...v3, documents: [{ ...document, confidenceScores: undefined }] },
    "without confidenceScores",
  ],
  [
    "a score beyond 1",
    { ...v3, documents: [{ ...document, confidenceScores: { ...confidenceScores, positive: 1.1 } }] },
    "from 0 to 1",
  ],
  [
    "a score that is a text",
    { ...v3, documents: [{ ...document, confidenceScores: { ...confidenceScores, neutral: "0" } }] },
    "from 0 to 1",
  ],
])("%s is no answer", (_, answer, fault) => {
  expect(read("v3.1", answer)).toEqual({ fault: expect.stringContaining(fault) });
});

test.each([[-0.1], [1.01], ["0.5"], [null], [undefined]])("%s is no score of v2", (score) => {
  const answer = { documents: [{ id: "1", score }], errors: [] };
  expect(read("v2.0", answer, ["1"])).toEqual({ fault: expect.stringContaining("score from 0 to 1") });
});

test("an answer of any depth is read, or told to be none", () => {
  const depth = 50_000;
  const array = "[".repeat(depth) + "]".repeat(depth);
  const errors = `${'{"code":"A","message":"b","innererror":'.repeat(depth)}{}${"}".repeat(depth)}`;
  const warned = JSON.stringify({
    ...v3,
    documents: [{ ...document, warnings: [{ code: "X" }] }],
    errors: [],
  });
  expect(read("v3.1", `{"error":${array}}`)).toEqual({ fault: "the answer is an error: an array" });
  expect(read("v3.1", `{"error":${errors}}`)).toEqual({ fault: "the answer is an error: b" });
  expect(outcomes("v3.1", `{"documents":[],"errors":[{"id":"1","error":${errors}}]}`, ["1"])).toEqual({
    "1": { error: { code: "A", message: "b" } },
  });
  expect(outcomes("v3.1", warned.replace('"X"', `${array}`), ["1"])).toMatchObject({ "1": { warnings: [] } });
  expect(reasonOf(`{"error":${array}}`)).toBe("an array");
});

test("an answer of another status says why, in the words of either version, as far as it does", () => {
  expect(reasonOf('{"error":{"code":"401","message":"Access denied"}}')).toBe("Access denied");
  expect(
    reasonOf('{"code":"BadRequest","message":"no","innerError":{"code":"EmptyRequest","message":"empty"}}'),
  ).toBe("empty");
  expect(reasonOf('{"error":"quota"}')).toBe("quota");
  for (const text of ["<html>", "", "{}", "[1]", "null"]) expect(reasonOf(text)).toBeUndefined();
  expect(reasonOf(JSON.stringify({ message: "x".repeat(9_000) }))).toHaveLength(300);
});
