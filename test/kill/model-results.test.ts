/**
 * The daemon is killed while the result of a model is computed and not committed: each arrives all the same, once, and
 * is what the formula says.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { weightedSum } from "../../bench/onnx/small-models.ts";
import { modelFile } from "../infer/running-model.ts";
import { freePort } from "../sources/sockets.ts";
import { DaemonAtHub } from "../support/daemon-at-hub.ts";
import { until } from "../support/until.ts";

const kills = 2;
let box: DaemonAtHub;
beforeEach(async () => {
  box = await DaemonAtHub.prepare();
});
afterEach(() => box.remove());

test(`${kills} kills between a reading and its result lose no result, and repeat none`, async () => {
  const { file } = modelFile(box.folder, "m.onnx", weightedSum(1, 2));
  const port = await freePort();
  const sources = {
    yard: { type: "http", decode: { format: "json" }, device: "yard-1" },
    sum: {
      type: "model",
      model: "sum",
      inputs: { from: "values", source: "yard", channels: ["x"], last: 2 },
      device: "sum-1",
      outputs: { sum: {} },
    },
  };
  const start = () =>
    box.start(sources, {
      models: { sum: { file, threads: 1 } },
      publish: { maxDelayMs: 0, readings: "all" },
      api: { port },
      // Only who posts makes a commit, so that results wait for the next one.
      store: { maxLossMs: 600_000, minCommitMs: 0, snapshotEvery: 10 },
    });
  const post = async (x: number) => {
    const token = readFileSync(join(box.folder, "store", "api-token"), "utf8").trim();
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const body = JSON.stringify({ x });
    const answer = await fetch(`http://127.0.0.1:${port}/api/readings`, { method: "POST", headers, body });
    expect(answer.status).toBe(200);
  };
  const untilQueued = () =>
    box.untilStatus("a result waits for a commit", ({ intake }) => intake.queuedBytes > 0);

  /** By id: what the hub was told again by another process is a repeat, and not another result. */
  const results = () => {
    const entries = box.hub.messages.flatMap(({ body }) => JSON.parse(body.toString("utf8")));
    const ofModel = entries.filter(({ kind, source }) => kind === "reading" && source === "sum");
    return new Map(ofModel.map(({ id, channels }) => [id, channels.sum.value]));
  };

  start();
  await box.untilState("sum", "open");
  await box.untilState("yard", "open");
  await post(0);
  for (let kill = 1; kill <= kills; kill++) {
    await post(kill);
    await untilQueued();
    await box.kill();
    start();
    // It is computed again, and waits again.
    await untilQueued();
    await box.untilState("yard", "open");
  }
  await post(kills + 1);
  await untilQueued();
  await box.stop();
  start();
  const wanted = Array.from({ length: kills + 1 }, (_, i) => i + 2 * (i + 1));
  await until("all results are at the hub", () => results().size >= wanted.length);
  expect([...results().values()]).toEqual(wanted);
  const { store } = await box.untilStatus("it answers", () => true);
  expect(store.books.sum).toMatchObject({ frames: wanted.length, frameDiscards: {} });
  await box.stop();
}, 180_000);
