/** What becomes of pictures at models and scorers that are not well-behaved. */
import type { ServerResponse } from "node:http";
import sharp from "sharp";
import { beforeEach, expect, test } from "vitest";
import { logarithmOfImage } from "../../bench/onnx/small-models.ts";
import { Images } from "../../src/infer/images.ts";
import { scorePicture } from "../../src/infer/picture-scores.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { served } from "../support/served.ts";
import { impatientClock, modelFile, never, runningModel } from "./running-model.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

test.each<[string, (response: ServerResponse) => void, string]>([
  ["closes the connection", (response) => response.destroy(), "failed"],
  ["answers 500", (response) => response.writeHead(500).end(), "failed"],
  ["answers 503", (response) => response.writeHead(503).end(), "wait"],
])("a picture at which the scorer %s", async (_, answer, expected) => {
  let isReady = false;
  const { url } = await served((request, response) => {
    request.resume().on("end", () => {
      if (isReady) answer(response);
      else response.end(JSON.stringify({ result: [0.25, 0.75] }));
    });
  });
  const size = { width: 32, height: 32 };
  const remote = { protocol: "score", url, size };
  const { model, state } = runningModel(folder, { remote }, impatientClock);
  await state("ready");
  isReady = true;
  const picture = await sharp({ create: { ...size, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  const wanted = { top: 1, minProbability: 0, labels: [] };
  const scored = await scorePicture(model, new Images(), picture, wanted, never);
  expect(scored).toMatchObject({ kind: expected });
});

const images = new Images();
const grey = (shade: number) =>
  sharp({ create: { width: 8, height: 8, channels: 3, background: { r: shade, g: shade, b: shade } } })
    .png()
    .toBuffer();

test("a model that says what is no number failed at the picture, and at no other", async () => {
  const { file } = modelFile(folder, "log.onnx", logarithmOfImage());
  const { model, state } = runningModel(folder, { file });
  await state("ready");
  const wanted = { top: 1, minProbability: 0, labels: [] };
  const score = async (shade: number) => scorePicture(model, images, await grey(shade), wanted, never);
  // Black is below nothing, once it is normalised.
  expect(await score(0)).toEqual({ kind: "failed", message: "it says NaN, which is no probability" });
  expect(await score(255)).toMatchObject({
    kind: "scored",
    scores: [[expect.any(String), expect.any(Number)]],
  });
});
