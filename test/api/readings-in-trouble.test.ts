/** Callers and a store that has no room or does not take data. */
import { expect, test } from "vitest";
import type { ApiError } from "../../src/api/api-error.ts";
import { Readings } from "../../src/api/readings.ts";
import { checkConfig, pipelineConfig } from "../../src/config/check.ts";
import type { IntakeSettings } from "../../src/journal/intake-contract.ts";
import { running } from "../journal/running-intake.ts";
import { until } from "../support/until.ts";
import { yard } from "./api-gateway.ts";

const mood = { type: "sentiment", maxTexts: 3, maxBytes: 1_024 };

function readings(settings: Partial<IntakeSettings> = {}, commitTimeoutMs = 10_000) {
  const { clock, store, intake, frame, watch } = running(settings);
  const sentiment = { url: "http://127.0.0.1:9" };
  const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { yard, mood }, sentiment };
  const checked = checkConfig(config);
  const made = new Readings({ intake, clock, keys: [], waiting: () => ({}), commitTimeoutMs });
  made.configure(pipelineConfig(checked), checked.config.sources);
  const post = (body: string, key?: string) =>
    made.post({
      source: undefined,
      contentType: "application/x-ndjson",
      key,
      body: Buffer.from(body),
    });
  const line = (n: number) => `${JSON.stringify({ id: "d", t: clock.wall(), n })}\n`;
  return { made, post, line, clock, store, intake, frame, watch };
}
const refused = (work: Promise<unknown>): Promise<ApiError> =>
  work.then(
    () => expect.fail("it was not refused"),
    (error: ApiError) => error,
  );

/** Moves the clock on, turn by turn, until the intake has done its part. */
async function clockUntilIdle(
  clock: { advance(ms: number): Promise<void> },
  done: () => boolean,
): Promise<void> {
  await until("it is done", async () => {
    await clock.advance(50);
    return done();
  });
}

test("without room nothing is taken, not even the part that would fit, and nobody counts a gap", async () => {
  const { post, line, clock, store, intake, frame } = readings({ maxQueueBytes: 1_000 });
  store.takesMs = 1_000;
  while (frame("x".repeat(200), "port"));
  // That last one was lost by a source that cannot wait; it is the only one.
  const before = intake.status.queuedBytes;
  const error = await refused(post(line(1) + line(2)));
  expect(error).toMatchObject({ status: 503, code: "busy", headers: { "retry-after": "1" } });
  expect(intake.status.queuedBytes).toBe(before);
  await clock.advance(20_000);
  const gaps = store.entries.flatMap((entry) => (entry.type === "gap" ? [entry] : []));
  expect(gaps).toMatchObject([{ source: "port", count: 1 }]);
  const again = post(line(1) + line(2));
  await clock.advance(5_000);
  expect(await again).toEqual({ stored: 2 });
});

test("the answer waits for the commit", async () => {
  const { post, line, clock, store, watch } = readings();
  store.takesMs = 400;
  const answer = watch(post(line(1)));
  await clock.advance(300);
  expect(answer.is).toBe("waiting");
  await clock.advance(400);
  expect(answer.is).toBe("resolved");
});

test("frames and their key stand in one batch", async () => {
  const { post, line, clock, store } = readings();
  const answer = post(line(1) + line(2), "k");
  await clock.advance(100);
  await answer;
  const batch = store.seen.find(({ entries }) => entries.some(({ type }) => type === "key"));
  expect(batch?.entries.map(({ type }) => type)).toEqual(["frame", "frame", "key", "tick"]);
  expect(batch?.entries[2]).toMatchObject({ source: "yard", key: "k", readings: 2 });
});

test("a caller does not wait for ever; a repeat with the same key is safe, and waits for the same commit", async () => {
  const { post, line, clock, store, made } = readings({}, 50);
  store.alwaysFails = true;
  const body = line(1);
  expect(await refused(post(body, "k"))).toMatchObject({ status: 503, code: "storeFailing" });
  expect(await refused(post(body, "k"))).toMatchObject({ status: 503, code: "storeFailing" });
  store.alwaysFails = false;
  const [answer] = await Promise.all([post(body, "k"), clock.advance(10_000)]);
  expect(answer).toEqual({ stored: 1, repeated: true });
  expect(await post(body, "k")).toEqual({ stored: 1, repeated: true });
  const stored = new Set(store.seen.slice(-1).map(({ bytes }) => bytes));
  expect([stored.size, store.doneMs.length, made.repeats]).toEqual([1, 1, 3]);
});

test("who sent no key is not told to repeat it, and who brings texts neither", async () => {
  const { post, line, store, made } = readings({}, 50);
  store.alwaysFails = true;
  const inVain = async (work: Promise<unknown>) => (await refused(work)).message.includes("Idempotency-Key");
  expect(await inVain(post(line(1)))).toBe(false);
  expect(await inVain(made.texts.post("mood", [{ text: "x" }]))).toBe(false);
  expect(await inVain(post(line(1), "k"))).toBe(true);
});

test("texts on their way count, also behind an answer that they may be late", async () => {
  const { store, clock, made } = readings({}, 50);
  const two = [{ text: "x" }, { text: "y" }];
  store.alwaysFails = true;
  expect(await refused(made.texts.post("mood", two))).toMatchObject({ status: 503, code: "storeFailing" });
  expect(await refused(made.texts.post("mood", two))).toMatchObject({ status: 503, code: "busy" });
  store.alwaysFails = false;
  await clockUntilIdle(clock, () => store.doneMs.length > 0);
  await Promise.all([made.texts.post("mood", two), clock.advance(10_000)]);
});

test("texts that could never wait are told so, not to come back", async () => {
  const { made } = readings();
  const texts = Array.from({ length: 4 }, () => ({ text: "x" }));
  const error = await refused(made.texts.post("mood", texts));
  expect(error).toMatchObject({ status: 413, code: "tooLarge", headers: {} });
  const long = [{ text: "x".repeat(2_000) }];
  expect(await refused(made.texts.post("mood", long))).toMatchObject({ status: 413 });
});

/** Far more than is checked in one turn. */
const many = (line: (n: number) => string) => Array.from({ length: 4_000 }, (_, i) => line(i)).join("");
const big = { maxQueueBytes: 1_000_000 };

test("a large body is checked in turns: others do their work meanwhile", async () => {
  const { post, line, clock, store, intake } = readings(big);
  let turns = 0;
  const counting = () => {
    if (intake.status.queuedBytes > 0 || store.doneMs.length > 0) return;
    turns++;
    setImmediate(counting);
  };
  setImmediate(counting);
  const answered = Promise.all([post(many(line)), clockUntilIdle(clock, () => store.doneMs.length > 0)]);
  expect((await answered)[0]).toEqual({ stored: 4_000 });
  expect(turns).toBeGreaterThan(1);
});

test("of two large requests with one key that are checked at the same time, one is stored", async () => {
  const { post, line, clock, store } = readings(big);
  const body = many(line);
  const both = Promise.all([post(body, "k"), post(body, "k")]);
  const [answers] = await Promise.all([both, clockUntilIdle(clock, () => store.doneMs.length > 0)]);
  expect(answers).toEqual([{ stored: 4_000 }, { stored: 4_000, repeated: true }]);
  expect(store.frames()).toHaveLength(4_000);
});

test("a configuration that comes during the check is what counts", async () => {
  const { post, line, clock, made, intake } = readings(big);
  const refusal = refused(post(many(line)));
  const decode = { format: "json", time: { field: "other" } };
  const changed = checkConfig({
    gateway: { name: "box" },
    hub: { type: "edge" },
    sources: { yard: { ...yard, decode } },
  });
  made.configure(pipelineConfig(changed), changed.config.sources);
  expect(await refusal).toMatchObject({ status: 400, code: "noTime" });
  await clock.advance(100);
  expect(intake.status.queuedBytes).toBe(0);
});

test("a clock that is set back during the check is what counts: nothing taken is from the future", async () => {
  const { post, line, clock, intake } = readings(big);
  const ahead = `${JSON.stringify({ id: "d", t: clock.wall() + 60_000, n: 1 })}\n`;
  const refusal = refused(post(ahead + many(line)));
  clock.stepWall(-1_000);
  expect(await refusal).toMatchObject({ status: 400, code: "future", path: "line 1" });
  expect(intake.status.queuedBytes).toBe(0);
});

test("when the gateway stops, nothing is taken, and who waits still gets the commit", async () => {
  const { post, line, clock, store, intake, made, watch } = readings();
  store.takesMs = 400;
  const waiting = watch(post(line(1)));
  await clock.advance(0);
  expect(intake.status.queuedBytes).toBeGreaterThan(0);
  made.stop();
  expect(await refused(post(line(2)))).toMatchObject({ status: 503, code: "stopping" });
  await clock.advance(500);
  expect(waiting.is).toBe("resolved");
});
