/** A model from file or URL: found, checked, loaded, asked, replaced while it runs. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { identityOfImage, twoInputs } from "../../bench/onnx/small-models.ts";
import { leavingThreads } from "../../src/infer/model-thread.ts";
import { isRefusal } from "../../src/infer/refusal.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { served as serve } from "../support/served.ts";
import { until } from "../support/until.ts";
import {
  impatientClock,
  modelConfig,
  modelFile,
  probabilitiesOf,
  runningModel,
  scoreBody,
  scoreTask,
} from "./running-model.ts";

let folder: string;
beforeEach(() => {
  folder = temporaryFolder();
});

const small = { width: 4, seed: 5, size: 32, classes: 10 };
const body = () => scoreBody([1, 3, 32, 32], (i) => i % 256);
const other = "0".repeat(64);

const served = async (answer: RequestListener) => `${(await serve(answer)).url}/model.onnx`;

describe("from a file", () => {
  test("it is reported with hash, size, engine and shapes, and scores", async () => {
    const { file, sha256, bytes } = modelFile(folder, "m.onnx", resNet(small));
    const { model, state, ask } = runningModel(folder, { file, sha256 });
    await state("ready");
    expect(model.status).toMatchObject({
      reason: undefined,
      sha256,
      bytes,
      engine: "native",
      threads: 1,
      inputs: [{ name: "data", type: "float32", shape: ["N", 3, 32, 32] }],
      outputs: [{ type: "float32", shape: ["N", 10] }],
    });
    const probabilities = probabilitiesOf(await ask(scoreTask(body())));
    expect([...(probabilities as Float32Array)].reduce((a, b) => a + b)).toBeCloseTo(1, 5);
    expect(model.status.counts).toEqual({ scored: 1, refused: 0, busy: 0, failed: 0, cancelled: 0 });
  });

  test("that is absent it waits for, and says so; nobody who asks meanwhile waits", async () => {
    const file = join(folder, "m.onnx");
    const { model, state, ask } = runningModel(folder, { file });
    await state("failed");
    expect(model.status.reason).toContain("m.onnx");
    expect(probabilitiesOf(await ask(scoreTask(body())))).toBe("notReady");
    modelFile(folder, "n.onnx", resNet(small));
    renameSync(join(folder, "n.onnx"), file);
    await state("ready");
  });

  test.each([
    ["another hash", (f: string) => ({ ...modelFile(f, "m.onnx", resNet(small)), sha256: other }), "SHA-256"],
    ["no model", (f: string) => modelFile(f, "m.onnx", [Buffer.from("text")]), "runtime does not take"],
    ["too large", (f: string) => ({ ...modelFile(f, "m.onnx", resNet(small)), maxBytes: 1_024 }), "maxBytes"],
    ["a folder", (f: string) => ({ file: f }), "no file"],
    ["a pipe", (f: string) => ({ file: pipe(f) }), "no file"],
  ] as [string, (folder: string) => { file: string; sha256?: string; maxBytes?: number }, string][])(
    "that is %s is refused with the reason",
    async (_, config, reason) => {
      const { file, sha256, maxBytes } = config(folder);
      // The digest of the writer is not meant.
      const expected = sha256 === other ? { sha256 } : {};
      const { model, state } = runningModel(folder, { file, ...expected, ...(maxBytes ? { maxBytes } : {}) });
      await state("failed");
      expect(model.status.reason).toContain(reason);
    },
  );

  test("that was refused is looked at again, and taken when it is mended", async () => {
    const { file } = modelFile(folder, "m.onnx", [Buffer.from("text")]);
    const { model, state } = runningModel(folder, { file }, impatientClock);
    await state("failed");
    const { file: mended, sha256 } = modelFile(folder, "n.onnx", resNet(small));
    renameSync(mended, file);
    await state("ready");
    expect(model.status).toMatchObject({ sha256, reason: undefined });
  });

  function pipe(folder: string): string {
    const path = join(folder, "pipe");
    execFileSync("mkfifo", [path]);
    return path;
  }
});

describe("labels", () => {
  const refused = [
    ["absent", undefined, "reading labels"],
    ["not JSON, without a word of what stands there", "root:x:0:0", "not JSON"],
    ["a list", '["tench"]', "no object"],
    ["with a gap", '{"0":["a","b"],"2":["a","b"]}', "no [id, name] at 1"],
    ["more than the model has classes", JSON.stringify(namesOf(11)), "11 labels"],
  ] as const;
  test.each(refused)("that are %s keep the model from use", async (_, text, reason) => {
    const { file } = modelFile(folder, "m.onnx", resNet(small));
    const labels = join(folder, "labels.json");
    if (text !== undefined) writeFileSync(labels, text);
    const { model, state } = runningModel(folder, { file, labels });
    await state("failed");
    expect(model.status.reason).toContain(reason);
    expect(model.status.reason).not.toContain("root");
  });

  test("are told beside the model", async () => {
    const { file } = modelFile(folder, "m.onnx", resNet(small));
    const labels = join(folder, "labels.json");
    writeFileSync(labels, JSON.stringify(namesOf(10)));
    const { state, ask } = runningModel(folder, { file, labels });
    await state("ready");
    const answer = await ask(scoreTask(body()));
    expect(isRefusal(answer) || answer.by.labels?.[3]).toEqual({ id: "n3", name: "name 3" });
  });

  function namesOf(count: number) {
    return Object.fromEntries(Array.from({ length: count }, (_, i) => [i, [`n${i}`, `name ${i}`]]));
  }
});

describe("from a URL", () => {
  test("it is fetched once, kept, and fetched again when what was kept is damaged", async () => {
    const { file, sha256 } = modelFile(folder, "m.onnx", resNet(small));
    let fetches = 0;
    const url = await served((_, response) => {
      fetches++;
      response.end(readFileSync(file));
    });
    for (let i = 0; i < 2; i++) {
      const { state, model } = runningModel(folder, { url, sha256 });
      await state("ready");
      await model.stop();
    }
    expect(fetches).toBe(1);
    const kept = join(folder, "models", `${sha256}.onnx`);
    expect(readdirSync(join(folder, "models"))).toEqual([`${sha256}.onnx`]);
    writeFileSync(kept, "damaged");
    const { state } = runningModel(folder, { url, sha256 });
    await state("ready");
    expect(fetches).toBe(2);
  });

  test("a server that is away, fails or breaks off is tried again, and nothing half is left", async () => {
    const { file, sha256, bytes } = modelFile(folder, "m.onnx", resNet(small));
    let fetches = 0;
    const url = await served((_, response) => {
      fetches++;
      if (fetches === 1) response.writeHead(503).end();
      else if (fetches === 2) {
        response.writeHead(200, { "content-length": bytes });
        response.write(readFileSync(file).subarray(0, 1_000), () => response.destroy());
      } else response.end(readFileSync(file));
    });
    const { state, log } = runningModel(folder, { url, sha256 });
    await state("ready");
    expect(fetches).toBe(3);
    expect(readdirSync(join(folder, "models"))).toEqual([`${sha256}.onnx`]);
    expect(JSON.stringify(log.lines)).toContain("it answers 503");
  });

  test.each([
    ["another file", {}, "SHA-256"],
    ["more than maxBytes", { maxBytes: 2_000 }, "maxBytes"],
  ])("that brings %s is refused, and not fetched again and again", async (_, more, reason) => {
    let fetches = 0;
    const url = await served((_, response) => {
      fetches++;
      response.end(Buffer.alloc(3_000));
    });
    const { model, state } = runningModel(folder, { url, sha256: other, ...more }, impatientClock);
    await state("failed");
    expect(model.status.reason).toContain(reason);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(fetches).toBe(1);
    expect(readdirSync(join(folder, "models"))).toEqual([]);
  });

  test("a server that sends for ever is given up after fetchTimeoutMs", async () => {
    const url = await served((_, response) => {
      response.on("error", () => undefined);
      const drip = setInterval(() => response.write("x"), 20);
      response.on("close", () => clearInterval(drip));
    });
    const { model, state } = runningModel(folder, { url, sha256: other, fetchTimeoutMs: 1_000 });
    await state("failed");
    expect(model.status.reason).toContain("fetching");
    await model.stop();
    expect(readdirSync(join(folder, "models"))).toEqual([]);
  });

  test("an error's body is not waited for, and its connection not kept", async () => {
    let isClosed = false;
    const url = await served((request, response) => {
      request.socket.once("close", () => {
        isClosed = true;
      });
      response.writeHead(503).write("sorry");
    });
    const { model, state } = runningModel(folder, { url, sha256: other });
    await state("failed");
    expect(model.status.reason).toContain("it answers 503");
    await until("it is closed", () => isClosed, 5_000);
  });

  test("a stop ends a fetch", async () => {
    mkdirSync(join(folder, "models"));
    let isAsked = false;
    const url = await served(() => {
      isAsked = true;
    });
    const { model } = runningModel(folder, { url, sha256: other });
    await until("it is asked", () => isAsked);
    await model.stop();
    expect(model.status.state).toBe("stopped");
  });
});

describe("replaced while it runs", () => {
  test("everybody who asks meanwhile is answered, by the old or the new one", async () => {
    const a = modelFile(folder, "a.onnx", resNet(small));
    const b = modelFile(folder, "b.onnx", resNet({ ...small, seed: 6 }));
    const { model, state, ask } = runningModel(folder, { file: a.file, maxQueue: 256 });
    await state("ready");
    const [before] = probabilitiesOf(await ask(scoreTask(body()))) as Float32Array;
    model.configure(modelConfig({ file: b.file, maxQueue: 256 }));
    const firsts: unknown[] = [];
    // Without a pause, in which nobody would ask; a model that is stopped answers too, so that only this ends it.
    const endMs = Date.now() + 20_000;
    while (model.status.sha256 !== b.sha256) {
      expect(Date.now()).toBeLessThan(endMs);
      const answers = await Promise.all([1, 2, 3].map(() => ask(scoreTask(body()))));
      firsts.push(...answers.map((answer) => probabilitiesOf(answer)[0]));
    }
    const [after] = probabilitiesOf(await ask(scoreTask(body()))) as Float32Array;
    expect(before).not.toBe(after);
    expect(new Set([...firsts, before, after])).toEqual(new Set([before, after]));
    expect(model.status).toMatchObject({ state: "ready", reason: undefined, inside: 0 });
  });

  test("by one that is refused, the old one goes on, says so, and is not loaded anew when it is wanted again", async () => {
    const a = modelFile(folder, "a.onnx", resNet(small));
    const { model, state, ask } = runningModel(folder, { file: a.file });
    await state("ready");
    const answering = async () => {
      const answer = await ask(scoreTask(body()));
      if (isRefusal(answer)) throw new Error(answer.message);
      return answer.by;
    };
    const { opened } = await answering();
    const mean = [0.1, 0.2, 0.3];
    model.configure(modelConfig({ file: a.file, sha256: other, image: { mean } }));
    await until("it is refused", () => model.status.reason !== undefined);
    expect(model.status).toMatchObject({ state: "ready", sha256: a.sha256 });
    expect(model.status.reason).toContain("SHA-256");
    // Settings belong to the model that they came with.
    expect((await answering()).config.image.mean).not.toEqual(mean);
    model.configure(modelConfig({ file: a.file }));
    await until("it is content", () => model.status.reason === undefined);
    expect((await answering()).opened).toBe(opened);
  });

  test("settings alone change without a load", async () => {
    const a = modelFile(folder, "a.onnx", resNet(small));
    const { model, state, ask } = runningModel(folder, { file: a.file });
    await state("ready");
    model.configure(modelConfig({ file: a.file, timeoutMs: 12_345 }));
    const answer = await ask(scoreTask(body()));
    expect(isRefusal(answer) || answer.by.config.timeoutMs).toBe(12_345);
    expect(model.status.state).toBe("ready");
  });
});

describe("asked for more than it can do", () => {
  const large = () => scoreBody([8, 3, 128, 128], (i) => i % 256);
  const heavy = { width: 16, seed: 5, size: 128, classes: 10 };

  test("who finds no place is told so at once; who is gone gives his place back", async () => {
    const { file } = modelFile(folder, "m.onnx", resNet(heavy));
    const { model, state, ask } = runningModel(folder, { file, maxQueue: 1 });
    await state("ready");
    const gone = new AbortController();
    const first = ask(scoreTask(large()));
    const second = ask(scoreTask(large()), gone.signal);
    expect(probabilitiesOf(await ask(scoreTask(large())))).toBe("busy");
    gone.abort();
    expect(probabilitiesOf(await second)).toBe("cancelled");
    const third = ask(scoreTask(large()));
    expect(probabilitiesOf(await first)).toHaveLength(80);
    expect(probabilitiesOf(await third)).toHaveLength(80);
    expect(model.status.counts).toMatchObject({ scored: 2, busy: 1, cancelled: 1 });
    expect(model.status.inside).toBe(0);
  });

  test("a run beyond timeoutMs costs the thread, and the model is loaded again", async () => {
    const { file } = modelFile(folder, "m.onnx", resNet(heavy));
    const { model, state, ask } = runningModel(folder, { file, timeoutMs: 100 });
    await state("ready");
    const huge = scoreBody([64, 3, 128, 128], (i) => i % 256);
    expect(probabilitiesOf(await ask(scoreTask(huge)))).toBe("lost");
    await state("failed");
    expect(model.status.reason).toContain("100 ms");
    await state("ready");
  });

  test("threads that were given up and still run are bounded: another one waits for their end, and says so", async () => {
    const { file } = modelFile(folder, "m.onnx", resNet(heavy));
    const { model, state, ask, log } = runningModel(folder, { file, timeoutMs: 100 }, impatientClock);
    const huge = { form: { kind: "binary", shape: [512, 3, 128, 128], type: "uint8" } };
    for (let i = 0; i < 2; i++) {
      await state("ready");
      const answer = await ask(scoreTask(new Uint8Array(512 * 3 * 128 * 128), huge));
      expect(probabilitiesOf(answer)).toBe("lost");
    }
    expect(leavingThreads()).toBe(2);
    await until("it waits", () => JSON.stringify(log.lines).includes("2 threads that were given up"));
    await state("ready");
    expect(model.status.reason).toBeUndefined();
  });

  test("a thread that is lost while another model is configured and refused is asked no more", async () => {
    const { file } = modelFile(folder, "m.onnx", resNet(heavy));
    const { model, state, ask } = runningModel(folder, { file, timeoutMs: 100 });
    await state("ready");
    model.configure(modelConfig({ file, sha256: other }));
    await until("it is refused", () => model.status.reason !== undefined);
    expect(model.status.state).toBe("ready");
    const huge = scoreBody([64, 3, 128, 128], (i) => i % 256);
    expect(probabilitiesOf(await ask(scoreTask(huge)))).toBe("lost");
    expect(model.status).toMatchObject({ state: "failed", sha256: undefined });
    expect(probabilitiesOf(await ask(scoreTask(huge)))).toBe("notReady");
  });

  test("bad input is refused by name, and the model goes on", async () => {
    const { file } = modelFile(folder, "m.onnx", identityOfImage(2));
    const { model, state, ask } = runningModel(folder, { file });
    await state("ready");
    const refused = async (text: string) => probabilitiesOf(await ask(scoreTask(Buffer.from(text))));
    expect(await refused("{")).toBe("malformed");
    expect(await refused("[1]")).toBe("noData");
    expect(await refused('{"data":[[1],[1,2]]}')).toBe("ragged");
    expect(await refused('{"data":[[null]]}')).toBe("notANumber");
    expect(await refused('{"data":[[NaN]]}')).toBe("malformed");
    expect(await refused('{"data":[[1e999]]}')).toBe("notFinite");
    expect(await refused('{"data":[1,2]}')).toBe("badShape");
    expect(await refused('{"data":[]}')).toBe("badShape");
    expect(await refused(`{"data":${"[".repeat(50_000)}${"]".repeat(50_000)}}`)).toBe("badShape");
    expect(probabilitiesOf(await ask(scoreTask(scoreBody([1, 3, 2, 2], () => 0))))).toHaveLength(12);
    expect(model.status.counts).toMatchObject({ scored: 1, refused: 9 });
  });

  test("a model of two inputs is no model of images, and says what it takes", async () => {
    const { file } = modelFile(folder, "m.onnx", twoInputs());
    const { state, ask } = runningModel(folder, { file });
    await state("ready");
    const answer = await ask(scoreTask(Buffer.from('{"data":[[1,2,3,4]]}')));
    expect(answer).toMatchObject({ refusal: "unsuitableModel" });
    expect(isRefusal(answer) && answer.message).toContain("a: float32 [N,4]; b: float32 [N,4]");
  });
});
