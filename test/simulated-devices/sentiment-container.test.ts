/** The stand-in has the container's limits and shapes, and says that it is none. */
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type SimulatedContainer,
  startSentimentContainer,
} from "../../src/simulated-devices/sentiment-container.ts";

let container: SimulatedContainer;
beforeAll(async () => {
  container = await startSentimentContainer();
});
afterAll(() => container.stop());

async function ask(path: string, body?: unknown) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const response = await fetch(
    `${container.url}${path}`,
    body === undefined ? {} : { method: "POST", body: text },
  );
  return { status: response.status, headers: response.headers, json: await response.json() };
}
const v3 = "/text/analytics/v3.1/sentiment";
const documents = (...texts: string[]) => ({ documents: texts.map((text, n) => ({ id: String(n), text })) });

test("it is ready, and tells in each answer what it is", async () => {
  const ready = await ask("/ready");
  expect(ready).toMatchObject({ status: 200, json: { modelVersion: "headgate-stand-in" } });
  for (const path of ["/text/analytics/v2.0/sentiment", v3]) {
    const { headers, json } = await ask(path, documents("Great"));
    expect(headers.get("x-stand-in")).toContain("no container of Azure");
    expect(json).toMatchObject({ modelVersion: "headgate-stand-in" });
  }
});

test("words count, and a negation turns them", async () => {
  const { json } = await ask(v3, documents("A good day.", "Not good.", "Good. Awful.", "A chair."));
  const labels = (json as { documents: { sentiment: string }[] }).documents.map(({ sentiment }) => sentiment);
  expect(labels).toEqual(["positive", "negative", "mixed", "neutral"]);
});

test("a document that is empty or too long has an error of its own, in text elements", async () => {
  const family = "👨‍👩‍👧‍👦";
  const { json } = await ask(v3, documents("", family.repeat(5_120), family.repeat(5_121)));
  expect(json).toMatchObject({
    documents: [{ id: "1" }],
    errors: [{ id: "0" }, { id: "2", error: { innererror: { code: "InvalidDocument" } } }],
  });
});

test("what is no request is refused as the container does", async () => {
  const many = documents(...Array.from({ length: 11 }, () => "x"));
  const cases: [path: string, body: unknown, status: number, code: string][] = [
    [v3, "{", 400, "InvalidRequest"],
    [v3, {}, 400, "InvalidRequest"],
    [v3, many, 400, "InvalidDocumentBatch"],
    [
      "/language/:analyze-text?api-version=2022-05-01",
      { analysisInput: documents("x") },
      400,
      "InvalidArgument",
    ],
    ["/text/analytics/v9.9/sentiment", documents("x"), 404, "NotFound"],
    [v3, undefined, 405, "InvalidRequest"],
  ];
  for (const [path, body, status, code] of cases)
    expect(await ask(path, body)).toMatchObject({ status, json: { error: { code } } });
});
