/** The whole gateway with models: what the twin sets, what it is told, and sensors beside scoring. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { resNet } from "../bench/onnx/resnet.ts";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import { recordingLog } from "./core/recording-log.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { modelFile } from "./infer/running-model.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let gateway: Gateway;
const fatal: unknown[] = [];

beforeEach(async () => {
  folder = temporaryFolder();
  hub = await startEmbeddedHub();
});
afterEach(async () => {
  const deadline = AbortSignal.timeout(8_000);
  await gateway.stop(deadline);
  await hub.stop();
  expect([fatal, deadline.aborted]).toEqual([[], false]);
});

async function start(models: object): Promise<void> {
  const configFile = join(folder, "headgate.json");
  const config = {
    gateway: { name: "box" },
    models,
    report: { minSpacingMs: 100 },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store") },
    api: { port: 0, scoring: "open" },
    hub: { type: "edge" },
  };
  writeFileSync(configFile, JSON.stringify(config));
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  const onFatal = (error: unknown) => fatal.push(error);
  gateway = await Gateway.start({
    configFile,
    environment,
    clock: systemClock,
    log: recordingLog(),
    onFatal,
  });
  await until("the hub is connected", () => gateway.status.hub.state === "connected");
}

const network = { width: 4, size: 32, classes: 10 };
const reported = () =>
  hub.getTwin("edge", "gateway").reported as { models?: Record<string, Record<string, string>> };
async function score(): Promise<number[]> {
  const response = await fetch(`${gateway.status.api.url}/score?model=zoo`, {
    method: "POST",
    headers: {
      "content-type": "application/octet-stream",
      "tensor-shape": "1,3,32,32",
      "tensor-type": "uint8",
    },
    body: new Uint8Array(3 * 32 * 32).fill(77),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { result: number[] }).result;
}

test("the twin swaps a model while it is asked, is told of it, and takes it away", async () => {
  const a = modelFile(folder, "a.onnx", resNet({ ...network, seed: 1 }));
  const b = modelFile(folder, "b.onnx", resNet({ ...network, seed: 2 }));
  await start({ zoo: { file: a.file, threads: 1 } });
  await until("the first is told", () => reported().models?.zoo?.sha256 === a.sha256);
  expect(reported().models?.zoo).toMatchObject({ state: "ready", inputs: "data: float32 [N,3,32,32]" });
  const before = await score();

  hub.updateDesired("edge", "gateway", { models: { zoo: { file: b.file, sha256: b.sha256 } } });
  while (gateway.status.models.zoo?.sha256 !== b.sha256) await score();
  const after = await score();
  expect(after).not.toEqual(before);
  await until("the second is told", () => reported().models?.zoo?.sha256 === b.sha256);

  hub.updateDesired("edge", "gateway", { models: { zoo: { sha256: "0".repeat(64) } } });
  await until("the refusal is told", () => reported().models?.zoo?.reason?.includes("SHA-256") === true);
  expect(reported().models?.zoo).toMatchObject({ state: "ready", sha256: b.sha256 });
  expect(await score()).toEqual(after);

  hub.updateDesired("edge", "gateway", { models: { zoo: { state: "off" } } });
  await until("it is gone", () => gateway.status.models.zoo === undefined);
  await until("that is told", () => reported().models === undefined);
});

test("a stop while a model runs ends in time, and one while it loads, too", async () => {
  const { file } = modelFile(folder, "a.onnx", resNet({ width: 16, seed: 1, size: 128, classes: 10 }));
  await start({ zoo: { file, threads: 1 } });
  await until("it is ready", () => gateway.status.models.zoo?.state === "ready");
  const asked = fetch(`${gateway.status.api.url}/score`, {
    method: "POST",
    headers: {
      "content-type": "application/octet-stream",
      "tensor-shape": "32,3,128,128",
      "tensor-type": "uint8",
    },
    body: new Uint8Array(32 * 3 * 128 * 128),
  }).catch(() => undefined);
  await until("it is at work", () => gateway.status.models.zoo?.inside === 1);
  const deadline = AbortSignal.timeout(8_000);
  await gateway.stop(deadline);
  expect(deadline.aborted).toBe(false);
  await asked;
  await start({ zoo: { file, threads: 1, sha256: "0".repeat(64) } });
});
