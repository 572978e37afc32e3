/** The whole gateway with cameras that are asked when something happens, or somebody asks. */
import { readdirSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import sharp from "sharp";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { resNet } from "../bench/onnx/resnet.ts";
import { startGateway } from "./api/api-gateway.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { modelFile } from "./infer/running-model.ts";
import { DaemonAtHub, tellsAll } from "./support/daemon-at-hub.ts";
import { until as untilWithin } from "./support/until.ts";

/** A process starts, loads a model and connects, on a busy machine. */
const patienceMs = 60_000;
vi.setConfig({ testTimeout: 3 * patienceMs });
const until = (what: string, condition: () => boolean | Promise<boolean>) =>
  untilWithin(what, condition, patienceMs);

let picture: Buffer;
let requests: number;
let url: string;

beforeEach(async () => {
  picture = await sharp({ create: { width: 64, height: 48, channels: 3, background: "teal" } })
    .jpeg()
    .toBuffer();
  requests = 0;
  const server = createServer((_, response) => {
    requests++;
    response.end(picture);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/snapshot.jpg`;
});

const modelsIn = (folder: string) => {
  const network = resNet({ width: 4, seed: 9, size: 32, classes: 10 });
  return { zoo: { file: modelFile(folder, "zoo.onnx", network).file, threads: 1 } };
};
const camera = (more: object = {}) => ({ type: "imageUrl", url, model: "zoo", device: "cam", ...more });

test("a picture is taken when an alarm begins, also while the hub is away, and not when it ends or is another's", async () => {
  const folder = temporaryFolder();
  const when = { device: "oven", channel: "t" };
  const door = { type: "http", decode: { format: "json" }, device: { field: "id" }, silentMs: 0 };
  const { gateway, ingested, post } = await startGateway(folder, {
    models: modelsIn(folder),
    sources: {
      door,
      cam: camera({ when, minSpacingMs: 0 }),
      silent: camera({ when: { source: "door", alarm: "silent" }, minSpacingMs: 0 }),
    },
    validate: { hot: { channels: { t: { max: 100 }, u: { max: 100 } } } },
    alarms: { minSpacingMs: 100 },
  });
  await until("the model is ready", () => gateway.status.models.zoo?.state === "ready");
  await until("the cameras are open", () => gateway.status.sources.cam?.state === "open");
  const tell = async (values: object) => expect((await post(values, {}, "?source=door")).status).toBe(200);
  await tell({ id: "oven", t: 20, u: 200 });
  await tell({ id: "kiln", t: 200 });
  await tell({ id: "oven", t: 20, u: 20 });
  await tell({ id: "oven", t: 200 });
  await until("the picture", () => ingested("cam") === 1);
  const told = (count: number) =>
    until(`${count} alarms`, () => (gateway.status.store.books.door?.notes.alarm ?? 0) >= count);
  // Of `oven` two channels, and of `kiln` one; then one channel turns good and bad.
  await told(4);
  for (const [i, t] of [20, 200, 20, 200].entries()) {
    await tell({ id: "oven", t });
    await told(5 + i);
  }
  await until("a picture for each that turned bad", () => ingested("cam") >= 3);
  expect([requests, ingested("cam"), ingested("silent")]).toEqual([3, 3, 0]);
});

test("direct methods take a picture, tell what it shows, and send it where the file lets it go", async () => {
  const box = await DaemonAtHub.prepare();
  onTestFinished(() => box.remove());
  const upload = { hosts: [new URL(url).host] };
  const sections = { ...tellsAll, models: modelsIn(box.folder), api: { port: 0 } };
  box.start({ cam: camera({ top: 2, keep: {}, upload }) }, sections);
  await box.untilState("cam", "open");
  await box.untilStatus("the hub is connected", ({ hub }) => hub.state === "connected");
  const take = (payload: object) =>
    box.hub.invokeMethod(box.hub.deviceId, "gateway", { methodName: "takePicture", payload } as never);
  let answer = await take({ source: "cam" });
  await until("the model is ready", async () => {
    if (answer.status !== 200) answer = await take({ source: "cam" });
    return answer.status === 200;
  });
  const { scores } = answer.payload as { scores: Record<string, number> };
  await until("the reading", () => box.readingsOf("cam").length === 1);
  const [reading = {}] = box.readingsOf("cam");
  expect(Object.entries(reading).map(([channel, { value }]) => [channel, value])).toEqual(
    Object.entries(scores),
  );
  const [name] = readdirSync(join(box.folder, "store", "pictures", "cam"));
  const send = { source: "cam", picture: name, url: new URL("/container/a.jpg?sig=x", url).href };
  const sent = await box.hub.invokeMethod(box.hub.deviceId, "gateway", {
    methodName: "uploadPicture",
    payload: send,
  } as never);
  expect(sent).toMatchObject({ status: 200, payload: { bytes: picture.length } });
  expect((await take({ source: "nobody" })).status).toBe(404);
  expect((await take({ source: "cam", more: 1 })).status).toBe(400);
});
