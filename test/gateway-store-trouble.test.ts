/** The whole gateway on a store that cannot be opened, or is damaged: it reads all the same, says so, and recovers. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import type { GapEntryBody, WindowEntryBody } from "../src/outbox/entry-schema.ts";
import { recordingLog } from "./core/recording-log.ts";
import { commitOf, configuration, openStore, reading, t0 } from "./store/stores.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let device: SerialDevice;
let gateway: Gateway | undefined;
let fatal: unknown[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-test-"));
  hub = await startEmbeddedHub();
  device = new SerialDevice();
  device.line.plug();
  fatal = [];
});

afterEach(async () => {
  await gateway?.stop(AbortSignal.timeout(8_000));
  gateway = undefined;
  await device.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
  expect(fatal).toEqual([]);
});

const store = () => join(folder, "store");

async function start(log = recordingLog()): Promise<Gateway> {
  const configFile = join(folder, "headgate.json");
  const oven = {
    type: "serial",
    path: device.path,
    framing: { kind: "lines", first: "keep" },
    decode: { format: "json", time: { field: "t" } },
    device: { field: "id" },
    idleMs: 600_000,
  };
  const config = {
    gateway: { name: "box" },
    sources: { oven },
    windows: { second: { sizeMs: 1_000 } },
    publish: { maxDelayMs: 0 },
    store: { path: store(), maxLossMs: 100 },
    clock: { maxHoldMs: 0 },
    api: { port: 0 },
  };
  writeFileSync(configFile, JSON.stringify(config));
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  gateway = await Gateway.start({
    configFile,
    environment,
    clock: systemClock,
    log,
    onFatal: (error) => fatal.push(error),
  });
  return gateway;
}

const deviceMs = Math.floor(Date.now() / 1_000) * 1_000 - 100_000;
const send = (afterMs: number) =>
  device.send(`${JSON.stringify({ id: "oven-1", t: deviceMs + afterMs, temperature: 20 })}\n`);
type Body = WindowEntryBody | GapEntryBody;
const bodies = (): Body[] =>
  hub.messages.flatMap((message) => JSON.parse(message.body.toString("utf8")) as Body[]);
const windows = () => bodies().filter((body): body is WindowEntryBody => body.kind === "window");
const gaps = () => bodies().filter((body): body is GapEntryBody => body.kind === "gap");

test("a store that another process has: what comes in waits in memory, and goes on its way when the store is free", async () => {
  const other = openStore(store());
  other.store.commit(commitOf([configuration(0)], t0));
  const log = recordingLog();
  const running = await start(log);
  await until("the port is read", () => running.status.sources.oven?.state === "open");
  await send(0);
  await send(100);
  await until("it says what is wrong", () => running.status.intake.state === "failing");
  expect(running.status).toMatchObject({
    healthy: false,
    intake: { reason: expect.stringContaining("locked") },
  });
  other.close();
  await send(1_500);
  await until("the window arrives", () => windows().length > 0);
  expect(windows()[0]).toMatchObject({ device: "oven-1", count: 2 });
  expect(running.status.healthy).toBe(true);
  expect(imbalances(await running.audit())).toEqual([]);
  // Made by the other process, which did not stop in order as far as this one can know.
  expect(gaps()).toMatchObject([{ source: "s", reason: "uncleanStop", count: "unknown" }]);
});

test("a damaged store does not stop the start: it is set aside with a report, and the hub is told what is missing", async () => {
  const before = openStore(store());
  before.store.commit(commitOf([configuration(0)], t0));
  for (let at = 0; at < 30_000; at += 500) before.store.commit(commitOf([reading(at, { t: 1 })], t0 + at));
  before.store.commit(commitOf([], t0 + 30_000, { last: true }));
  before.close();
  writeFileSync(join(store(), "headgate.db"), "this is no database any more, but it once was");
  const running = await start();
  await send(0);
  await send(1_500);
  await until("new data arrives", () => windows().length > 0);
  await until("the hub is told", () => gaps().length > 0);
  expect(gaps()).toMatchObject([{ source: "s", reason: "damage", count: "unknown" }]);
  expect(running.status.store.damage?.reason).toContain("not a database");
  const { s } = await running.audit();
  expect(s).toMatchObject({ ingested: 60, held: 0, discards: { unaccounted: 60 }, gaps: { unknown: 1 } });
  const files = readdirSync(store());
  expect(files.filter((file) => file.includes("damaged"))).toHaveLength(2);
});

test("a folder that is none: it reads all the same, and begins a store when it can", async () => {
  writeFileSync(store(), "in the way");
  const running = await start();
  await send(0);
  await until("it says what is wrong", () => running.status.intake.state === "failing");
  expect(running.status.intake.reason).toContain(store());
  rmSync(store());
  await send(1_500);
  await until("the window arrives", () => windows().length > 0);
  expect(windows()[0]).toMatchObject({ count: 1 });
  expect(existsSync(join(store(), "headgate.db"))).toBe(true);
});

test("a store whose file is deleted under it loses nothing", async () => {
  mkdirSync(store());
  chmodSync(store(), 0o750);
  const running = await start();
  await send(0);
  await until("it is stored", async () => ((await running.audit()).oven?.held ?? 0) === 1);
  rmSync(join(store(), "headgate.db"));
  await send(100);
  await send(1_500);
  await until("the window arrives", () => windows().length > 0);
  expect(windows()[0]).toMatchObject({ count: 2 });
  expect(gaps()).toEqual([]);
});
