/** Texts that wait in the store for the container, and become readings: through the whole gateway, over real HTTP. */
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../src/core/json.ts";
import { startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { startGateway } from "./api/api-gateway.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { reply, scriptedContainer, sentIn, v31, v31Answer } from "./sentiment/scripted-container.ts";
import { copyAsKilled } from "./store/stores.ts";
import { until } from "./support/until.ts";

const kiosk = {
  type: "http",
  decode: { format: "json", time: { field: "t" } },
  device: { field: "id" },
  idleMs: 600_000,
};
const mood = { type: "sentiment", from: { source: "kiosk", field: "comment" }, readings: "all" };
const t0 = Date.UTC(2026, 0, 5, 12);

async function start(folder: string, url: string, more: object = {}, sentiment: object = {}) {
  const box = await startGateway(folder, {
    sources: { kiosk, mood: { ...mood, ...more } } as never,
    sentiment: { url, api: "v3.1", timeoutMs: 2_000, ...sentiment },
    store: { maxLossMs: 200 },
  });
  const texts = async (body: object, source = "mood") => {
    const response = await fetch(`${box.url()}/sentiment?source=${source}`, {
      method: "POST",
      headers: { authorization: `Bearer ${box.token()}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, headers: response.headers, json: await response.json() };
  };
  const book = () => box.gateway.status.store.books.mood;
  const waiting = () => box.gateway.status.store.texts.mood?.texts ?? 0;
  return { ...box, texts, book, waiting };
}

interface Entry {
  readonly source: string;
  readonly device: string;
  readonly time: string;
  readonly channels: Readonly<Record<string, object>>;
}

/** Readings that wait for the hub, in order. */
function readingsIn(folder: string): Entry[] {
  const database = new Sqlite(join(folder, "store", "headgate.db"), { readonly: true });
  const bodies = database.prepare<[], string>("SELECT body FROM outbox ORDER BY entry").pluck().all();
  database.close();
  return bodies.map((body) => JSON.parse(body)).filter(({ kind }) => kind === "reading");
}

/** An address where nobody listens until the test wants it. */
async function closedContainer() {
  const container = await scriptedContainer(v31);
  await container.stop();
  return container;
}

test("what comes while the container is away is scored when it is there, also after a restart", async () => {
  const folder = temporaryFolder();
  const { url, port } = await closedContainer();
  const first = await start(folder, url);
  await first.post({ id: "k1", t: t0, visitors: 3, comment: "Nice and clean" }, {}, "?source=kiosk");
  await first.post({ id: "k2", t: t0 + 1_000, comment: "Broken" }, {}, "?source=kiosk");
  await first.post({ id: "k3", t: t0 + 2_000, visitors: 5, comment: "  " }, {}, "?source=kiosk");
  const posted = await first.texts({
    documents: [
      { id: "a", text: "Friendly", device: "desk" },
      { id: "b", text: "Slow" },
    ],
  });
  expect(posted).toMatchObject({ status: 202, json: { queued: 2 } });
  expect(first.waiting()).toBe(4);
  expect((await first.get("/metrics")).text).toContain('headgate_texts_waiting{source="mood"} 4');
  // The comment is no channel, and the reading without another value none of the kiosk's.
  expect(first.gateway.status.store.books.kiosk).toMatchObject({
    frames: 3,
    decoded: 3,
    ingested: 2,
    notes: {},
  });
  expect(first.gateway.status.sources.mood?.state).toBe("absent");
  await first.stop();

  const second = await start(folder, url);
  expect(second.waiting()).toBe(4);
  const container = await scriptedContainer(v31, port);
  await until("all are scored", () => second.waiting() === 0);
  expect(second.book()).toMatchObject({ frames: 6, decoded: 6, ingested: 4, held: 4 });
  const asked = container
    .posts()
    .flatMap(sentIn)
    .map(({ text }) => text);
  expect(asked.filter((text) => text !== "OK")).toEqual(["Nice and clean", "Broken", "Friendly", "Slow"]);
  expect(second.gateway.status.sources.mood?.state).toBe("open");
  await second.stop();
  const entries = readingsIn(folder).filter(({ source }) => source === "mood");
  expect(entries.map(({ device, time }) => [device, time])).toEqual([
    ["k1", new Date(t0).toISOString()],
    ["k2", new Date(t0 + 1_000).toISOString()],
    ["desk", expect.any(String)],
    ["texts", expect.any(String)],
  ]);
  expect(entries[0]?.channels).toMatchObject({
    positive: { value: 0.9, quality: "good" },
    neutral: { value: 0.06 },
    negative: { value: 0.04 },
    score: { value: 0.93 },
  });
});

test("killed while texts are scored, it scores the rest, and none twice", async () => {
  const folder = temporaryFolder();
  const container = await scriptedContainer(v31);
  const texts = Array.from({ length: 35 }, (_, n) => ({ id: String(n), text: `text ${n}` }));
  const first = await start(folder, container.url);
  let answers = 0;
  let copies = 0;
  container.behave((call, response) => {
    v31(call, response);
    if (call.method !== "POST" || ![2, 4].includes(++answers)) return;
    // As a kill at this moment would leave it; what is on its way to the journal is not there yet, or is.
    copyAsKilled(join(folder, "store"), join(folder, `killed-${copies++}`, "store"));
  });
  expect((await first.texts({ documents: texts })).status).toBe(202);
  await until("all are scored", () => first.waiting() === 0 && answers >= 4);
  await first.stop();
  expect(copies).toBe(2);
  for (let copy = 0; copy < copies; copy++) {
    const again = await start(join(folder, `killed-${copy}`), container.url);
    await until("the rest is scored", () => again.waiting() === 0);
    expect(again.book()).toMatchObject({ frames: 70, decoded: 70, ingested: 35, frameDiscards: {} });
    await again.stop();
    expect(readingsIn(join(folder, `killed-${copy}`))).toHaveLength(35);
  }
}, 60_000);

test("a text that the container does not score is a discard, and one that it fails at is given up alone", async () => {
  const folder = temporaryFolder();
  const container = await scriptedContainer(v31);
  const { texts, waiting, book, gateway } = await start(folder, container.url, { from: undefined });
  await until("it is ready", () => gateway.status.sentiment.state === "ready");
  container.behave((call, response) => {
    if (call.path === "/ready") return reply(response, 200, "");
    const sent = sentIn(call);
    if (sent.some(({ text }) => text === "poison")) return reply(response, 500, "");
    const { documents, ...rest } = v31Answer(call);
    const refused = sent.filter(({ text }) => text === "empty").map(({ id }) => id);
    const errors = refused.map((id) => ({ id, error: { code: "InvalidDocument", message: "no" } }));
    return reply(response, 200, {
      ...rest,
      documents: documents.filter(({ id }) => !refused.includes(id)),
      errors,
    });
  });
  const some = ["one", "empty", "poison", "two"].map((text, n) => ({ id: String(n), text }));
  expect((await texts({ documents: some })).status).toBe(202);
  await until("all have left", () => waiting() === 0, 60_000);
  expect(book()).toMatchObject({ frames: 8, decoded: 6, ingested: 2, frameDiscards: { unscored: 2 } });
}, 90_000);

test("a queue that is full refuses callers, and counts what sources bring beyond it", async () => {
  const { url } = await closedContainer();
  const { texts, waiting, book, post } = await start(temporaryFolder(), url, { maxTexts: 3 });
  const two = {
    documents: [
      { id: "a", text: "x" },
      { id: "b", text: "y" },
    ],
  };
  expect((await texts(two)).status).toBe(202);
  const full = await texts(two);
  expect(full).toMatchObject({ status: 503, json: { error: { code: "busy" } } });
  expect(full.headers.get("retry-after")).toBe("60");
  for (let n = 0; n < 3; n++) await post({ id: "k", t: t0 + n, comment: "z" }, {}, "?source=kiosk");
  expect(waiting()).toBe(3);
  expect(book()).toMatchObject({ frames: 4, decoded: 2, frameDiscards: { queueFull: 2 } });
});

test("texts go to sources of that type only, and with devices that have a name", async () => {
  const { url } = await closedContainer();
  const { texts } = await start(temporaryFolder(), url);
  expect(await texts({ text: "x" }, "kiosk")).toMatchObject({
    status: 404,
    json: { error: { code: "unknownSource" } },
  });
  expect(await texts({ text: "x" }, "nowhere")).toMatchObject({ status: 404 });
  expect(await texts({ text: "x", device: "" })).toMatchObject({
    status: 400,
    json: { error: { path: "device" } },
  });
});

test("who brings texts needs the token, also where scoring is open", async () => {
  const container = await scriptedContainer(v31);
  const box = await startGateway(temporaryFolder(), {
    sources: { mood: { type: "sentiment" } },
    sentiment: { url: container.url, api: "v3.1" },
    api: { scoring: "open" },
  });
  await until("it is ready", () => box.gateway.status.sentiment.state === "ready");
  const ask = async (query: string) => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: '{"text":"x"}' };
    return (await fetch(`${box.url()}/sentiment${query}`, init)).status;
  };
  expect([await ask(""), await ask("?source=mood")]).toEqual([200, 401]);
});

test("the twin names the container while it runs, is told of it, and takes it away", async () => {
  const container = await scriptedContainer(v31);
  const hub = await startEmbeddedHub();
  onTestFinished(() => hub.stop());
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  const box = await startGateway(
    temporaryFolder(),
    { hub: { type: "edge" }, report: { minSpacingMs: 100 } },
    environment as Record<string, string>,
  );
  const { gateway } = box;
  const reported = () => hub.getTwin("edge", "gateway").reported.sentiment as JsonObject | undefined;
  await until("the hub is connected", () => gateway.status.hub.state === "connected");
  const sections = { sentiment: { url: container.url }, sources: { mood: { type: "sentiment" } } };
  hub.updateDesired("edge", "gateway", sections);
  await until("it is told", () => reported()?.state === "ready");
  expect(reported()).toEqual({ state: "ready", api: "v3.1" });
  await container.stop();
  const asked = fetch(`${box.url()}/sentiment`, {
    method: "POST",
    headers: { authorization: `Bearer ${box.token()}`, "content-type": "application/json" },
    body: '{"text":"x"}',
  });
  expect((await asked).status).toBe(503);
  await until("the trouble is told", () => String(reported()?.reason).includes("ECONNREFUSED"));
  hub.updateDesired("edge", "gateway", { sentiment: { url: null }, sources: { mood: null } });
  await until("it is off", () => gateway.status.sentiment.state === "off");
  await until("that is told", () => reported() === undefined);
  await box.stop();
});
