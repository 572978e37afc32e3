/** A machine for which there is no native runtime, and the options of the one there is. */

import { readdirSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { ModelThread } from "../../src/infer/model-thread.ts";
import type { FromThread } from "../../src/infer/thread-protocol.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { modelFile, never, scoreBody, scoreTask } from "./running-model.ts";

let file: string;
beforeEach(() => {
  file = modelFile(temporaryFolder(), "m.onnx", resNet({ width: 4, seed: 5, size: 32, classes: 10 })).file;
});

const options = { threads: 1, providers: ["cpu"], memoryArena: "on" } as const;

/** As where the package's binary cannot be loaded: the thread's own loader throws at its name. */
const withoutNative = (() => {
  const hooks = `export async function resolve(name, context, next) {
    if (name === "onnxruntime-node") throw new Error("no binary for this machine");
    return next(name, context);
  }`;
  const data = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
  return data(`import { register } from "node:module"; register(${JSON.stringify(data(hooks))});`);
})();

/** What a thread on such a machine tells first. */
async function firstWord(engine: "auto" | "native"): Promise<FromThread> {
  const entry = new URL("../../src/infer/model-thread-entry.ts", import.meta.url);
  const worker = new Worker(entry, {
    workerData: { ...options, path: file, engine },
    execArgv: ["--import", withoutNative],
  });
  onTestFinished(async () => {
    await worker.terminate();
  });
  return await new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

test("without the native runtime `auto` takes WebAssembly, and `native` says why there is none", async () => {
  expect(await firstWord("auto")).toMatchObject({ opened: { engine: "wasm" } });
  const word = await firstWord("native");
  expect(word).toEqual({
    refused: "the native runtime cannot be loaded here: no binary for this machine",
  });
});

async function scores(more: object): Promise<{ readonly found: Float32Array; readonly threads: number }> {
  const before = readdirSync("/proc/self/task").length;
  const thread = await ModelThread.open({ ...options, engine: "auto", path: file, ...more }, never);
  try {
    expect(thread.opened.engine).toBe("native");
    const outcome = await thread.run(scoreTask(scoreBody([1, 3, 32, 32], (i) => (i * 37) % 256)), 60_000);
    if (!("probabilities" in outcome)) throw new Error(JSON.stringify(outcome));
    return { found: outcome.probabilities, threads: readdirSync("/proc/self/task").length - before };
  } finally {
    thread.close();
    await thread.ended;
  }
}

test("several threads, and memory that is given back, change nothing of the scores", async () => {
  const { found, threads } = await scores({});
  for (const more of [{ memoryArena: "off" }, { threads: 3 }]) {
    const other = await scores(more);
    const worst = Math.max(...other.found.map((p, i) => Math.abs(p - (found[i] ?? Number.NaN))));
    expect([more, worst < 1e-6]).toEqual([more, true]);
    if ("threads" in more) expect(other.threads).toBeGreaterThan(threads);
  }
});
