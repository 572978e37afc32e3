/** Dynamic batching: what comes of tasks that are done together is what comes of each by itself. */
import { beforeEach, expect, test } from "vitest";
import type { Pieces } from "../../bench/onnx/protobuf.ts";
import { resNet } from "../../bench/onnx/resnet.ts";
import { identityOfImage, meanOfImages } from "../../bench/onnx/small-models.ts";
import { systemClock } from "../../src/core/clock.ts";
import { type Done, type ImageTask, performTogether, takesBatches } from "../../src/infer/batch.ts";
import { openSession } from "../../src/infer/engine.ts";
import { ModelThread } from "../../src/infer/model-thread.ts";
import { isRefusal } from "../../src/infer/refusal.ts";
import { perform } from "../../src/infer/task.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { modelFile, never, probabilitiesOf, runningModel, scoreBody, scoreTask } from "./running-model.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const options = { engine: "native", threads: 1, providers: ["cpu"], memoryArena: "on" } as const;
const session = (pieces: Pieces) => openSession(modelFile(folder, "m.onnx", pieces).file, options);
const now = systemClock.monotonic;
/** So many images of 3 × 4 × 4, each another one. */
const images = (seed: number, count = 1, side = 4) =>
  scoreTask(scoreBody([count, 3, side, side], (i) => (i * 37 + seed * 11) % 256)) as ImageTask;
const told = (done: Done | undefined) => {
  if (!done || !("outcome" in done)) return done;
  const { outcome } = done;
  if (isRefusal(outcome)) return outcome.refusal;
  return outcome.kind === "probabilities" ? outcome : outcome.kind;
};

test("tasks done together come to what each comes to, in their order, refusals among them", async () => {
  const model = await session(resNet({ width: 4, seed: 5, size: 32, classes: 10 }));
  expect(takesBatches(model)).toBe(true);
  const of = (seed: number, count = 1) => images(seed, count, 32);
  const tasks = [of(1), scoreTask(Buffer.from("{")) as ImageTask, of(2, 3), images(3), of(4)];
  const done = (await performTogether(model, tasks, now)).map(told);
  const runs = new Set<number>();
  for (const [i, task] of tasks.entries()) {
    const alone = await perform(model, task, now, never);
    const together = done[i];
    if (isRefusal(alone)) {
      expect(together).toBe(alone.refusal);
      continue;
    }
    if (alone.kind !== "probabilities" || !together || typeof together === "string" || "error" in together)
      throw new Error(`task ${i} is ${JSON.stringify(together)}`);
    expect(together.classes).toBe(10);
    expect(together.probabilities).toHaveLength(alone.probabilities.length);
    for (const [k, p] of alone.probabilities.entries()) expect(together.probabilities[k]).toBeCloseTo(p, 6);
    runs.add(together.runMs);
  }
  expect(runs.size).toBe(1);
  await model.release();
});

test("a model that makes one row of several images is asked for each by itself", async () => {
  const model = await session(meanOfImages());
  const tasks = [images(1), images(2), images(3, 2)];
  const done = (await performTogether(model, tasks, now)).map(told);
  const alone = await Promise.all(tasks.map((task) => perform(model, task, now, never)));
  const rows = alone.map((outcome) => (isRefusal(outcome) ? outcome.refusal : outcome));
  for (const i of [0, 1])
    expect(done[i]).toMatchObject({ probabilities: (rows[i] as Probabilities).probabilities });
  expect([done[2], rows[2]]).toEqual(["unsuitableModel", "unsuitableModel"]);
  await model.release();
});
type Probabilities = { readonly probabilities: Float32Array };

test("a model with a fixed first dimension takes no batches", async () => {
  const { inputs, outputs } = await session(identityOfImage());
  const fixed = [{ ...(inputs[0] ?? { name: "", type: "float32" }), shape: [1, 3, 4, 4] }];
  expect(takesBatches({ engine: "native", inputs, outputs })).toBe(true);
  expect(takesBatches({ engine: "native", inputs: fixed, outputs })).toBe(false);
  expect(takesBatches({ engine: "remote", inputs, outputs })).toBe(false);
});

test("a thread does together what came while it was at work", async () => {
  const { file } = modelFile(folder, "m.onnx", resNet({ width: 8, seed: 5, size: 64, classes: 10 }));
  const thread = await ModelThread.open({ ...options, path: file }, never);
  const tasks = [images(0, 32, 64), ...[1, 2, 3, 4, 5, 6].map((seed) => images(seed, 1, 64))];
  const [, ...outcomes] = await Promise.all(tasks.map((task) => thread.run(task, 60_000)));
  const of = outcomes.map((outcome) => ("runMs" in outcome ? outcome : undefined));
  // They came while the first one's many images kept it at work, or most of them did.
  expect(new Set(of.map((outcome) => outcome?.runMs)).size).toBeLessThan(6);
  expect(new Set(of.map((outcome) => outcome?.probabilities.join())).size).toBe(6);
  thread.close();
  await thread.ended;
});

test("requests of a model with `maxBatch` are scored together, and all are answered", async () => {
  const { file } = modelFile(folder, "m.onnx", resNet({ width: 8, seed: 5, size: 64, classes: 10 }));
  const { model, state, ask } = runningModel(folder, { file, maxBatch: 4, maxQueue: 8 });
  await state("ready");
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, seed) =>
      ask(seed === 5 ? scoreTask(Buffer.from("[]")) : images(seed, 1, 64)),
    ),
  );
  expect(
    answers.map((answer) => typeof probabilitiesOf(answer)).filter((type) => type === "object"),
  ).toHaveLength(11);
  expect(probabilitiesOf(answers[5] as (typeof answers)[number])).toBe("noData");
  const runs = new Set(
    answers.flatMap((answer) =>
      "outcome" in answer && "runMs" in answer.outcome ? [answer.outcome.runMs] : [],
    ),
  );
  expect(runs.size).toBeLessThan(11);
  expect(model.status).toMatchObject({ inside: 0, counts: { scored: 11, refused: 1, busy: 0 } });
});
