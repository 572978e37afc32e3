/** Both runtimes in their threads, beside a direct call of the native one. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { doubling, opsetTooNew, wrongShape } from "../../bench/onnx/small-models.ts";
import { ModelThread } from "../../src/infer/model-thread.ts";
import { softmax } from "../../src/infer/softmax.ts";
import { codeOf } from "../core/codes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { modelFile, never, scoreBody, scoreTask } from "./running-model.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const options = { engine: "native", threads: 1, providers: ["cpu"], memoryArena: "on" } as const;
const small = { width: 4, seed: 5, size: 32, classes: 10 };
const value = (i: number) => (i * 37) % 256;

async function probabilities(path: string, engine: "native" | "wasm", body: Buffer) {
  const thread = await ModelThread.open({ ...options, path, engine }, never);
  try {
    expect(thread.opened.engine).toBe(engine);
    const outcome = await thread.run(scoreTask(body), 60_000);
    if (!("probabilities" in outcome)) throw new Error(JSON.stringify(outcome));
    return outcome.probabilities;
  } finally {
    thread.close();
    await thread.ended;
  }
}

test("a score is the soft-max of a direct run on the same tensor, to 1e-6, and WebAssembly's to 1e-4", async () => {
  const { file } = modelFile(folder, "m.onnx", resNet(small));
  const session = await InferenceSession.create(file);
  const shape = [2, 3, 32, 32] as const;
  const data = Float32Array.from({ length: 2 * 3 * 32 * 32 }, (_, i) => value(i));
  const [out] = Object.values(await session.run({ data: new Tensor("float32", data, shape) }));
  await session.release();
  const wanted = softmax(out?.data as Float32Array, 10);
  const native = await probabilities(file, "native", scoreBody(shape, value));
  const wasm = await probabilities(file, "wasm", scoreBody(shape, value));
  expect(native).toHaveLength(20);
  const distance = (a: Float32Array) => Math.max(...a.map((p, i) => Math.abs(p - (wanted[i] ?? 0))));
  expect(distance(native)).toBeLessThan(1e-6);
  expect(distance(wasm)).toBeLessThan(1e-4);
});

test("the main thread does its work while a model runs", async () => {
  const { file } = modelFile(folder, "m.onnx", resNet({ ...small, width: 16, size: 128 }));
  const thread = await ModelThread.open({ ...options, path: file }, never);
  let isDone = false;
  const body = scoreBody([8, 3, 128, 128], value);
  const run = thread.run(scoreTask(body), 60_000).finally(() => {
    isDone = true;
  });
  let turns = 0;
  while (!isDone) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    turns++;
  }
  await run;
  // A run in this thread would let it come here once before and once behind.
  expect(turns).toBeGreaterThan(5);
  thread.close();
  await thread.ended;
});

test.each(["native", "wasm"] as const)("what %s does not take is refused with a reason", async (engine) => {
  const open = (path: string) => ModelThread.open({ ...options, engine, path }, never);
  for (const [name, pieces] of [
    ["wrong-shape", wrongShape()],
    ["opset-too-new", opsetTooNew()],
    ["text", [Buffer.from("no model at all")]],
    ["empty", []],
    ["half", [Buffer.concat(resNet(small)).subarray(0, 20_000)]],
  ] as const) {
    const { file } = modelFile(folder, name, pieces);
    expect([name, await codeOf(() => open(file))]).toEqual([name, "MODEL_REFUSED"]);
  }
});

test("a thread whose task takes too long is lost, and says so to all that wait", async () => {
  const { file } = modelFile(folder, "m.onnx", resNet({ ...small, width: 16, size: 128 }));
  const thread = await ModelThread.open({ ...options, path: file }, never);
  const body = scoreBody([16, 3, 128, 128], value);
  const codes = await Promise.all([
    codeOf(() => thread.run(scoreTask(body), 1)),
    codeOf(() => thread.run(scoreTask(body), 60_000)),
  ]);
  expect(codes).toEqual(["MODEL_LOST", "MODEL_LOST"]);
  expect((await thread.lost).message).toContain("1 ms");
  expect(await codeOf(() => thread.run(scoreTask(body), 60_000))).toBe("MODEL_LOST");
  thread.close();
  await thread.ended;
});

test("a load that is not wanted any more ends", async () => {
  const { file } = modelFile(folder, "m.onnx", doubling());
  const stop = new AbortController();
  const opening = ModelThread.open({ ...options, path: file }, stop.signal);
  stop.abort(new Error("not wanted"));
  await expect(opening).rejects.toThrow("not wanted");
});

test("a load that takes longer than three minutes is given up", async () => {
  // A pipe that nobody writes to: the runtime hangs in opening it, for as long as the machine may take.
  const pipe = join(folder, "m.onnx");
  execFileSync("mkfifo", [pipe]);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => {
    vi.useRealTimers();
    closeSync(openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK));
  });
  const given = codeOf(() => ModelThread.open({ ...options, path: pipe }, never));
  // It may have to wait for threads of the tests before to end.
  while (vi.getTimerCount() === 0) await new Promise(setImmediate);
  await vi.advanceTimersByTimeAsync(179_000);
  expect(await Promise.race([given, "it loads"])).toBe("it loads");
  await vi.advanceTimersByTimeAsync(1_000);
  expect(await given).toBe("MODEL_LOST");
});

test("a thread that is let go of while it loads does not try the model", async () => {
  const { file } = modelFile(folder, "m.onnx", doubling());
  const entry = new URL("../../src/infer/model-thread-entry.ts", import.meta.url);
  const worker = new Worker(entry, { workerData: { ...options, path: file } });
  const told: unknown[] = [];
  worker.on("message", (message) => told.push(message));
  worker.postMessage("end");
  await once(worker, "exit");
  expect(told).toEqual([]);
});
