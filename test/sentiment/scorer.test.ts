/** The client against real HTTP servers: a stand-in of all versions, and containers in any kind of trouble. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { configSchema } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import { apis } from "../../src/sentiment/apis.ts";
import type { Document } from "../../src/sentiment/batches.ts";
import { isError } from "../../src/sentiment/outcome.ts";
import { Scorer } from "../../src/sentiment/scorer.ts";
import { startSentimentContainer } from "../../src/simulated-devices/sentiment-container.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { type Behaviour, reply, scriptedContainer, sentIn, v31, v31Answer } from "./scripted-container.ts";

const hub = { type: "mqtt", url: "mqtt://127.0.0.1:9" };
const configOf = (sentiment: object) =>
  configSchema.parse({ gateway: { name: "box" }, hub, sentiment }).sentiment;
const never = new AbortController().signal;

function runningScorer(sentiment: object, environment: NodeJS.ProcessEnv = {}) {
  const log = recordingLog();
  const scorer = new Scorer(environment, systemClock, log);
  onTestFinished(() => scorer.stop());
  scorer.configure(configOf(sentiment));
  const score = (...texts: string[]) =>
    scorer.score(
      texts.map((text) => ({ text })),
      never,
    );
  return {
    scorer,
    log,
    score,
    ready: () => until("the container is found", () => scorer.status.state === "ready"),
  };
}

test.each(apis)("%s is spoken with the stand-in, which says that it is one", async (api) => {
  const container = await startSentimentContainer();
  onTestFinished(() => container.stop());
  const { scorer, ready, score } = runningScorer({ url: container.url, api });
  await ready();
  const scored = await score("A great day. ".repeat(900), "It is broken and dirty!", "", "There is a chair.");
  if ("refusal" in scored) throw new Error(scored.message);
  expect(scored).toMatchObject({ api, modelVersion: "headgate-stand-in" });
  const labels = scored.outcomes.map((outcome) => (isError(outcome) ? outcome.error.message : outcome.label));
  expect(labels).toEqual(["positive", "negative", "Document text is empty.", "neutral"]);
  // 11,700 characters, of which a document may hold 5,120.
  expect(scored.outcomes[0]).toMatchObject({ parts: 3 });
  expect(scorer.status).toMatchObject({ api, counts: { scored: 3, unscored: 1, failed: 0 } });
});

test("what it speaks is found by asking, the newest first, and asked for no more", async () => {
  const container = await scriptedContainer(v31);
  const { scorer, ready, score } = runningScorer({ url: `${container.url}/` });
  await ready();
  expect(container.calls.map(({ path }) => path)).toEqual([
    "/ready",
    "/language/:analyze-text?api-version=2022-05-01",
    "/text/analytics/v3.1/sentiment",
  ]);
  await score("one");
  expect(container.calls.at(-1)?.path).toBe("/text/analytics/v3.1/sentiment");
  expect(container.calls).toHaveLength(4);
  expect(scorer.status).toMatchObject({ api: "v3.1", modelVersion: "2022-06-01" });
});

test("more than ten texts are several requests, and the outcomes keep their order", async () => {
  const container = await scriptedContainer((call, response) => {
    if (call.path === "/ready") return reply(response, 200, "");
    const sent = sentIn(call);
    // Turned around: only the id says which is meant.
    const documents = sent.map(({ id, text }) => ({ id, score: Number(text) / 100 || 0 })).reverse();
    return reply(response, 200, { documents, errors: [] });
  });
  const { ready, score } = runningScorer({ url: container.url, api: "v2.1" });
  await ready();
  const scored = await score(...Array.from({ length: 25 }, (_, n) => String(n)));
  if ("refusal" in scored) throw new Error(scored.message);
  const found = scored.outcomes.map((outcome) => (isError(outcome) ? "" : outcome.score));
  expect(found).toEqual(Array.from({ length: 25 }, (_, n) => n / 100));
  expect(
    container
      .posts()
      .slice(1)
      .map((call) => sentIn(call).length),
  ).toEqual([10, 10, 5]);
});

test("the key of the cloud goes along, and the container's requests have none", async () => {
  const file = join(temporaryFolder(), "key");
  writeFileSync(file, "hush\n");
  const container = await scriptedContainer(v31);
  const withKey = runningScorer({ url: container.url, api: "v3.1", key: { file } });
  await withKey.ready();
  expect(container.posts().map(({ headers }) => headers["ocp-apim-subscription-key"])).toEqual(["hush"]);
  const without = runningScorer({ url: container.url, api: "v3.1" });
  await without.ready();
  expect(container.posts().at(-1)?.headers).not.toHaveProperty("ocp-apim-subscription-key");
});

test("a key that cannot be read is a state with its path", async () => {
  const container = await scriptedContainer(v31);
  const { scorer } = runningScorer({ url: container.url, key: { env: "NO_SUCH_KEY" } });
  await until("it failed", () => scorer.status.state === "failed");
  expect(scorer.status.reason).toContain("sentiment.key");
  expect(container.calls).toEqual([]);
});

test("a container that comes later is found, and one that is not ready yet is waited for", async () => {
  const before = await scriptedContainer((_, response) => reply(response, 503, "loading"));
  const { scorer, score, ready } = runningScorer({ url: before.url });
  await until("it failed", () => scorer.status.state === "failed");
  expect(scorer.status.reason).toContain("/ready answers 503");
  expect(await score("x")).toMatchObject({ refusal: "notReady" });
  expect(before.posts()).toEqual([]);
  await before.stop();
  await until("nobody is there", () => scorer.status.reason?.includes("ECONNREFUSED") === true);
  await scriptedContainer(v31, before.port);
  await ready();
  expect(await score("x")).toMatchObject({ api: "v3.1" });
});

const troubles: readonly (readonly [name: string, behaviour: Behaviour, reason: RegExp, refusal: string])[] =
  [
    [
      "an error with 200",
      (_, r) => reply(r, 200, { error: { message: "model gone" } }),
      /model gone/,
      "badAnswer",
    ],
    ["200 without documents", (_, r) => reply(r, 200, {}), /no documents/, "badAnswer"],
    ["HTML", (_, r) => reply(r, 200, "<html>"), /not JSON/, "badAnswer"],
    [
      "a document less",
      (c, r) => reply(r, 200, { ...v31Answer(c), documents: [] }),
      /lacks a document/,
      "badAnswer",
    ],
    [
      "a document twice",
      (c, r) => {
        const { documents, ...rest } = v31Answer(c);
        reply(r, 200, { ...rest, documents: [...documents, ...documents] });
      },
      /twice/,
      "badAnswer",
    ],
    ["500", (_, r) => reply(r, 500, { error: { message: "oh" } }), /answers 500: oh/, "notReady"],
    [
      "a body that is cut",
      (_, r) => {
        r.writeHead(200, { "content-length": 1_000 });
        r.write("{");
        setImmediate(() => r.destroy());
      },
      /aborted|hang up|reset/,
      "notReady",
    ],
    ["a connection that is reset", (_, r) => r.destroy(), /hang up|reset/, "notReady"],
    [
      "a body without end",
      (_, r) => {
        r.writeHead(200);
        const pour = () => {
          while (!r.destroyed && r.write(Buffer.alloc(1_048_576, " ")));
          if (!r.destroyed) r.once("drain", pour);
        };
        pour();
      },
      /more than 6\d{4} bytes/,
      "badAnswer",
    ],
    ["silence", () => undefined, /no answer within 300 ms/, "notReady"],
  ];

test.each(troubles)(
  "%s is told, opens the breaker, and is got over",
  async (name, behaviour, reason, refusal) => {
    const container = await scriptedContainer(v31);
    const { scorer, score, ready } = runningScorer({
      url: container.url,
      api: "v3.1",
      timeoutMs: name === "silence" ? 300 : 20_000,
    });
    await ready();
    container.behave((call, response) =>
      call.path === "/ready" ? reply(response, 200, "") : behaviour(call, response),
    );
    const first = await score("x");
    expect(first).toMatchObject({ refusal, message: expect.stringMatching(reason) });
    // What may be a matter of one text opens it in the third row, the rest at once.
    for (let more = 0; more < 2 && scorer.status.state === "ready"; more++) await score("x");
    await until("the breaker is open", () => scorer.status.state === "failed");
    expect(scorer.status.reason).toMatch(reason);
    expect(await score("x")).toMatchObject({ refusal: "notReady" });
    container.behave(v31);
    await ready();
    expect(await score("x")).toMatchObject({ api: "v3.1" });
  },
);

test("of an error's page no more is read than says what it is", async () => {
  const container = await scriptedContainer(v31);
  const { score, ready } = runningScorer({ url: container.url, api: "v3.1" });
  await ready();
  let sent = 0;
  container.behave((_, response) => {
    response.writeHead(503, { "retry-after": "9" });
    const pour = () => {
      for (let more = true; more && !response.destroyed; sent += 65_536)
        more = response.write(Buffer.alloc(65_536, " "));
      if (!response.destroyed) response.once("drain", pour);
    };
    pour();
  });
  const told = { refusal: "notReady", message: "it answers 503", retryAfterMs: 9_000 };
  expect(await score("x")).toMatchObject(told);
  // The rest is what the kernel holds between the two.
  expect(sent).toBeLessThan(16_000_000);
});

test("a text of nothing but short sentences has a long answer, which is read", async () => {
  const container = await scriptedContainer(v31);
  const { score, ready } = runningScorer({ url: container.url, api: "v3.1" });
  await ready();
  const text = "A. ".repeat(1_700);
  container.behave((call, response) => {
    const { documents, ...rest } = v31Answer(call);
    const scores = { positive: 0.01, neutral: 0.98, negative: 0.01 };
    const sentences = Array.from({ length: 1_700 }, (_, n) => ({
      sentiment: "neutral",
      confidenceScores: scores,
      offset: 3 * n,
      length: 2,
      text: "A.",
    }));
    reply(response, 200, { ...rest, documents: documents.map((found) => ({ ...found, sentences })) });
  });
  expect(await score(text)).toMatchObject({ api: "v3.1" });
  expect(await score(...Array.from({ length: 10 }, () => text))).toMatchObject({ api: "v3.1" });
});

test("one answer between failures keeps the breaker closed", async () => {
  const container = await scriptedContainer(v31);
  const { scorer, score, ready } = runningScorer({ url: container.url, api: "v3.1" });
  await ready();
  for (let round = 0; round < 3; round++) {
    container.behave((_, response) => reply(response, 500, ""));
    await score("x");
    await score("x");
    container.behave(v31);
    expect(await score("x")).toMatchObject({ api: "v3.1" });
  }
  expect(scorer.status.state).toBe("ready");
});

test("429 with Retry-After is obeyed: nobody asks before, and callers are told how long", async () => {
  const container = await scriptedContainer(v31);
  const { scorer, score, ready } = runningScorer({ url: container.url, api: "v3.1" });
  await ready();
  container.behave((_, response) => reply(response, 429, "", { "retry-after": "30" }));
  expect(await score("x")).toMatchObject({ refusal: "notReady", retryAfterMs: 30_000 });
  await until("the breaker is open", () => scorer.status.state === "failed");
  const { nextLookMs = 0 } = scorer.status;
  expect(nextLookMs).toBeGreaterThan(10_000);
  expect(nextLookMs).toBeLessThanOrEqual(30_000);
  const asked = container.calls.length;
  expect(await score("x")).toMatchObject({ refusal: "notReady", message: expect.stringContaining("429") });
  expect(container.calls).toHaveLength(asked);
});

test("Retry-After as a date is measured by the sender's own clock", async () => {
  const container = await scriptedContainer(v31);
  const { score, ready } = runningScorer({ url: container.url, api: "v3.1" });
  await ready();
  const headers = { date: "Sat, 01 Jan 2000 00:00:00 GMT", "retry-after": "Sat, 01 Jan 2000 00:00:20 GMT" };
  container.behave((_, response) => reply(response, 503, "", headers));
  expect(await score("x")).toMatchObject({ retryAfterMs: 20_000 });
});

test("what speaks none of the APIs is told with what it said to each", async () => {
  const container = await scriptedContainer((_, response) => reply(response, 200, "<html>It works!</html>"));
  const { scorer } = runningScorer({ url: container.url });
  await until("it failed", () => scorer.status.state === "failed");
  expect(scorer.status.reason).toMatch(/none of the APIs; analyzeText: .*not JSON; .*v2\.0: /);
});

test("a key that is refused ends the asking", async () => {
  const container = await scriptedContainer((call, response) =>
    reply(response, call.path === "/ready" ? 404 : 401, { error: { code: "401", message: "Access denied" } }),
  );
  const { scorer } = runningScorer({ url: container.url });
  await until("it failed", () => scorer.status.state === "failed");
  expect(scorer.status.reason).toBe("it answers 401: Access denied");
});

test("an upgrade of the container is found by itself", async () => {
  const container = await scriptedContainer(v31);
  const { scorer, score, ready } = runningScorer({ url: container.url });
  await ready();
  container.behave((call, response) => {
    if (call.path.startsWith("/ready")) return reply(response, 200, "");
    if (!call.path.startsWith("/language")) return reply(response, 404, "");
    return reply(response, 200, { kind: "SentimentAnalysisResults", results: v31Answer(call) });
  });
  expect(await score("x")).toMatchObject({ refusal: "notReady" });
  await until("it is found", () => scorer.status.api === "analyzeText");
  expect(await score("x")).toMatchObject({ api: "analyzeText" });
});

test("more callers than may wait are refused, and a caller who leaves is forgotten", async () => {
  const container = await scriptedContainer(v31);
  const { scorer, ready } = runningScorer({ url: container.url, api: "v3.1", maxCalls: 2 });
  await ready();
  container.behave(() => undefined);
  const leave = new AbortController();
  const texts: Document[] = [{ text: "x" }];
  const waiting = [scorer.score(texts, leave.signal), scorer.score(texts, leave.signal)];
  await until("both wait", () => scorer.status.inside === 2);
  expect(await scorer.score(texts, never)).toMatchObject({ refusal: "busy" });
  leave.abort();
  for (const outcome of await Promise.all(waiting)) expect(outcome).toMatchObject({ refusal: "cancelled" });
  expect(scorer.status).toMatchObject({ state: "ready", inside: 0, counts: { cancelled: 2, refused: 1 } });
});

test("another configuration takes effect while it runs, and off asks nobody", async () => {
  const first = await scriptedContainer(v31);
  const second = await scriptedContainer(v31);
  const { scorer, score, ready } = runningScorer({ url: first.url, language: "de" });
  await ready();
  expect(sentIn((first.posts().at(-1) ?? { body: "{}" }) as never)).toBeDefined();
  scorer.configure(configOf({ url: second.url, language: "fr" }));
  await ready();
  await score("x");
  expect(sentIn(second.posts().at(-1) as never)[0]?.language).toBe("fr");
  scorer.configure(configOf({ url: second.url, state: "off" }));
  expect(scorer.status.state).toBe("off");
  const asked = second.calls.length;
  expect(await score("x")).toMatchObject({ refusal: "notConfigured" });
  expect(second.calls).toHaveLength(asked);
});

test("a stop refuses who comes, ends who waits at the deadline, and asks nobody again", async () => {
  const container = await scriptedContainer(v31);
  const { scorer, score, ready } = runningScorer({ url: container.url, api: "v3.1" });
  await ready();
  container.behave(() => undefined);
  const waiting = score("x");
  await until("it waits", () => scorer.status.inside === 1);
  const deadline = new AbortController();
  scorer.refuseAll(deadline.signal);
  expect(await score("x")).toMatchObject({ refusal: "stopping" });
  deadline.abort();
  expect(await waiting).toMatchObject({ refusal: "stopping" });
  await scorer.stop();
  expect(scorer.status.state).toBe("stopped");
});
