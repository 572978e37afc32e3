/** `POST /sentiment` of a whole gateway, against the stand-in and against containers in trouble. */
import { expect, onTestFinished, test } from "vitest";
import { startSentimentContainer } from "../../src/simulated-devices/sentiment-container.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { reply, scriptedContainer, v31 } from "../sentiment/scripted-container.ts";
import { until } from "../support/until.ts";
import { startGateway } from "./api-gateway.ts";

/** What of all answers a test reads. */
interface Told {
  readonly documents: readonly object[];
  readonly errors: readonly object[];
  readonly modelVersion: string;
  readonly error: object;
}

async function sentimentGateway(url: string, sections: Record<string, object> = {}) {
  const box = await startGateway(temporaryFolder(), {
    sentiment: { url, timeoutMs: 500 },
    ...(sections as Record<string, never>),
  });
  const send = async (body: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(`${box.url()}/sentiment`, {
      method: "POST",
      headers: { authorization: `Bearer ${box.token()}`, "content-type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
    });
    const json = (await response.json()) as Told;
    return { status: response.status, headers: response.headers, json };
  };
  const ready = () => until("the container is found", () => box.gateway.status.sentiment.state === "ready");
  return { ...box, send, ready };
}

async function withStandIn(sections?: Record<string, object>) {
  const container = await startSentimentContainer();
  onTestFinished(() => container.stop());
  const box = await sentimentGateway(container.url, sections);
  await box.ready();
  return box;
}

test("one text, or many with ids, come back with labels and scores, and each error with its text's id", async () => {
  const { send, get, gateway } = await withStandIn();
  expect(await send({ text: "The staff is friendly, thanks!" })).toMatchObject({
    status: 200,
    json: { label: "positive", score: 0.97, scores: { positive: 0.96 }, api: "analyzeText" },
  });
  const documents = [
    { id: "a", text: "Awful. Broken." },
    { id: "b", text: " " },
    ...Array.from({ length: 20 }, (_, n) => ({ id: `more-${n}`, text: "A chair." })),
  ];
  const { status, json } = await send({ documents });
  expect(status).toBe(200);
  expect(json.documents).toHaveLength(21);
  expect(json.documents[0]).toMatchObject({ id: "a", label: "negative" });
  expect(json.errors).toEqual([{ id: "b", code: "InvalidDocument", message: "Document text is empty." }]);
  expect(json.modelVersion).toBe("headgate-stand-in");
  const { text } = await get("/metrics");
  expect(text).toContain("headgate_sentiment_ready 1");
  expect(text).toContain('headgate_sentiment_texts_total{outcome="scored"} 22');
  expect(gateway.status.sentiment).toMatchObject({ state: "ready", counts: { unscored: 1 } });
});

test("one text that the container does not score is 422", async () => {
  const { send } = await withStandIn();
  const { status, json } = await send({ text: "" });
  expect({ status, ...json.error }).toMatchObject({
    status: 422,
    code: "unscored",
    message: expect.stringMatching(/empty.*InvalidDocument/),
  });
});

const wrong: readonly (readonly [body: unknown, status: number, code: string, path: string | undefined])[] = [
  ["{", 400, "malformed", undefined],
  ["", 400, "malformed", undefined],
  ["null", 400, "malformed", "text"],
  ["[]", 400, "malformed", "text"],
  [{}, 400, "malformed", "text"],
  [{ text: 5 }, 400, "malformed", "text"],
  [{ text: "x", language: "en&x=1" }, 400, "malformed", "language"],
  [{ documents: {} }, 400, "malformed", "documents"],
  [{ documents: [] }, 400, "noData", undefined],
  [{ documents: [null] }, 400, "malformed", "documents[0]"],
  [{ documents: [{ id: "1" }] }, 400, "malformed", "documents[0].text"],
  [{ documents: [{ text: "x" }] }, 400, "malformed", "documents[0].id"],
  [
    {
      documents: [
        { id: "1", text: "x" },
        { id: "1", text: "y" },
      ],
    },
    400,
    "malformed",
    "documents[1].id",
  ],
  [
    { documents: Array.from({ length: 1_001 }, (_, n) => ({ id: `${n}`, text: "" })) },
    400,
    "malformed",
    "documents",
  ],
  [{ text: "x".repeat(50_000) }, 413, "tooLarge", undefined],
];

test("what is no request is refused, with the path of what is wrong", async () => {
  const { send } = await withStandIn({ api: { maxScoringBytes: 40_000 } });
  for (const [body, status, code, path] of wrong) {
    const error = { code, ...(path === undefined ? {} : { path }) };
    expect(await send(body)).toMatchObject({ status, json: { error } });
  }
});

test("it takes the token, POST and JSON only", async () => {
  const { send, get } = await withStandIn();
  expect((await send({ text: "x" }, { authorization: "Bearer no" })).status).toBe(401);
  expect((await send({ text: "x" }, { "content-type": "text/plain" })).status).toBe(415);
  expect((await get("/sentiment")).status).toBe(405);
});

test("without a container configured it is 404, which says what to configure", async () => {
  const box = await startGateway(temporaryFolder());
  const response = await fetch(`${box.url()}/sentiment`, {
    method: "POST",
    headers: { authorization: `Bearer ${box.token()}`, "content-type": "application/json" },
    body: '{"text":"x"}',
  });
  expect(response.status).toBe(404);
  expect(await response.json()).toMatchObject({
    error: { code: "notConfigured", message: expect.stringContaining("sentiment.url") },
  });
  expect((await box.get("/metrics")).text).not.toContain("sentiment");
});

test("a container that is away, busy or wrong is 503 with Retry-After or 502, and the gateway goes on", async () => {
  const container = await scriptedContainer(v31);
  const { send, ready, gateway, post, ingested } = await sentimentGateway(container.url);
  await ready();
  container.behave((_, response) => reply(response, 200, { error: { message: "model gone" } }));
  expect(await send({ text: "x" })).toMatchObject({ status: 502, json: { error: { code: "badAnswer" } } });
  container.behave((_, response) => reply(response, 429, "", { "retry-after": "7" }));
  const busy = await send({ text: "x" });
  expect([busy.status, busy.headers.get("retry-after")]).toEqual([503, "7"]);
  await container.stop();
  await until("the breaker is open", () => gateway.status.sentiment.state === "failed");
  const away = await send({ text: "x" });
  expect(away).toMatchObject({ status: 503, json: { error: { code: "notReady" } } });
  expect(Number(away.headers.get("retry-after"))).toBeGreaterThan(0);
  await post({ id: "d", t: Date.now(), temperature: 3 });
  expect(ingested()).toBe(1);
});
