/**
 * A daemon whose model's thread is inside the runtime when it is wanted no more: a real process and a model that takes
 * a second to load, because what small ones do is over before anything can hit it.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { type Running, startProcess } from "../cli/processes.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { modelFile } from "./running-model.ts";

let modelFolder: string;
let file: string;
beforeAll(() => {
  modelFolder = mkdtempSync(join(tmpdir(), "headgate-large-model-"));
  file = modelFile(modelFolder, "large.onnx", resNet({ width: 64, seed: 1, size: 224, classes: 1000 })).file;
});
afterAll(() => rmSync(modelFolder, { recursive: true, force: true }));

interface Daemon extends Running {
  readonly url: string;
}

function configure(folder: string, models: object): void {
  const config = {
    models,
    store: { path: join(folder, "store") },
    api: { port: 0, scoring: "open" },
    hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" },
  };
  writeFileSync(join(folder, "headgate.json"), JSON.stringify(config));
}

async function start(folder: string, models: object): Promise<Daemon> {
  configure(folder, models);
  const running = startProcess(folder, ["run", "--config", "headgate.json"]);
  onTestFinished(() => running.stop("SIGKILL"));
  await running.shows('"running"');
  return { ...running, url: /"url":"(http:[^"]+)"/.exec(running.errors())?.[1] ?? "" };
}

/** The runtime's library is there, and the load of a second has begun. */
async function loads({ pid }: Daemon): Promise<void> {
  await until("the runtime is loaded", () =>
    readFileSync(`/proc/${pid}/maps`, "utf8").includes("onnxruntime"),
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
}

const threads = ({ pid }: Daemon) =>
  Number(/Threads:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

/** Stops in order, and the next start finds nothing amiss. */
async function stopsInOrder(folder: string, daemon: Daemon): Promise<void> {
  daemon.stop("SIGTERM");
  const { code, err } = await daemon.done;
  expect([code, err]).toEqual([0, expect.stringContaining('"stopped"')]);
  const next = await start(folder, {});
  next.stop("SIGTERM");
  expect((await next.done).err).not.toContain("did not stop in order");
}

/** `images` at once, whose answer's status and error are told. */
async function score({ url }: Daemon, images: number): Promise<string> {
  const response = await fetch(`${url}/score`, {
    method: "POST",
    headers: {
      "content-type": "application/octet-stream",
      "tensor-shape": `${images},3,224,224`,
      "tensor-type": "uint8",
    },
    body: new Uint8Array(images * 3 * 224 * 224),
  });
  const { error } = (await response.json()) as { error?: { code: string } | string };
  return `${response.status} ${typeof error === "object" ? error.code : (error ?? "")}`;
}

test("a stop while it loads is in order", async () => {
  const folder = temporaryFolder();
  const daemon = await start(folder, { zoo: { file, threads: 1 } });
  await loads(daemon);
  await stopsInOrder(folder, daemon);
});

test("a configuration without it while it loads is in force at once, and its thread ends by itself", async () => {
  const folder = temporaryFolder();
  const daemon = await start(folder, { zoo: { file, threads: 1 } });
  await loads(daemon);
  configure(folder, {});
  daemon.stop("SIGHUP");
  await until("it is gone", async () => Object.keys(await models(daemon)).length === 0);
  // Counted only now, because the load may start threads; one that had ended already would not end below.
  const behind = threads(daemon);
  await until("its thread has ended", () => threads(daemon) < behind);
  await stopsInOrder(folder, daemon);
});

test("a run that is given up ends behind it, the model is loaded again, and a stop answers who waits", async () => {
  const folder = temporaryFolder();
  const daemon = await start(folder, { zoo: { file, threads: 1, timeoutMs: 100 } });
  const ready = () => until("it is ready", async () => (await models(daemon)).zoo?.state === "ready");
  await ready();
  expect(await score(daemon, 8)).toMatch(/^503 /);
  await ready();
  configure(folder, { zoo: { file, threads: 1, timeoutMs: 60_000 } });
  daemon.stop("SIGHUP");
  await daemon.shows("is in force");
  const answers = Promise.all([1, 2, 3, 4].map(() => score(daemon, 16)));
  await until("they wait", async () => (await models(daemon)).zoo?.inside === 4);
  await stopsInOrder(folder, daemon);
  expect(await answers).toEqual(Array(4).fill("503 the gateway stops"));
});

test("a stop answers who waits for a model that is configured no more", async () => {
  const folder = temporaryFolder();
  const daemon = await start(folder, { zoo: { file, threads: 1 } });
  await until("it is ready", async () => (await models(daemon)).zoo?.state === "ready");
  const answers = Promise.all([1, 2, 3, 4].map(() => score(daemon, 32)));
  await until("they wait", async () => (await models(daemon)).zoo?.inside === 4);
  configure(folder, {});
  daemon.stop("SIGHUP");
  await until("it is gone", async () => Object.keys(await models(daemon)).length === 0);
  await stopsInOrder(folder, daemon);
  expect(await answers).toEqual(Array(4).fill("503 the gateway stops"));
});

async function models({ url }: Daemon): Promise<Record<string, { state: string; inside: number }>> {
  return ((await (await fetch(`${url}/models`)).json()) as { models: Record<string, never> }).models;
}
