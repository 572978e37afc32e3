/** What an image runs: the bundle, with no sources beside it. */
import { execFileSync, spawn } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, expect, test } from "vitest";
import { resNet } from "../../bench/onnx/resnet.ts";
import { writeModel } from "../../bench/onnx/write-model.ts";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { until } from "../support/until.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;
let launcher: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-bundle-"));
  const bundler = join(project, "node_modules/.bin/rolldown");
  const args = ["-c", "rolldown.config.js", "--dir", join(folder, "dist")];
  execFileSync(bundler, args, { cwd: project, stdio: ["ignore", "ignore", 2] });
  mkdirSync(join(folder, "bin"));
  for (const file of ["package.json", "bin/headgate.js"])
    copyFileSync(join(project, file), join(folder, file));
  symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
  launcher = join(folder, "bin/headgate.js");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("it simulates: devices, store, direct client, embedded hub", () => {
  const args = [launcher, "simulate", "--for", "5s", "--window", "1s", "--json", "--log-level", "error"];
  const out = execFileSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 });
  const messages = out.trim().split("\n");
  expect(messages.length).toBeGreaterThan(0);
  for (const message of messages) expect(JSON.parse(message)).toBeTypeOf("object");
});

test("it runs with the SDK's client, whose packages stay outside", async () => {
  const hub = await startEmbeddedHub();
  const line = { type: "hub", decode: { format: "json" }, device: "d" };
  const config = {
    gateway: { name: "box" },
    sources: { line },
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    hub: { type: "edge", client: "sdk" },
    api: { state: "off" },
  };
  const file = join(folder, "headgate.json");
  writeFileSync(file, JSON.stringify(config));
  const env = { ...process.env, ...hub.environment("gateway") };
  const child = spawn(process.execPath, [launcher, "run", "--config", file], { env, stdio: "ignore" });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  try {
    await until("the gateway is connected", () => hub.isConnected(hub.deviceId, "gateway"));
    expect(await hub.sendInput("gateway", "any", { body: `{"t":1}` })).toBe(true);
    await until("the reading is at the hub", () => hub.messages.length > 0);
    expect(child.kill("SIGTERM")).toBe(true);
    expect(await ended).toBe(0);
  } finally {
    child.kill("SIGKILL");
    await hub.stop();
  }
});

test("it scores: both runtimes and the image library stay outside", async () => {
  const model = join(folder, "model.onnx");
  writeModel(model, resNet({ width: 2, seed: 1, size: 32, classes: 3 }));
  const image = join(folder, "image.png");
  const create = { width: 40, height: 30, channels: 3, background: "red" } as const;
  await sharp({ create }).png().toFile(image);
  const models = { native: { file: model }, wasm: { file: model, engine: "wasm", threads: 1 } };
  const config = join(folder, "models.json");
  writeFileSync(config, JSON.stringify({ models, hub: { type: "mqtt", url: "mqtt://127.0.0.1:9" } }));
  const labelsOf = (name: string) => {
    const args = [launcher, "classify", image, "--config", config, "--model", name, "--json"];
    return JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8", timeout: 60_000 })).labels;
  };
  const [native, wasm] = [labelsOf("native"), labelsOf("wasm")];
  expect(native).toHaveLength(3);
  expect(wasm.map(({ index }: { index: number }) => index)).toEqual(
    native.map(({ index }: { index: number }) => index),
  );
});

test("the threads stand beside the program, where the program looks for them", () => {
  const threads = ["main.js", "store-thread.js", "model-thread-entry.js"];
  expect(readdirSync(join(folder, "dist"))).toEqual(expect.arrayContaining(threads));
});
