/** The whole daemon: a device on a pseudo-terminal, the real store thread, the default hub client, the embedded hub. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../src/core/clock.ts";
import type { TimeQuality } from "../src/core/reading.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import type { GatewayOptions } from "../src/gateway-options.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import { messageBody } from "../src/outbox/entry-schema.ts";
import { recordingLog } from "./core/recording-log.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { until } from "./support/until.ts";

interface WindowEntry {
  readonly id: string;
  readonly revision: number;
  readonly kind: string;
  readonly window: string;
  readonly device: string;
  readonly windowStart: string;
  readonly timeQuality: string;
  readonly count: number;
  readonly bad: number;
  readonly quality: string;
  readonly partial?: string;
  readonly channels: Record<string, Record<string, number>>;
}

let folder: string;
let hub: EmbeddedHub;
let device: SerialDevice;
let gateway: Gateway | undefined;
let log: ReturnType<typeof recordingLog>;
let fatal: unknown[];
/** The device's own clock: windows then follow from what it sends, not from when a test machine gets round to it. */
let deviceMs: number;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-test-"));
  hub = await startEmbeddedHub();
  device = new SerialDevice();
  device.line.plug();
  log = recordingLog();
  fatal = [];
  deviceMs = Math.floor(Date.now() / 1000) * 1000 - 100_000;
});

afterEach(async () => {
  await stop();
  await device.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
  expect(fatal).toEqual([]);
});

/** Every test ends with the books in order, counted anew from windows and rows. */
async function stop(): Promise<void> {
  const running = gateway;
  gateway = undefined;
  if (!running) return;
  expect(imbalances(await running.audit())).toEqual([]);
  await running.stop(AbortSignal.timeout(8_000));
}

async function start(more: object = {}, clock: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const config = {
    gateway: { name: "box" },
    sources: {
      oven: {
        type: "serial",
        path: device.path,
        framing: { kind: "lines", first: "keep" },
        decode: { format: "json", time: { field: "t" }, ignore: ["seq"] },
        device: { field: "id" },
        idleMs: 600_000,
      },
    },
    windows: { second: { sizeMs: 1_000 } },
    publish: { maxDelayMs: 0 },
    report: { minSpacingMs: 100, intervalMs: 1_000 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    // A test machine's clock may be known good or not.
    clock: { maxHoldMs: 0 },
    ...more,
  };
  const configFile = join(folder, "headgate.json");
  writeFileSync(configFile, JSON.stringify(config));
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  gateway = await Gateway.start({
    configFile,
    environment,
    clock: systemClock,
    log,
    onFatal: (error) => fatal.push(error),
    ...clock,
  });
  return gateway;
}

/** One reading 100 ms of the device's time after the last. */
async function send(values: Record<string, number | string>, stepMs = 100): Promise<void> {
  deviceMs += stepMs;
  await device.send(`${JSON.stringify({ id: "oven-1", t: deviceMs, ...values })}\n`);
}

const entries = (): WindowEntry[] => received().filter((entry) => entry.kind === "window");
const received = () =>
  hub.messages.flatMap((message) => JSON.parse(message.body.toString("utf8")) as WindowEntry[]);
const reported = () => hub.getTwin("edge", "gateway").reported as Record<string, unknown>;
const answered = (version: number) => () => reported().lastDesiredVersion === version;

test("readings are calibrated, checked and averaged, and arrive at the hub", async () => {
  await start({
    calibrate: { oven: { device: "oven-1", channels: { temperature: { slope: 2, intercept: 1 } } } },
  });
  for (const temperature of [10, 11, 12, 99]) await send({ Celsius: temperature, humidity: 50 });
  await device.send("garbage\n");
  await send({ temperature: 0 }, 1_000);
  await until("the window arrives", () => entries().length > 0);
  const [entry] = entries();
  // 99 × 2 + 1 = 199 °C is above the range: it is counted, and stays out of the mean.
  expect(entry).toMatchObject({ window: "second", device: "oven-1", count: 4, bad: 1, quality: "uncertain" });
  expect(entry?.channels.temperature).toMatchObject({
    mean: (21 + 23 + 25) / 3,
    min: 21,
    max: 25,
    count: 3,
    bad: 1,
  });
  expect(entry?.channels.humidity).toMatchObject({ mean: 50, count: 4 });
  // On a slow machine there is time for the one that clears it as well.
  const alarms = received().filter((entry) => entry.kind === "alarm" && "to" in entry && entry.to === "bad");
  expect(alarms).toMatchObject([{ channel: "temperature", to: "bad", reason: "aboveMax", value: 199 }]);
  const message = hub.messages[0];
  expect(message).toMatchObject({ output: "readings", moduleId: "gateway" });
  expect(() => messageBody.parse(JSON.parse(message?.body.toString("utf8") ?? ""))).not.toThrow();
  expect(message?.systemProperties).toMatchObject({
    contentType: "application/json",
    contentEncoding: "utf-8",
  });
  await until("the acknowledgement is booked", async () => (await gateway?.audit())?.oven?.published === 4);
  expect((await gateway?.audit())?.oven).toMatchObject({
    frames: 6,
    decoded: 5,
    frameDiscards: { malformed: 1 },
    ingested: 5,
    held: 1,
    bad: 1,
  });
});

test("an alarm from a serial line does not wait until maxLossMs is over", async () => {
  await start({ store: { path: join(folder, "store"), maxLossMs: 600_000 } });
  await send({ temperature: 20 });
  await send({ temperature: 99 });
  await until("the alarm arrives", () => received().some(({ kind }) => kind === "alarm"));
});

test("a window size changed in the twin takes effect; the open window is closed as partial and nothing is lost", async () => {
  await start();
  await until("the first twin is answered", answered(1));
  await send({ temperature: 1 });
  await send({ temperature: 2 });
  await until("both readings are in", () => gateway?.status.store.books.oven?.ingested === 2);
  hub.updateDesired("edge", "gateway", { windows: { second: { sizeMs: 2_000 } } });
  await until("the change is answered", answered(2));
  expect(reported().lastDesiredStatus).toMatchObject({ code: 200 });
  for (let i = 0; i < 25; i++) await send({ temperature: 10 + i });
  await send({ temperature: 0 }, 4_000);
  await until("all windows arrive", () => entries().reduce((sum, entry) => sum + entry.count, 0) === 27);
  expect(entries()[0]).toMatchObject({ count: 2, partial: "configuration" });
  const starts = entries()
    .slice(1)
    .map((entry) => Date.parse(entry.windowStart) % 2_000);
  expect(starts.every((rest) => rest === 0)).toBe(true);
  expect(new Set(entries().map((entry) => `${entry.id}/${entry.revision}`)).size).toBe(entries().length);
});

test("a broken desired configuration is answered with 400 and the path, and the running one stays", async () => {
  await start();
  await until("the first twin is answered", answered(1));
  const before = gateway?.status.configHash;
  hub.updateDesired("edge", "gateway", { windows: { second: { sizeMs: "soon" } } });
  await until("it is answered", answered(2));
  expect(reported().lastDesiredStatus).toMatchObject({ code: 400, path: "windows.second.sizeMs" });
  hub.updateDesired("edge", "gateway", { windows: null, api: { state: "on" } });
  await until("it is answered", answered(3));
  expect(reported().lastDesiredStatus).toMatchObject({ code: 400, path: "api" });
  expect(gateway?.status.configHash).toBe(before);
  hub.updateDesired("edge", "gateway", { api: null });
  await until("it is answered", answered(4));
  expect(reported().lastDesiredStatus).toMatchObject({ code: 200 });
});

test("the twin tells states, free memory and the configuration; switched off, the figures are deleted", async () => {
  await start();
  await until("a report with figures", () => typeof reported().freeRam === "number");
  expect(reported()).toMatchObject({
    configuration: { hash: gateway?.status.configHash },
    sources: { oven: { state: "open" } },
    store: { state: "ok" },
    outbox: { entries: 0 },
    ledger: { ingested: 0, published: 0, held: 0, discarded: 0 },
  });
  await device.line.unplug();
  await until("the unplug is told", () => {
    const sources = reported().sources as Record<string, { state: string }>;
    return sources.oven?.state === "absent";
  });
  hub.updateDesired("edge", "gateway", { report: { freeRam: "off" } });
  await until("freeRam is deleted", () => !("freeRam" in reported()));
  expect(reported()).toHaveProperty("load");
  hub.updateDesired("edge", "gateway", { report: { state: "off" } });
  await until("all figures are deleted", () => !("load" in reported()) && !("sources" in reported()));
  expect(reported()).toHaveProperty("lastDesiredStatus");
});

test("a source that comes by twin is read, and one that goes is released", async () => {
  await start({ sources: {} });
  await until("the first twin is answered", answered(1));
  const source = {
    type: "serial",
    path: device.path,
    framing: { kind: "lines", first: "keep" },
    decode: { format: "json", time: { field: "t" } },
    device: { field: "id" },
    idleMs: 600_000,
  };
  hub.updateDesired("edge", "gateway", { sources: { added: source } });
  await until("it is answered", answered(2));
  await until("it is open", () => gateway?.status.sources.added?.state === "open");
  await send({ temperature: 1 });
  await until("the reading is in", () => gateway?.status.store.books.added?.ingested === 1);
  hub.updateDesired("edge", "gateway", { sources: { added: null } });
  await until("it is answered", answered(3));
  expect(gateway?.status.sources).toEqual({});
});

test("while the hub is away readings are kept, and they arrive once it is back; the twin is alive again, too", async () => {
  await start();
  await until("the first twin is answered", answered(1));
  await hub.stopListening({ keepSessions: false });
  for (let i = 0; i < 30; i++) await send({ temperature: i });
  await until("they are in", () => gateway?.status.store.books.oven?.ingested === 30);
  hub.updateDesired("edge", "gateway", { windows: { second: { sizeMs: 5_000 } } });
  expect(entries()).toEqual([]);
  await hub.startListening();
  await until("the change made meanwhile is answered", answered(2));
  await send({ temperature: 0 }, 10_000);
  await until("everything arrives", () => entries().reduce((sum, entry) => sum + entry.count, 0) === 30);
  hub.updateDesired("edge", "gateway", { windows: { second: { sizeMs: 3_000 } } });
  await until("a patch after the return is answered", answered(3));
});

test("a hub that confirms nothing is left and tried again; the repeat is byte-identical", async () => {
  await start({ hub: { type: "edge", sendTimeoutMs: 500, closeTimeoutMs: 300 } });
  await until("connected", () => gateway?.status.hub.state === "connected");
  hub.setFault("withholdPuback", { next: 2 });
  await send({ temperature: 1 });
  await send({ temperature: 1 }, 2_000);
  await until("it is confirmed at last", async () => (await gateway?.audit())?.oven?.published === 1);
  expect(hub.messages.length).toBeGreaterThanOrEqual(3);
  const bodies = hub.messages.map((message) => message.body.toString("utf8"));
  const ids = hub.messages.map((message) => message.systemProperties.messageId);
  expect(new Set(bodies).size).toBe(1);
  expect(new Set(ids).size).toBe(1);
});

test("a stop while the hub confirms nothing is in order all the same", async () => {
  await start();
  await until("connected", () => gateway?.status.hub.state === "connected");
  hub.setFault("withholdPuback");
  await send({ temperature: 1 });
  await send({ temperature: 1 }, 2_000);
  await until("a message is on its way", () => hub.messages.length > 0);
  await stop();
  hub.clearFaults();
  await start();
  expect(log.lines.filter((line) => line.message.includes("did not stop in order"))).toEqual([]);
  await until("it is confirmed now", async () => (await gateway?.audit())?.oven?.published === 1);
});

test("a change in the twin during a stop starts nothing", async () => {
  await start();
  await until("the first twin is answered", answered(1));
  const stopping = gateway;
  gateway = undefined;
  const stopped = stopping?.stop(AbortSignal.timeout(8_000));
  hub.updateDesired("edge", "gateway", { windows: { second: { sizeMs: 2_000 } } });
  await stopped;
  expect(log.lines.filter((line) => line.message === "source opening")).toHaveLength(1);
});

test("a wrong key does not stop the collecting, and is told once", async () => {
  hub.setFault("connackRefused");
  await start();
  for (let i = 0; i < 10; i++) await send({ temperature: i });
  await until("the readings are in", () => gateway?.status.store.books.oven?.ingested === 10);
  await until("several attempts", () => (gateway?.status.hub.clients ?? 0) > 3);
  expect(log.lines.filter((line) => line.message === "hub disconnected")).toHaveLength(1);
  hub.clearFaults();
  await until("connected", () => gateway?.status.hub.state === "connected");
});

test("a twin that never answers does not hold back messages", async () => {
  hub.setFault("twinGetUnanswered");
  await start();
  await until("connected", () => gateway?.status.hub.state === "connected");
  await send({ temperature: 1 });
  await send({ temperature: 1 }, 2_000);
  await until("the window arrives", () => entries().length > 0);
});

test("a restart continues the open window: same id, same revision, one entry", async () => {
  await start();
  await send({ temperature: 10 });
  await until("the reading is in", () => gateway?.status.store.books.oven?.ingested === 1);
  await stop();
  await start();
  await send({ temperature: 20 });
  await send({ temperature: 0 }, 1_000);
  await until("the window arrives", () => entries().length > 0);
  expect(entries()).toHaveLength(1);
  expect(entries()[0]).toMatchObject({ revision: 0, count: 2, channels: { temperature: { mean: 15 } } });
});

test("readings wait for a clock that was never set; once it is known good they tell true times, and a step cuts nothing", async () => {
  let wrongMs = -50 * 365 * 86_400_000;
  let quality: TimeQuality = "unsynced";
  const clock = { ...systemClock, wall: () => Date.now() + wrongMs };
  const stamped = {
    type: "serial",
    path: device.path,
    framing: { kind: "lines", first: "keep" },
    decode: { format: "json" },
    device: "oven-1",
  };
  const sections = { sources: { oven: stamped }, clock: { maxHoldMs: 600_000 } };
  await start(sections, { clock, clockQuality: () => quality });
  const beganMs = Date.now();
  for (let i = 0; i < 3; i++) await device.send('{"temperature":1}\n');
  await until("they wait", () => gateway?.status.store.holding === 3);
  expect(gateway?.status.store.books).toEqual({});
  await stop();
  await start(sections, { clock, clockQuality: () => quality });
  expect(gateway?.status.store.holding).toBe(3);
  [wrongMs, quality] = [0, "synced"];
  const counted = () => entries().reduce((sum, { count }) => sum + count, 0);
  await until("they arrive", () => counted() === 3);
  let sent = 3;
  for (const ms of [-3_000, 7_200_000, 0]) {
    wrongMs = ms;
    for (let i = 0; i < 5; i++) await device.send('{"temperature":1}\n');
    sent += 5;
    await until("they are in", () => gateway?.status.store.books.oven?.ingested === sent);
  }
  quality = "unsynced";
  await until("all arrive", () => counted() === 18);
  for (const { windowStart, timeQuality } of entries().slice(0, 1)) {
    expect(timeQuality).toBe("synced");
    expect(Math.abs(Date.parse(windowStart) - beganMs)).toBeLessThan(60_000);
  }
  expect(gateway?.status.store.books.oven?.discards).toEqual({});
  await until("it is not sure any more", () => gateway?.status.clock === "holdover");
  await stop();
  await start(sections, { clock, clockQuality: () => quality });
  expect(gateway?.status.clock).toBe("holdover");
  await device.send('{"temperature":1}\n');
  await until("nothing waits", () => gateway?.status.store.books.oven?.ingested === 19);
}, 60_000);
