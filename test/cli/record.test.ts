/** `headgate record` as a user meets it: a real process, and a real port on a pseudo-terminal. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseLine } from "../../src/sources/capture.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { TestBroker } from "../support/test-broker.ts";
import { until } from "../support/until.ts";
import { type Running, startProcess } from "./processes.ts";

const launcher = fileURLToPath(new URL("../../bin/headgate.js", import.meta.url));
let folder: string;
let device: SerialDevice;
let out: string;
let started: Running[];

beforeEach(() => {
  folder = temporaryFolder();
  out = join(folder, "capture.jsonl");
  started = [];
  device = new SerialDevice();
  device.line.plug();
});
afterEach(async () => {
  for (const one of started) one.stop("SIGKILL");
  await device.stop();
});

function config(sources: object, more: object = {}): string {
  const path = join(folder, "headgate.json");
  writeFileSync(path, JSON.stringify({ sources, store: { path: join(folder, "store") }, ...more }));
  return path;
}
const serial = (more: object = {}) => ({
  type: "serial",
  path: device.path,
  framing: { kind: "lines", first: "keep", maxBytes: 64 },
  decode: { format: "json" },
  device: "oven-1",
  ...more,
});
function start(args: readonly string[], environment?: Record<string, string>): Running {
  const one = startProcess(folder, args, environment);
  started.push(one);
  return one;
}
const record = (file: string, ...more: string[]) =>
  start(["record", "-c", file, "-s", "oven", "-o", out, ...more]);
const lines = () => readFileSync(out, "utf8").trimEnd().split("\n");
const frames = () =>
  lines()
    .slice(1)
    .map((line) => parseLine(line))
    .map((line) =>
      line && "discard" in line ? line.discard : Buffer.from(line?.bytes ?? []).toString("latin1"),
    );

async function interrupted(running: Running) {
  running.stop("SIGINT");
  return await running.done;
}

test("frames and discards are in the file as they come, and an interrupt ends it in order", async () => {
  const running = record(config({ oven: serial() }), "--json");
  await running.shows('"state":"open"');
  await device.send('{"t":21.5}\n');
  await until("it is in the file before the end", () => existsSync(out) && lines().length === 2);
  await device.send(`${"x".repeat(100)}\n\xff\x00\n`);
  await until("all of it", () => lines().length === 4);
  const { code, out: text } = await interrupted(running);
  expect(code).toBe(0);
  expect(frames()).toEqual(['{"t":21.5}', "overlong", "\xff\x00"]);
  expect(JSON.parse(lines()[0] ?? "")).toMatchObject({
    headgateCapture: 1,
    source: "oven",
    config: { type: "serial", path: device.path },
  });
  expect(JSON.parse(text)).toMatchObject({
    out,
    frames: 2,
    discards: { overlong: 1 },
    lost: 0,
    isFull: false,
  });
  expect(existsSync(join(folder, "store"))).toBe(false);
});

test("it stops by itself after a time, and when the file is as large as it may be", async () => {
  const file = config({ oven: serial() });
  const timed = record(file, "--for", "3s");
  await timed.shows('"state":"open"');
  await device.send("a\n");
  expect(await timed.done).toMatchObject({ code: 0, out: expect.stringContaining("1 frames in 3.") });
  rmSync(out);
  const full = record(file, "--max-bytes", "4096", "--json");
  await full.shows('"state":"open"');
  let isOver = false;
  const done = full.done.finally(() => {
    isOver = true;
  });
  while (!isOver) await Promise.race([done, device.send(`${"y".repeat(60)}\n`.repeat(10))]);
  const { code, out: text } = await done;
  expect(code).toBe(0);
  expect(JSON.parse(text)).toMatchObject({ isFull: true });
  expect(readFileSync(out).length).toBeLessThanOrEqual(4_096);
  expect(readFileSync(out).length).toBeGreaterThan(3_900);
  expect(
    lines()
      .slice(1)
      .every((line) => parseLine(line)),
  ).toBe(true);
}, 60_000);

test("a port that a running gateway has is refused at once, and nothing is written", async () => {
  const file = config({ oven: serial() }, { api: { state: "off" } });
  const environment = { HEADGATE__hub: '{"type":"mqtt","url":"mqtt://127.0.0.1:1"}' };
  const daemon = start(["run", "--config", file], environment);
  await daemon.shows('"state":"open"');
  const refused = await record(file).done;
  expect(refused.code).toBe(1);
  expect(refused.err).toContain("SOURCE_IN_USE");
  expect(refused.err).toContain("reads oven, and only one can");
  expect(existsSync(out)).toBe(false);
  daemon.stop("SIGTERM");
  expect((await daemon.done).code).toBe(0);
});

test("a port that some other process has is told as such", async () => {
  const file = config({ oven: serial() });
  const first = record(file);
  await first.shows('"state":"open"');
  const second = start(["record", "-c", file, "-s", "oven", "-o", `${out}.2`, "--for", "1s"]);
  expect(await second.done).toMatchObject({
    code: 1,
    out: expect.stringContaining("nothing came: the source is failed"),
  });
  expect((await second.done).out).toContain("another process has it open");
  expect((await interrupted(first)).code).toBe(0);
}, 60_000);

test("a file that is there is left alone", async () => {
  writeFileSync(out, "precious");
  const refused = await record(config({ oven: serial() })).done;
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining("EEXIST") });
  expect(readFileSync(out, "utf8")).toBe("precious");
});

test.each([
  ["no such source", (port: object) => ({ other: port }), [], "there are: other"],
  [
    "one that callers bring",
    () => ({ oven: { type: "http", decode: { format: "json" }, device: "d" } }),
    [],
    "cannot be recorded",
  ],
  [
    "one whose pictures a model scores",
    () => ({ oven: { type: "imageFolder", folder: "/d", model: "zoo", device: "d", state: "off" } }),
    [],
    "needs a model",
  ],
  ["no duration", (port: object) => ({ oven: port }), ["--for", "soon"], "--for"],
  ["no size", (port: object) => ({ oven: port }), ["--max-bytes", "1"], "--max-bytes"],
])("%s is a configuration error with a way out", async (_, sources, more, message) => {
  const refused = await record(config(sources(serial())), ...more).done;
  expect(refused).toMatchObject({ code: 78, err: expect.stringContaining(message) });
  expect(existsSync(out)).toBe(false);
});

test("a disk that takes no more ends it with the reason, and what was written stays a capture", async () => {
  writeFileSync(join(folder, "value"), "5\n");
  const chip = { type: "sysfs", root: folder, files: { v: { path: "value" } }, intervalMs: 10, device: "d" };
  const args = ["record", "-c", config({ oven: chip }), "-s", "oven", "-o", out, "--log-level", "warn"];
  const limited = spawnSync("prlimit", ["--fsize=4096", process.execPath, launcher, ...args], {
    cwd: folder,
    encoding: "utf8",
    timeout: 30_000,
  });
  expect(limited).toMatchObject({ status: 1, stderr: expect.stringContaining("EFBIG") });
  expect(
    frames()
      .slice(0, -1)
      .every((text) => text === '{"value":"5"}'),
  ).toBe(true);
  expect(frames().length).toBeGreaterThan(50);
}, 60_000);

test("a subscription beside a running one disturbs it not, and the broker keeps nothing of it", async () => {
  const broker = await new TestBroker().start();
  const unsubscribed: string[] = [];
  broker.aedes.on("unsubscribe", (topics) => unsubscribed.push(...topics));
  try {
    const url = broker.url;
    const file = config({
      oven: { type: "mqtt", url, topic: "t/+", decode: { format: "json" }, device: "d" },
    });
    const running = record(file);
    await running.shows('"state":"open"');
    await broker.publish("t/1", "hello");
    await until("the frame", () => lines().length === 2);
    expect(parseLine(lines()[1] ?? "")).toMatchObject({ origin: "t/1", bytes: Buffer.from("hello") });
    expect((await interrupted(running)).code).toBe(0);
    expect(broker.clientIds[0]).toMatch(/-oven-record-\d+$/);
    expect(unsubscribed).toEqual(["t/+"]);
  } finally {
    await broker.stop();
  }
});
