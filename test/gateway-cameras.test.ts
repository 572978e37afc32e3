/** The whole gateway with cameras that are asked when something happens, or somebody asks. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import sharp from "sharp";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { resNet } from "../bench/onnx/resnet.ts";
import { PictureRequests } from "../src/api/picture-requests.ts";
import { startGateway } from "./api/api-gateway.ts";
import { temporaryFolder } from "./core/temporary-folder.ts";
import { modelFile } from "./infer/running-model.ts";
import { DaemonAtHub, tellsAll } from "./support/daemon-at-hub.ts";
import { until } from "./support/until.ts";

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
  await tell({ id: "oven", t: 20 });
  await until("the end of the alarm is told", () => (gateway.status.store.books.door?.notes.alarm ?? 0) >= 5);
  expect([requests, ingested("cam"), ingested("silent")]).toEqual([1, 1, 0]);
});

test("the direct method takes a picture and tells what it shows, and why when it does not", async () => {
  const box = await DaemonAtHub.prepare();
  onTestFinished(() => box.remove());
  box.start({ cam: camera({ top: 2 }) }, { ...tellsAll, models: modelsIn(box.folder) });
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
  expect((await take({ source: "nobody" })).status).toBe(404);
  expect((await take({ source: "cam", more: 1 })).status).toBe(400);
});

test("a picture that does not come in time is answered all the same", async () => {
  const pictures = new PictureRequests(async () => ({ kind: "late" }));
  expect(await pictures.take({ source: "cam" })).toMatchObject({ status: 504 });
  const failing = new PictureRequests(async () => ({
    kind: "failed",
    message: "the store has no room for it",
  }));
  expect(await failing.take({ source: "cam" })).toEqual({
    status: 503,
    payload: { message: "the store has no room for it" },
  });
});
