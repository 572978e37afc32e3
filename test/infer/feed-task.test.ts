/** Numbers of readings through models, in a thread of their own and in the real runtime. */
import { beforeEach, expect, test } from "vitest";
import type { Pieces } from "../../bench/onnx/protobuf.ts";
import {
  countsAndFlags,
  logarithm,
  meanSquareDistance,
  twoInputs,
  weightedSum,
} from "../../bench/onnx/small-models.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { FeedScorer } from "../../src/infer/feed-scorer.ts";
import { modelSource } from "../config/model-source.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { served } from "../support/served.ts";
import { until } from "../support/until.ts";
import { modelConfig, modelFile, never, runningModel } from "./running-model.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const features = (...names: string[]) => ({
  inputs: { from: "window", source: "s", window: "w", features: names },
});
const series = (last: number, ...channels: string[]) => ({
  inputs: { from: "values", source: "s", channels, last },
});

async function scoring(pieces: Pieces) {
  const { file } = modelFile(folder, "m.onnx", pieces);
  const { model, state } = runningModel(folder, { file });
  await state("ready");
  const scorer = new FeedScorer({ get: () => model });
  return (source: JsonObject, values: readonly number[]) => {
    const config = modelSource(source);
    return scorer
      .score(config, { values }, never)
      .then((answer) => ({ answer, standing: scorer.standing(config).state }));
  };
}

test("a score is what the formula says, with and without normalisation", async () => {
  const centre = [1, -2, 0.5];
  const score = await scoring(meanSquareDistance(centre));
  const given = [20.5, -3, 7];
  const wanted = (numbers: readonly number[]) =>
    numbers.reduce((sum, x, i) => sum + (x - (centre[i] ?? 0)) ** 2, 0) / 3;
  const outputs = { score: { output: "anomaly" }, off: { output: "difference", index: 2 } };
  const plain = await score({ ...features("a.mean", "a.max", "b.mean"), outputs }, given);
  expect(plain.standing).toBe("ready");
  expect(plain.answer).toEqual({
    kind: "values",
    values: { score: expect.closeTo(wanted(given), 4), off: expect.closeTo(6.5, 5) },
  });
  const normalisation = { mean: [20, -2, 5], deviation: [0.5, 2, 4] };
  const normal = given.map((x, i) => (x - (normalisation.mean[i] ?? 0)) / (normalisation.deviation[i] ?? 1));
  const { answer } = await score({ ...features("a.mean", "a.max", "b.mean"), outputs, normalisation }, given);
  expect(answer).toMatchObject({ values: { score: expect.closeTo(wanted(normal), 4) } });
});

test("the last values lie as `layout` says, and are normalised by channel in both", async () => {
  const x = [1, 2, 3];
  const y = [10, 20, 30];
  const weighted = (flat: readonly number[]) => flat.reduce((sum, value, i) => sum + value * (i + 1), 0);
  const byChannel = await scoring(weightedSum(2, 3));
  const outputs = { sum: {} };
  const first = await byChannel({ ...series(3, "x", "y"), outputs }, [...x, ...y]);
  expect(first.answer).toMatchObject({ values: { sum: weighted([1, 2, 3, 10, 20, 30]) } });
  const byReading = await scoring(weightedSum(3, 2));
  const last = { ...series(3, "x", "y"), outputs, layout: "channelsLast" };
  expect((await byReading(last, [...x, ...y])).answer).toMatchObject({
    values: { sum: weighted([1, 10, 2, 20, 3, 30]) },
  });
  const normalisation = { mean: [2, 20], deviation: [1, 10] };
  expect((await byReading({ ...last, normalisation }, [...x, ...y])).answer).toMatchObject({
    values: { sum: weighted([-1, -1, 0, 0, 1, 1]) },
  });
  // A shape of the operator's own takes the numbers in the same order.
  expect(
    (await byReading({ ...series(6, "x"), outputs, shape: [1, 3, 2] }, [1, 2, 3, 4, 5, 6])).answer,
  ).toMatchObject({ values: { sum: weighted([1, 2, 3, 4, 5, 6]) } });
});

test.each([
  ["two inputs", twoInputs(), features("a.min"), { y: { output: "sum" } }, "unsuitableModel"],
  ["another element type", countsAndFlags(), features("a.min", "a.max"), { y: {} }, "badType"],
  ["another shape", meanSquareDistance([0, 0]), features("a.min"), { y: { output: "anomaly" } }, "badShape"],
  [
    "an output that is not there",
    meanSquareDistance([0]),
    features("a.min"),
    { y: { output: "no" } },
    "unknownTensor",
  ],
  [
    "several outputs, and none is named",
    meanSquareDistance([0]),
    features("a.min"),
    { y: {} },
    "unknownTensor",
  ],
  ["an element that is not there", weightedSum(1, 1), series(1, "x"), { y: { index: 7 } }, "badShape"],
  [
    "an input that is not there",
    meanSquareDistance([0]),
    { ...features("a.min"), input: "no" },
    { y: { output: "anomaly" } },
    "unknownTensor",
  ],
])("a model with %s does not fit, before and when it is fed", async (_, pieces, source, outputs, refusal) => {
  const score = await scoring(pieces);
  const { answer, standing } = await score(
    { ...source, outputs },
    [1, 2].slice(0, "features" in source.inputs ? source.inputs.features.length : 1),
  );
  expect({ standing, answer }).toMatchObject({ standing: "unfit", answer: { refusal } });
});

test("an element behind an open dimension shows when it is run; so does what is not finite, in and out", async () => {
  const score = await scoring(logarithm());
  const source = { ...features("a.min"), outputs: { y: { index: 1 } } };
  expect(await score(source, [1])).toMatchObject({ standing: "ready", answer: { refusal: "badShape" } });
  const inRange = { ...features("a.min"), outputs: { y: {} } };
  expect((await score(inRange, [-1])).answer).toMatchObject({
    refusal: "notFinite",
    message: "output log[0] is NaN",
  });
  expect((await score(inRange, [0])).answer).toMatchObject({ message: "output log[0] is -Infinity" });
  expect((await score(inRange, [1e300])).answer).toMatchObject({ refusal: "notFinite" });
  expect((await score(inRange, [Math.E])).answer).toMatchObject({ values: { y: expect.closeTo(1, 5) } });
});

test("a model behind the V2 protocol is fed as one of the box", async () => {
  const { url } = await served((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const tell = (value: object) => response.end(JSON.stringify(value));
      if (request.url === "/v2/models/there/ready") response.end();
      else if (request.method === "GET")
        tell({
          inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
          outputs: [{ name: "sum", datatype: "FP32", shape: [-1, 1] }],
        });
      else {
        const { inputs } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
        const [a, b] = inputs[0].data.flat();
        tell({ outputs: [{ name: "sum", datatype: "FP32", shape: [1, 1], data: [a + b] }] });
      }
    });
  });
  const { model, state } = runningModel(folder, { remote: { protocol: "v2", url, model: "there" } });
  await state("ready");
  const scorer = new FeedScorer({ get: () => model });
  const config = modelSource({ ...features("a.min", "a.max"), outputs: { total: { output: "sum" } } });
  expect(scorer.standing(config)).toEqual({ state: "ready", reason: undefined });
  expect(await scorer.score(config, { values: [2, 40] }, never)).toMatchObject({ values: { total: 42 } });
  const other = modelSource({ ...features("a.min"), outputs: { total: {} } });
  expect(scorer.standing(other)).toMatchObject({ state: "unfit", reason: expect.stringContaining("[?,2]") });
});

test("how a model stands, before there is one and when it cannot be loaded", async () => {
  const config = modelSource({ ...features("a.min"), outputs: { y: {} } });
  expect(new FeedScorer({ get: () => undefined }).standing(config)).toMatchObject({ state: "absent" });
  const { model, state } = runningModel(folder, { file: "/nowhere.onnx" });
  const scorer = new FeedScorer({ get: () => model });
  await state("failed");
  expect(scorer.standing(config)).toMatchObject({
    state: "failed",
    reason: expect.stringContaining("/nowhere.onnx"),
  });
  expect(await scorer.score(config, { values: [1] }, never)).toMatchObject({ refusal: "notReady" });
});

test("a model from before is not asked in place of the configured one, while that is loaded or when it is refused", async () => {
  const config = modelSource({ ...features("a.min"), outputs: { y: { output: "anomaly" } } });
  const { file } = modelFile(folder, "m.onnx", meanSquareDistance([0]));
  const other = modelFile(folder, "other.onnx", meanSquareDistance([1])).file;
  const { model, state } = runningModel(folder, { file });
  await state("ready");
  const scorer = new FeedScorer({ get: () => model });
  const scored = () => scorer.score(config, { values: [3] }, never);
  expect(await scored()).toMatchObject({ values: { y: 9 } });
  model.configure(modelConfig({ file: other }));
  expect(scorer.standing(config)).toMatchObject({
    state: "absent",
    reason: expect.stringContaining("replaced"),
  });
  expect(await scored()).toMatchObject({ refusal: "notReady" });
  await until("the new one is in force", () => scorer.standing(config).state === "ready");
  expect(await scored()).toMatchObject({ values: { y: 4 } });
  model.configure(modelConfig({ file: "/nowhere.onnx" }));
  await until("it is refused", () => scorer.standing(config).state === "failed");
  expect(model.status.state).toBe("ready");
  expect(scorer.standing(config).reason).toContain("/nowhere.onnx");
  expect(await scored()).toMatchObject({ refusal: "notReady" });
});
