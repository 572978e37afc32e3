/** The whole daemon with a broker as its source: the real store thread, the default hub client, the embedded hub. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { askStatus } from "../src/api/status-socket.ts";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import type { GatewayStatus } from "../src/gateway-status.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import { recordingLog } from "./core/recording-log.ts";
import { TestBroker } from "./support/test-broker.ts";
import { until } from "./support/until.ts";

const launcher = fileURLToPath(new URL("../bin/headgate.js", import.meta.url));
let folder: string;
let hub: EmbeddedHub;
let broker: TestBroker;
let daemon: ChildProcess | undefined;
let gateway: Gateway | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-mqtt-"));
  hub = await startEmbeddedHub();
  broker = await new TestBroker({ concurrency: 1_000 }).start();
});
afterEach(async () => {
  daemon?.kill("SIGKILL");
  daemon = undefined;
  const left = gateway;
  gateway = undefined;
  if (left) {
    expect(imbalances(await left.audit())).toEqual([]);
    await left.stop(AbortSignal.timeout(8_000));
  }
  await broker.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

function configure(store: object, source: object = {}): string {
  const yard = {
    type: "mqtt",
    url: broker.url,
    topic: "yard/+",
    decode: { format: "json", time: { field: "t" } },
    device: { topicLevel: 1 },
    idleMs: 600_000,
    ...source,
  };
  const config = {
    gateway: { name: "box" },
    sources: { yard },
    windows: { second: { sizeMs: 1_000 } },
    publish: { maxDelayMs: 0 },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), ...store },
  };
  const file = join(folder, "headgate.json");
  writeFileSync(file, JSON.stringify(config));
  return file;
}
async function start(configFile: string): Promise<Gateway> {
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  const onFatal = (error: unknown) => expect.fail(String(error));
  gateway = await Gateway.start({
    configFile,
    environment,
    clock: systemClock,
    log: recordingLog(),
    onFatal,
  });
  await until("the source is open", () => gateway?.status.sources.yard?.state === "open");
  return gateway;
}
const t0 = Math.floor(Date.now() / 1_000) * 1_000 - 100_000;
const entries = () =>
  hub.messages.flatMap(
    (message) => JSON.parse(message.body.toString("utf8")) as { [key: string]: unknown }[],
  );

test("messages become windows at the hub; what is no reading is a discard, and everything is answered", async () => {
  const running = await start(configure({ maxLossMs: 60_000 }, { maxPayloadBytes: 1_000 }));
  for (let i = 0; i < 10; i++) await broker.publish("yard/kiln", `{"t":${t0 + i * 100},"temperature":${i}}`);
  for (const payload of ["", "{torn", Buffer.from([0xff, 0x31]), Buffer.alloc(1_048_576, "x")])
    await broker.publish("yard/kiln", payload);
  await broker.publish("yard/kiln", `{"t":${t0 + 5_000},"temperature":0}`);
  await until("all are answered", () => broker.acknowledged.length === 15);
  await until("the window arrives", () => entries().length > 0);
  expect(entries()[0]).toMatchObject({
    source: "yard",
    device: "kiln",
    count: 10,
    channels: { temperature: { mean: 4.5 } },
  });
  expect((await running.audit()).yard).toMatchObject({
    frames: 15,
    ingested: 11,
    frameDiscards: { empty: 1, malformed: 1, invalidUtf8: 1, overlong: 1 },
    gaps: { counted: 0, unknown: 0 },
  });
});

test("a topic that lacks the level that names the device is a discard", async () => {
  const running = await start(configure({}, { device: { topicLevel: 2 } }));
  await broker.publish("yard/kiln", `{"t":${t0},"temperature":1}`);
  await until("it is answered", () => broker.acknowledged.length === 1);
  expect((await running.audit()).yard).toMatchObject({
    frames: 1,
    ingested: 0,
    frameDiscards: { noDevice: 1 },
  });
});

test("what the broker sends again after a restart is a duplicate", async () => {
  const config = configure({}, { dedupe: { by: "sequence", field: "seq" } });
  const first = await start(config);
  const message = (seq: number) => `{"t":${t0 + seq},"temperature":1,"seq":${seq}}`;
  for (const seq of [1, 2, 3]) await broker.publish("yard/kiln", message(seq));
  await until("all are answered", () => broker.acknowledged.length === 3);
  gateway = undefined;
  await first.stop(AbortSignal.timeout(8_000));
  for (const seq of [2, 3, 4]) await broker.publish("yard/kiln", message(seq));
  const second = await start(config);
  await until("all are answered", () => broker.acknowledged.length === 6);
  expect((await second.audit()).yard).toMatchObject({ ingested: 6, held: 4, discards: { duplicate: 2 } });
});

test("a kill between receipt and commit loses nothing: the broker sends again what was not answered", async () => {
  // Commits are as far apart as can be, so that the kill comes between them.
  const config = configure(
    { maxLossMs: 600_000, minCommitMs: 10_000 },
    { dedupe: { by: "sequence", field: "seq" } },
  );
  const run = () => {
    const env = { ...process.env, ...hub.environment("gateway") };
    daemon = spawn(process.execPath, [launcher, "run", "--config", config], { env, stdio: "ignore" });
    return daemon;
  };
  const status = async () => {
    try {
      return (await askStatus(join(folder, "store"), 5_000)) as unknown as GatewayStatus;
    } catch {
      // It is not there yet, or not any more: the caller asks again.
      return undefined;
    }
  };
  const killed = run();
  await until("the source is open", async () => (await status())?.sources.yard?.state === "open");
  // The first commit of an answer comes at once; what follows waits for the next.
  const message = (seq: number) => `{"t":${t0 + seq},"temperature":1,"seq":${seq}}`;
  for (let seq = 0; seq < 200; seq++) await broker.publish("yard/kiln", message(seq));
  await until("all are received", async () => {
    const { intake, store } = (await status()) ?? {};
    return (intake?.queuedBytes ?? 0) > 200 * 30 || (store?.books.yard?.ingested ?? 0) > 0;
  });
  const before = await status();
  const ended = new Promise((resolve) => killed.once("exit", resolve));
  killed.kill("SIGKILL");
  await ended;
  expect(before?.store.books.yard?.ingested ?? 0).toBe(0);
  expect(before?.intake.queuedBytes).toBeGreaterThan(200 * 30);
  expect(broker.acknowledged).toEqual([]);
  const again = await start(configure({}, { dedupe: { by: "sequence", field: "seq" } }));
  await until("all are answered", () => broker.acknowledged.length === 200);
  expect((await again.audit()).yard).toMatchObject({ ingested: 200, discards: {}, held: 200 });
});
