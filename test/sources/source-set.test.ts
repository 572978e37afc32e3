/** The set of sources, with real ports on pseudo-terminals. */
import { createServer } from "node:net";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { Config } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { FeedScorer } from "../../src/infer/feed-scorer.ts";
import { Door } from "../../src/sources/door.ts";
import { HubInbox } from "../../src/sources/hub-inbox.ts";
import { SerialSource } from "../../src/sources/serial-source.ts";
import { SourceSet } from "../../src/sources/source-set.ts";
import { jsonSource } from "../config/pipelines.ts";
import { recordingLog } from "../core/recording-log.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { TestBroker } from "../support/test-broker.ts";
import { until } from "../support/until.ts";

let devices: SerialDevice[];
let set: SourceSet;
let frames: string[];
let discards: string[];
let door: Door;
let log: ReturnType<typeof recordingLog>;

beforeEach(() => {
  devices = [new SerialDevice(), new SerialDevice()];
  for (const { line } of devices) line.plug();
  frames = [];
  discards = [];
  door = new Door();
  log = recordingLog();
  set = newSet();
});
afterEach(async () => {
  await set.stop(AbortSignal.timeout(10_000));
  await Promise.all(devices.map((device) => device.stop()));
});

function newSet(stopTimeoutMs?: number): SourceSet {
  return new SourceSet(
    {
      frame: (source, bytes) => {
        frames.push(`${source} ${Buffer.from(bytes).toString("latin1")}`);
        return true;
      },
      discard: (source, reason, bytes) => void discards.push(`${source} ${reason} ${bytes}`),
      hasRoom: () => true,
      committed: () => Promise.resolve(),
    },
    systemClock,
    log,
    {
      gateway: "box",
      environment: {},
      api: door,
      scores: new Door(),
      inbox: new HubInbox(systemClock, recordingLog()),
      scorer: new FeedScorer({ get: () => undefined }),
    },
    stopTimeoutMs,
  );
}

/** Sources by name: which device each reads, and what else its configuration says. */
function sources(entries: Record<string, [device: number, more?: JsonObject]>): Config["sources"] {
  const made = Object.entries(entries).map(([name, [device, more]]) => [
    name,
    jsonSource(name, {
      path: devices[device]?.path ?? "",
      framing: { kind: "lines", first: "keep" },
      ...more,
    }),
  ]);
  const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: Object.fromEntries(made) };
  return checkConfig(config).config.sources;
}
const states = () => Object.entries(set.status).map(([name, { state }]) => `${name} ${state}`);
const open = (...names: string[]) =>
  until(`${names} open`, () => states().join() === names.map((name) => `${name} open`).join());

test("sources start, and each frame says whose it is", async () => {
  await set.configure(sources({ a: [0], b: [1] }));
  await open("a", "b");
  await devices[1]?.send("x\n");
  await until("the frame", () => frames.length === 1);
  expect(frames).toEqual(["b x"]);
});

test("what a framer discards is shown in hex at debug level, by how it begins, with its source and size", async () => {
  const framing = { kind: "lines", first: "keep", maxBytes: 100 };
  await set.configure(sources({ a: [0, { framing }], b: [1, { framing: { kind: "slip", first: "keep" } }] }));
  await open("a", "b");
  await devices[0]?.send(`${"x".repeat(300)}\nok\n`);
  await devices[1]?.send("\xc0\x01\xdb\x01\xc0\x02\xc0");
  await until("the frames behind them", () => frames.length === 2);
  const shown = log.lines.filter(({ message }) => message === "a frame brought no reading");
  expect(shown.map(({ level }) => level)).toEqual(["debug", "debug"]);
  expect(shown.map(({ object }) => object)).toEqual(
    expect.arrayContaining([
      { source: "a", reason: "overlong", hex: "78".repeat(64), bytes: 300 },
      { source: "b", reason: "malformed", hex: "01db01", bytes: 3 },
    ]),
  );
});

test("a source that cannot be made is failed, the others run, and it is forgotten when it goes", async () => {
  const { a, b, camera } = checkConfig({
    gateway: { name: "box" },
    hub: { type: "edge" },
    models: { zoo: { file: "/m.onnx" } },
    sources: {
      camera: { type: "imageUrl", url: "http://cam/x.jpg", device: "d", model: "zoo", intervalMs: 1_000 },
      a: jsonSource("a", { path: devices[0]?.path ?? "" }),
      b: jsonSource("b", { path: devices[1]?.path ?? "" }),
    },
  }).config.sources;
  if (!a || !b || !camera) throw new Error("there are three");
  // This set has nobody who scores pictures.
  await set.configure({ camera, a, b });
  await until("the others", () => set.status.a?.state === "open" && set.status.b?.state === "open");
  expect(set.status.camera).toMatchObject({ state: "failed", reason: expect.stringContaining("pictures") });
  await set.configure({ a, b });
  expect(Object.keys(set.status).sort()).toEqual(["a", "b"]);
});

test("a source that goes is stopped, and its port is free for the one that takes its place", async () => {
  await set.configure(sources({ a: [0], b: [1] }));
  await open("a", "b");
  await set.configure(sources({ c: [1], a: [0] }));
  await open("a", "c");
  await devices[1]?.send("x\n");
  await until("the frame", () => frames.length === 1);
  expect(frames).toEqual(["c x"]);
});

test("what only the pipeline needs does not touch the port", async () => {
  await set.configure(sources({ a: [0] }));
  await open("a");
  await devices[0]?.send("half ");
  await set.configure(sources({ a: [0, { device: "other", intervalMs: 50, idleMs: 7_000 }] }));
  await devices[0]?.send("a line\n");
  await until("the frame", () => frames.length === 1);
  expect(frames).toEqual(["a half a line"]);
});

test("what is only known of a register's values leaves the connection of its unit open", async () => {
  let connections = 0;
  let questions = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on("error", () => undefined);
    socket.on("data", (request) => {
      questions++;
      const header = Buffer.from(request.subarray(0, 7));
      header.writeUInt16BE(5, 4);
      socket.write(Buffer.concat([header, Buffer.from("0302002a", "hex")]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  const unit = (register: JsonObject) => {
    const line = { type: "modbus", transport: "tcp", host: "127.0.0.1", port, unit: 1, intervalMs: 100 };
    const oven = { ...line, device: "oven", registers: { temperature: { address: 0, ...register } } };
    const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { oven } };
    return set.configure(checkConfig(config).config.sources);
  };
  const asked = async () => {
    const before = questions;
    await until("two questions", () => questions >= before + 2);
  };
  await unit({});
  await asked();
  await unit({ unit: "°C", min: 0, max: 250 });
  await asked();
  expect(connections).toBe(1);
  await unit({ unit: "°C", min: 0, max: 250, type: "int16" });
  await asked();
  expect(connections).toBe(2);
});

test("a source that is off is not started, and stopped when it ran", async () => {
  await set.configure(sources({ a: [0], b: [1, { state: "off" }] }));
  await open("a");
  await set.configure(sources({ a: [0, { state: "off" }], b: [1] }));
  await open("b");
});

/** The first source that is to stop does not before the function that this returns is called. */
function hangStops(): () => void {
  const { stop } = SerialSource.prototype;
  let end: () => void = () => undefined;
  const hung = new Promise<void>((resolve) => {
    end = resolve;
  });
  let first: SerialSource | undefined;
  vi.spyOn(SerialSource.prototype, "stop").mockImplementation(async function (this: SerialSource) {
    first ??= this;
    if (first === this) await hung;
    await stop.call(this);
  });
  onTestFinished(() => {
    end();
    vi.restoreAllMocks();
  });
  return end;
}

test("a source that does not stop holds up neither a change nor the others, and is followed when it has stopped", async () => {
  set = newSet(100);
  const end = hangStops();
  await set.configure(sources({ a: [0], b: [1] }));
  await open("a", "b");
  await set.configure(sources({ a: [0, { baudRate: 9_600 }], c: [1] }));
  expect(set.status.a).toEqual({ state: "failed", reason: expect.stringContaining("does not stop") });
  await until("c open", () => set.status.c?.state === "open");
  await devices[0]?.send("old\n");
  await until("the discard", () => discards.length > 0);
  expect(discards).toEqual(["a unknownSource 3"]);
  end();
  await open("c", "a");
  await devices[0]?.send("new\n");
  await until("the frame", () => frames.length > 0);
  expect(frames).toEqual(["a new"]);
});

test("of a source that does not stop, what was wanted of it last comes after it, once", async () => {
  set = newSet(50);
  const end = hangStops();
  const starts = vi.spyOn(SerialSource.prototype, "start");
  await set.configure(sources({ a: [0] }));
  await open("a");
  await set.configure(sources({ a: [0, { baudRate: 9_600 }] }));
  await set.configure(sources({ a: [1] }));
  expect(starts).toHaveBeenCalledTimes(1);
  end();
  await open("a");
  await devices[1]?.send("x\n");
  await until("the frame", () => frames.length > 0);
  expect(frames).toEqual(["a x"]);
  expect(starts).toHaveBeenCalledTimes(2);
});

test("a configuration that comes after the stop starts nothing", async () => {
  await set.configure(sources({ a: [0] }));
  await open("a");
  await set.stop(AbortSignal.timeout(10_000));
  await set.configure(sources({ a: [0], b: [1] }));
  expect(states()).toEqual([]);
});

test("a configuration that waits for a port to close while the stop comes starts nothing", async () => {
  await set.configure(sources({ a: [0] }));
  await open("a");
  const configured = set.configure(sources({ b: [1] }));
  await set.stop(AbortSignal.timeout(10_000));
  await configured;
  expect(states()).toEqual([]);
});

test("a source whose readings come through the API is open while the API can be reached", async () => {
  const http = { type: "http", decode: { format: "json" }, device: "d" };
  const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { yard: http, roof: http } };
  const { sources: both } = checkConfig(config).config;
  const [yard] = Object.entries(both);
  await set.configure(both);
  expect(states()).toEqual(["yard opening", "roof opening"]);
  door.set({ state: "open", reason: undefined });
  expect(states()).toEqual(["yard open", "roof open"]);
  await set.configure(Object.fromEntries(yard ? [yard] : []));
  door.set({ state: "failed", reason: "the port is taken" });
  expect(set.status).toEqual({ yard: { state: "failed", reason: "the port is taken" } });
  door.set({ state: "open", reason: undefined });
  await set.configure(both);
  expect(states()).toEqual(["yard open", "roof open"]);
});

test("a source of a broker unsubscribes when its topic changes or it goes, not when something else changes or all stops", async () => {
  const broker = await new TestBroker().start();
  onTestFinished(() => broker.stop());
  const unsubscribed: string[] = [];
  broker.aedes.on("unsubscribe", (topics) => unsubscribed.push(...topics));
  const configure = async (more: JsonObject) => {
    const yard = { ...jsonSource("yard"), type: "mqtt", url: broker.url, topic: "a/#", ...more };
    const { path: _, ...source } = yard as JsonObject;
    const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { yard: source } };
    await set.configure(checkConfig(config).config.sources);
  };
  await configure({});
  await open("yard");
  await configure({ maxPayloadBytes: 1_000 });
  await open("yard");
  expect(unsubscribed).toEqual([]);
  await configure({ topic: "b/#" });
  await open("yard");
  expect(unsubscribed).toEqual(["a/#"]);
  await configure({ topic: "b/#", state: "off" });
  expect(unsubscribed).toEqual(["a/#", "b/#"]);
  await configure({ topic: "c/#" });
  await open("yard");
  await set.stop(AbortSignal.timeout(10_000));
  expect(unsubscribed).toEqual(["a/#", "b/#"]);
});
