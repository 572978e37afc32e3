/** The whole gateway with models over its own readings: results, alarms, and models that do not fit. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { meanSquareDistance, twoInputs, weightedSum } from "../bench/onnx/small-models.ts";
import { systemClock } from "../src/core/clock.ts";
import type { JsonObject } from "../src/core/json.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import { messageBody } from "../src/outbox/entry-schema.ts";
import { recordingLog } from "./core/recording-log.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { modelFile } from "./infer/running-model.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let gateway: Gateway;
const fatal: unknown[] = [];
/** Where times of readings begin: the begin of a window, and a while ago. */
const t0 = Math.floor(Date.now() / 60_000) * 60_000 - 3_600_000;

beforeEach(async () => {
  folder = temporaryFolder();
  hub = await startEmbeddedHub();
});
afterEach(async () => {
  const books = await gateway.audit();
  const deadline = AbortSignal.timeout(8_000);
  await gateway.stop(deadline);
  await hub.stop();
  expect([fatal, deadline.aborted, imbalances(books)]).toEqual([[], false, []]);
});

const yard = {
  type: "http",
  decode: { format: "json", time: { field: "t" } },
  device: { field: "id" },
  idleMs: 600_000,
};

async function start(sections: JsonObject): Promise<void> {
  const configFile = join(folder, "headgate.json");
  const config = {
    gateway: { name: "box" },
    windows: { minute: { sizeMs: 60_000, sources: ["yard"] } },
    publish: { maxDelayMs: 0 },
    report: { minSpacingMs: 100 },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), minCommitMs: 0, maxLossMs: 50 },
    api: { port: 0 },
    hub: { type: "edge" },
    ...sections,
  };
  writeFileSync(configFile, JSON.stringify(config));
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  const onFatal = (error: unknown) => fatal.push(error);
  const log = recordingLog();
  gateway = await Gateway.start({ configFile, environment, clock: systemClock, log, onFatal });
  await until("the hub is connected", () => gateway.status.hub.state === "connected");
}

/** Readings, by seconds behind `t0`. */
async function send(...readings: [seconds: number, fields: JsonObject][]): Promise<void> {
  const token = readFileSync(join(folder, "store", "api-token"), "utf8").trim();
  const body = readings
    .map(([seconds, fields]) => `${JSON.stringify({ id: "press", t: t0 + seconds * 1_000, ...fields })}\n`)
    .join("");
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson" };
  const answer = await fetch(`${gateway.status.api.url}/api/readings`, { method: "POST", headers, body });
  expect(answer.status).toBe(200);
}

const entries = (kind: string, source: string) =>
  hub.messages
    .flatMap((message) => messageBody.parse(JSON.parse(message.body.toString("utf8"))))
    .filter((entry) => entry.kind === kind && entry.source === source);
const stateOf = (source: string) => gateway.status.sources[source];
const discardsOf = (source: string) => gateway.status.store.books[source]?.frameDiscards;

test("readings become a score at the time of their window; one that is too high is an alarm at the hub", async () => {
  const centre = [20, 1, 0.5];
  const { file } = modelFile(folder, "m.onnx", meanSquareDistance(centre));
  await start({
    models: { distance: { file, threads: 1 } },
    sources: {
      yard,
      health: {
        type: "model",
        model: "distance",
        inputs: {
          from: "window",
          source: "yard",
          window: "minute",
          features: ["temperature.mean", "temperature.stddev", "vibration.max"],
        },
        outputs: { anomaly: { output: "anomaly", max: 25, unit: "1" } },
        readings: "all",
      },
    },
  });
  await send(
    [0, { temperature: 19, vibration: 0.25 }],
    [20, { temperature: 21, vibration: 0.75 }],
    [60, { temperature: 30, vibration: 1 }],
    [80, { temperature: 32, vibration: 9 }],
    [120, { temperature: 20, vibration: 1 }],
  );
  const score = (...features: number[]) =>
    features.reduce((sum, x, i) => sum + (x - (centre[i] ?? 0)) ** 2, 0) / 3;
  const usual = score(20, Math.SQRT2, 0.75);
  const high = score(31, Math.SQRT2, 9);
  await until("both scores are at the hub", () => entries("reading", "health").length === 2);
  expect(entries("reading", "health")).toMatchObject([
    {
      device: "press",
      time: new Date(t0 + 60_000).toISOString(),
      channels: { anomaly: { value: expect.closeTo(usual, 5), unit: "1", quality: "good" } },
    },
    {
      time: new Date(t0 + 120_000).toISOString(),
      channels: { anomaly: { value: expect.closeTo(high, 3), quality: "bad" } },
    },
  ]);
  await until("the alarm is at the hub", () => entries("alarm", "health").length === 1);
  expect(entries("alarm", "health")).toMatchObject([
    { device: "press", channel: "anomaly", from: "good", to: "bad", value: expect.closeTo(high, 3) },
  ]);
  expect(stateOf("health")).toEqual({ state: "open", reason: undefined });
  expect(discardsOf("health")).toEqual({});
});

test("the last readings of a device are fed, and what a stop leaves unscored is scored after the next start", async () => {
  const { file } = modelFile(folder, "m.onnx", weightedSum(2, 4));
  const later = join(folder, "later.onnx");
  const sections = {
    models: { sum: { file: later, threads: 1 } },
    sources: {
      yard,
      virtual: {
        type: "model",
        model: "sum",
        inputs: { from: "values", source: "yard", channels: ["x", "y"], last: 4, every: 2 },
        device: "virtual-1",
        outputs: { sum: {} },
        readings: "all",
      },
    },
  };
  await start(sections);
  await until("it is told that there is no model", () => stateOf("virtual")?.state === "failed");
  expect(stateOf("virtual")?.reason).toContain("later.onnx");
  const readings = Array.from({ length: 8 }, (_, i): [number, JsonObject] => [i, { x: i, y: i * i }]);
  await send(...readings);
  await until("they are in the books", () => gateway.status.store.books.yard?.ingested === 8);
  await gateway.stop(AbortSignal.timeout(8_000));

  copyFileSync(file, later);
  await start(sections);
  await until("all are at the hub", () => entries("reading", "virtual").length === 3);
  const sum = (end: number) =>
    [0, 1, 2, 3].reduce((total, i) => total + (end - 3 + i) * (i + 1) + (end - 3 + i) ** 2 * (i + 5), 0);
  expect(entries("reading", "virtual")).toMatchObject(
    [3, 5, 7].map((end) => ({
      device: "virtual-1",
      time: new Date(t0 + end * 1_000).toISOString(),
      channels: { sum: { value: sum(end) } },
    })),
  );
});

test("a model that is swapped for one of another shape is told and counted, the others go on, and so does it when it fits again", async () => {
  const fits = modelFile(folder, "fits.onnx", weightedSum(1, 2));
  const wide = modelFile(folder, "wide.onnx", weightedSum(1, 3));
  const two = modelFile(folder, "two.onnx", twoInputs());
  const series = (model: string): JsonObject => ({
    type: "model",
    model,
    inputs: { from: "values", source: "yard", channels: ["x"], last: 2 },
    outputs: { sum: {} },
    readings: "all",
  });
  await start({
    models: { swapped: { file: fits.file, threads: 1 }, steady: { file: fits.file, threads: 1 } },
    sources: { yard, a: series("swapped"), b: series("steady") },
  });
  const counts = () => [entries("reading", "a").length, entries("reading", "b").length];
  let second = 0;
  const sendNext = () => send([second, { x: second++ }]);
  await sendNext();
  await sendNext();
  await until("both tell a result", () => `${counts()}` === "1,1");

  for (const [{ file }, reason] of [
    [wide, "it would be fed [1,1,2], and the model takes series: float32 [1,1,3]"],
    [two, "takes 2 inputs"],
  ] as const) {
    hub.updateDesired("edge", "gateway", { models: { swapped: { file } } });
    await until(`it is told: ${reason}`, () => stateOf("a")?.reason?.includes(reason) === true);
    expect(stateOf("a")?.state).toBe("failed");
    const failed = discardsOf("a")?.modelFailed ?? 0;
    const [, told = 0] = counts();
    await sendNext();
    await until("it is counted", () => discardsOf("a")?.modelFailed === failed + 1);
    await until("the other goes on", () => counts()[1] === told + 1);
  }

  hub.updateDesired("edge", "gateway", { models: { swapped: { file: fits.file } } });
  await until("it fits again", () => stateOf("a")?.state === "open");
  await sendNext();
  await until("it tells results again", () => counts()[0] === 2);
  expect(stateOf("b")).toEqual({ state: "open", reason: undefined });
});
