/** The whole daemon with cameras: real pictures, a real model, and what comes of them at the hub. */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { resNet } from "../bench/onnx/resnet.ts";
import { classify } from "../src/infer/classify.ts";
import { Images } from "../src/infer/images.ts";
import { isRefusal } from "../src/infer/refusal.ts";
import { modelFile, never, runningModel } from "./infer/running-model.ts";
import { DaemonAtHub, tellsAll } from "./support/daemon-at-hub.ts";
import { until as untilWithin } from "./support/until.ts";

/** A process starts, loads a model and connects, on a busy machine. */
const patienceMs = 60_000;
vi.setConfig({ testTimeout: 3 * patienceMs });
const until = (what: string, condition: () => boolean) => untilWithin(what, condition, patienceMs);

const classes = 10;
const network = { width: 4, seed: 9, size: 64, classes };

let box: DaemonAtHub;
let drops: string;
let model: { readonly file: string; readonly labels: string; readonly threads: number };

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
  drops = join(box.folder, "drops");
  mkdirSync(drops);
  const labels = join(box.folder, "labels.json");
  const names = Array.from({ length: classes }, (_, i) => [i, [`n${i}`, `thing ${i}`]]);
  writeFileSync(labels, JSON.stringify(Object.fromEntries(names)));
  model = { file: modelFile(box.folder, "zoo.onnx", resNet(network)).file, labels, threads: 1 };
});
afterEach(() => box.remove());

/** A picture like no other of another `seed`. */
async function jpeg(seed: number, width = 320, height = 200): Promise<Buffer> {
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i * seed + i) % 251);
  return await sharp(pixels, { raw: { width, height, channels: 3 } })
    .jpeg()
    .toBuffer();
}

/** A PNG that says that it has 100 million pixels. */
async function bomb(): Promise<Buffer> {
  const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  // Behind the signature and the length, IHDR begins with width and height (PNG, third edition, section 11.2.1).
  png.writeUInt32BE(10_000, 16);
  png.writeUInt32BE(10_000, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  return png;
}

/** What a model that runs here makes of it, by channel, the most probable first. */
async function expectedOf(picture: Uint8Array): Promise<[string, number][]> {
  const { model: here, state } = runningModel(box.folder, model);
  await state("ready");
  const found = await classify(here, new Images(), picture, classes, never);
  if (isRefusal(found)) throw new Error(found.message);
  return found.labels.map(({ label = "", probability }) => [label.replace(" ", "_"), probability]);
}

const camera = (more: object = {}) => ({
  type: "imageFolder",
  folder: drops,
  model: "zoo",
  device: "gate",
  lookMs: 50,
  settleMs: 100,
  ...more,
});
const sections = () => ({ ...tellsAll, models: { zoo: model } });
const put = (name: string, bytes: string | Uint8Array) => writeFileSync(join(drops, name), bytes);
const entries = () =>
  box.hub.messages.flatMap(({ body }) => JSON.parse(body.toString("utf8")) as Record<string, unknown>[]);

test("a picture from a watched folder is a reading at the hub, counts in windows, and alarms as any other", async () => {
  const picture = await jpeg(1);
  const expected = await expectedOf(picture);
  const [[first, probability] = ["", 0]] = expected;
  const [last = "", lowest = 0] = expected.at(-1) ?? [];
  put("a.jpg", picture);
  box.start(
    { camera: camera({ labels: [last] }) },
    {
      ...sections(),
      windows: { short: { sizeMs: 1_000 } },
      validate: { never: { channels: { [last]: { max: 0 } } } },
    },
  );
  await until("the reading", () => box.readingsOf("gate").length === 1);
  const [reading = {}] = box.readingsOf("gate");
  expect(Object.keys(reading).sort()).toEqual([first, last].sort());
  expect(reading[first]).toEqual({ value: expect.closeTo(probability, 6), quality: "good" });
  expect(reading[last]).toMatchObject({ value: expect.closeTo(lowest, 6), quality: "bad" });
  await until("it is gone", () => readdirSync(drops).length === 0);
  await until("the alarm and the window", () => {
    const kinds = new Set(entries().map(({ kind }) => kind));
    return kinds.has("alarm") && kinds.has("window");
  });
  expect(entries().find(({ kind }) => kind === "alarm")).toMatchObject({
    device: "gate",
    channel: last,
    to: "bad",
    reason: "aboveMax",
  });
  expect(entries().find(({ kind }) => kind === "window")).toMatchObject({
    device: "gate",
    count: 1,
    channels: { [first]: { count: 1, mean: expect.closeTo(probability, 6) } },
  });
});

test("whatever lies in the folder, no picture is missed, and each file that is none is told or counted", async () => {
  const picture = await jpeg(1);
  put("bomb.png", await bomb());
  put("cut.jpg", picture.subarray(0, picture.length / 2));
  put("text.jpg", "I am a text");
  put("empty.jpg", "");
  put("large.jpg", Buffer.concat([picture, Buffer.alloc(1_000_000)]));
  mkdirSync(join(drops, "folder.jpg"));
  execFileSync("mkfifo", [join(drops, "pipe.jpg")]);
  symlinkSync("loop.jpg", join(drops, "loop.jpg"));
  box.start({ camera: camera({ maxBytes: 1_000_000 }) }, sections());
  await box.untilStatus("the discards", ({ store }) => {
    const { frameDiscards } = store.books.camera ?? {};
    return Object.values(frameDiscards ?? {}).reduce((sum, count) => sum + (count ?? 0), 0) === 5;
  });
  expect(await box.discardsOf("camera")).toEqual({ imageTooLarge: 1, badImage: 2, empty: 1, overlong: 1 });
  await box.untilStatus(
    "the others are told",
    ({ sources }) => sources.camera?.reason?.includes("is no plain file") === true,
  );
  put("good.jpg", picture);
  await until("the picture", () => box.readingsOf("gate").length === 1);
  await until(
    "nothing but what is no file is left",
    () => readdirSync(drops).sort().join() === "folder.jpg,loop.jpg,pipe.jpg,rejected",
  );
  expect(readdirSync(join(drops, "rejected"))).toHaveLength(5);
});

test("a picture that was scored before a kill and is still there is no second reading, and one that came in between is scored", async () => {
  const [a, b] = [await jpeg(1), await jpeg(2)];
  const time = new Date(1_700_000_000_000);
  const putAgain = () => {
    put("a.jpg", a);
    utimesSync(join(drops, "a.jpg"), time, time);
  };
  putAgain();
  box.start({ camera: camera() }, sections());
  await until("the reading", () => box.readingsOf("gate").length === 1);
  await until("it is gone", () => readdirSync(drops).length === 0);
  await box.kill();
  putAgain();
  put("b.jpg", b);
  box.restart();
  await box.untilStatus("the repeat is known", ({ store }) => store.books.camera?.discards.duplicate === 1);
  // The kill may have come before the hub's confirmation was committed: then the first message comes again.
  const different = () => new Set(box.readingsOf("gate").map((reading) => JSON.stringify(reading)));
  await until("the other reading", () => different().size === 2);
  await box.untilStatus(
    "three came in, and one of them was a repeat",
    ({ store }) => store.books.camera?.ingested === 3,
  );
  await until("both are gone", () => readdirSync(drops).length === 0);
});

test("while there is no model pictures wait, and the source says so", async () => {
  const { file } = model;
  const bytes = readFileSync(file);
  writeFileSync(file, "no model");
  put("a.jpg", await jpeg(1));
  box.start({ camera: camera() }, sections());
  await box.untilState("camera", "failed");
  expect(await box.reasonOf("camera")).toContain("pictures wait for the model zoo: it is failed");
  expect(existsSync(join(drops, "a.jpg"))).toBe(true);
  await box.stop();
  writeFileSync(file, bytes);
  box.restart();
  await until("the reading", () => box.readingsOf("gate").length === 1);
});

test("a camera with a URL is asked at its interval; one that is away is told, and read when it comes back", async () => {
  const picture = await jpeg(3);
  const [[first, probability] = ["", 0]] = await expectedOf(picture);
  let status = 503;
  const server = createServer((request, response) => {
    const login = request.headers.authorization === `Basic ${Buffer.from("viewer:pass").toString("base64")}`;
    if (status !== 200 || !login) response.writeHead(login ? status : 401).end();
    else response.writeHead(200, { "content-type": "image/jpeg" }).end(picture);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const yard = {
    type: "imageUrl",
    url: `http://127.0.0.1:${port}/snapshot.jpg`,
    username: "viewer",
    password: { env: "CAMERA_PASSWORD" },
    intervalMs: 100,
    model: "zoo",
    device: "yard",
  };
  box.start({ yard }, sections(), { CAMERA_PASSWORD: "pass" });
  await box.untilState("yard", "failed");
  expect(await box.reasonOf("yard")).toContain("it answers 503");
  status = 200;
  await until("readings", () => box.readingsOf("yard").length > 2);
  for (const reading of box.readingsOf("yard"))
    expect(reading).toEqual({ [first]: { value: expect.closeTo(probability, 6), quality: "good" } });
  await box.untilState("yard", "open");
  expect((await box.discardsOf("yard"))?.noAnswer).toBeGreaterThan(0);
});
