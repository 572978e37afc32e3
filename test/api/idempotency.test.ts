/** Repeats of requests with an idempotency key: while the first is under way, afterwards, and after a restart. */
import { beforeEach, describe, expect, test } from "vitest";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { reading, startGateway, yard } from "./api-gateway.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});
const key = { "idempotency-key": "shift-7/0001" };

test("a repeat is answered with 200 and stores nothing again", async () => {
  const { post, ingested, gateway } = await startGateway(folder);
  const body = JSON.stringify([reading(), reading()]);
  expect((await post(body, key)).json).toEqual({ stored: 2 });
  expect(await post(body, key)).toMatchObject({ status: 200, json: { stored: 2, repeated: true } });
  expect(ingested()).toBe(2);
  expect(gateway.status.api.repeats).toBe(1);
});

test("a repeat that comes while the first is under way waits for the same commit", async () => {
  const { post, ingested } = await startGateway(folder, { store: { minCommitMs: 500 } });
  const body = JSON.stringify(reading());
  const answers = await Promise.all([post(body, key), post(body, key), post(body, key)]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(answers.filter(({ json }) => json?.repeated === true)).toHaveLength(2);
  expect(ingested()).toBe(1);
});

test("another body under the same key is refused with 422 and not taken, also while the first is under way", async () => {
  const { post, ingested } = await startGateway(folder, { store: { minCommitMs: 300 } });
  const answers = await Promise.all([
    post(reading({ temperature: 1 }), key),
    post(reading({ temperature: 2 }), key),
  ]);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 422]);
  expect(await post(reading({ temperature: 3 }), key)).toMatchObject({
    status: 422,
    json: { error: { code: "keyReused" } },
  });
  expect(ingested()).toBe(1);
});

test("keys are remembered per source", async () => {
  const { post, ingested } = await startGateway(folder, { sources: { yard, roof: yard } });
  const body = JSON.stringify(reading());
  expect((await post(body, key, "?source=yard")).json).toEqual({ stored: 1 });
  expect((await post(body, key, "?source=roof")).json).toEqual({ stored: 1 });
  expect([ingested("yard"), ingested("roof")]).toEqual([1, 1]);
});

test("a request that was refused leaves no key behind", async () => {
  const { post } = await startGateway(folder);
  expect(await post("{torn", key)).toMatchObject({ status: 400 });
  expect((await post(reading(), key)).json).toEqual({ stored: 1 });
});

describe("after a restart", () => {
  test.each([
    ["from a snapshot", { snapshotEvery: 10 }],
    ["from the journal behind it", {}],
  ])("a repeat is known, %s", async (_, store) => {
    const first = await startGateway(folder, { store });
    const body = JSON.stringify(reading());
    await first.post(body, key);
    for (let i = 0; i < 12; i++) await first.post(reading(), { "idempotency-key": `other-${i}` });
    await first.stop();
    const { post, ingested } = await startGateway(folder, { store });
    expect((await post(body, key)).json).toEqual({ stored: 1, repeated: true });
    expect(await post(reading(), { "idempotency-key": "other-11" })).toMatchObject({ status: 422 });
    expect(ingested()).toBe(13);
  });
});

test.each([
  ["is empty", ""],
  ["is too long", "x".repeat(129)],
  ["holds a space", "a b"],
  ["holds what is no ASCII", "schlüssel"],
])("a key that %s is refused", async (_, bad) => {
  const { post, ingested } = await startGateway(folder);
  const answer = await post(reading(), { "idempotency-key": bad });
  expect(answer).toMatchObject({ status: 400, json: { error: { code: "badKey" } } });
  expect((await post(reading(), { "idempotency-key": `~${"x".repeat(126)}!` })).status).toBe(200);
  await until("the good one is in", () => ingested() === 1);
});
