/** The whole daemon with chips on I2C: the real binding, with a simulated bus behind `/dev/i2c-1`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { SimulatedBme280 } from "./support/i2c/chips.ts";
import { RegisterChip, SimulatedBus } from "./support/i2c/simulated-bus.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let bus: SimulatedBus;
let daemon: RunningDaemon | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-i2c-"));
  hub = await startEmbeddedHub();
  bus = await new SimulatedBus(folder).start();
});
afterEach(async () => {
  await daemon?.kill();
  daemon = undefined;
  await bus.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

const chip = (address: number, more: object = {}) => ({
  type: "i2c",
  driver: "bme280",
  address,
  intervalMs: 50,
  device: `chip-${address}`,
  ...more,
});

function start(sources: object): RunningDaemon {
  const config = {
    gateway: { name: "box" },
    sources,
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  daemon = new RunningDaemon(folder, config, { ...hub.environment("gateway"), ...bus.environment });
  daemon.start();
  return daemon;
}
interface Entry {
  readonly kind: string;
  readonly device: string;
  readonly channels: Readonly<
    Record<string, { readonly value: number; readonly unit: string; readonly quality: string }>
  >;
}
const entriesOf = (device: string) =>
  hub.messages
    .flatMap((message) => JSON.parse(message.body.toString("utf8")) as Entry[])
    .filter((entry) => entry.device === device && entry.kind === "reading");
const untilState = (source: string, state: string) =>
  daemon?.untilStatus(`${source} is ${state}`, ({ sources }) => sources[source]?.state === state);
const reasonOf = async (source: string) =>
  ((await daemon?.status())?.sources[source] as { reason?: string } | undefined)?.reason ?? "";

test("a chip's values are at the hub with its driver's units and ranges", async () => {
  bus.plug(0x76, new SimulatedBme280());
  start({ room: { ...chip(0x76), options: { oversampling: 2 } } });
  await until("readings are at the hub", () => entriesOf("chip-118").length > 3);
  const { channels = {} } = entriesOf("chip-118")[0] ?? {};
  expect(channels.temperature?.value).toBeCloseTo(25.08, 2);
  expect(channels.pressure?.value).toBeCloseTo(1006.53, 2);
  expect(channels.humidity?.value).toBeCloseTo(38.75, 1);
  expect(channels.temperature).toMatchObject({ unit: "°C", quality: "good" });
  expect(channels.pressure).toMatchObject({ unit: "hPa", quality: "good" });
});

test("a chip that is pulled out, disturbed, claimed or another one has a state, and its neighbour keeps its pace", async () => {
  const steady = new SimulatedBme280();
  const other = new SimulatedBme280();
  bus.plug(0x76, steady);
  bus.plug(0x77, other);
  start({ steady: chip(0x76), other: chip(0x77) });
  await untilState("other", "open");
  await untilState("steady", "open");
  const keepsPace = async (what: string, trouble: () => Promise<unknown>) => {
    const before = entriesOf("chip-118").length;
    await trouble();
    await until(`the neighbour goes on while ${what}`, () => entriesOf("chip-118").length >= before + 10);
    expect((await daemon?.status())?.sources.steady?.state).toBe("open");
  };

  await keepsPace("it is out", async () => {
    bus.plug(0x77, undefined);
    await untilState("other", "absent");
    expect(await reasonOf("other")).toBe("bme280 at 0x77 of /dev/i2c-1: no chip acknowledges");
  });
  bus.plug(0x77, other);
  await untilState("other", "open");

  await keepsPace("it holds the clock", async () => {
    bus.trouble(0x77, { stretchMs: 1_000 });
    await untilState("other", "failed");
    expect(await reasonOf("other")).toContain("the bus is held");
  });
  bus.trouble(0x77, {});
  await untilState("other", "open");

  await keepsPace("another chip answers", async () => {
    bus.plug(0x77, undefined);
    await untilState("other", "absent");
    bus.plug(0x77, new RegisterChip().set(0xd0, "58"));
    await untilState("other", "failed");
    expect(await reasonOf("other")).toContain("another chip answers: chip id 0x58");
  });
  bus.plug(0x77, other);
  await untilState("other", "open");

  bus.trouble(0x77, { nack: true, claimed: true });
  await untilState("other", "failed");
  expect(await reasonOf("other")).toContain("a driver of the kernel has the chip");
  bus.trouble(0x77, {});
  await untilState("other", "open");

  const books = (await daemon?.status())?.store.books ?? {};
  expect(books.other).toMatchObject({ frameDiscards: { noAnswer: expect.any(Number) } });
  expect(books.steady).not.toMatchObject({ frameDiscards: { noAnswer: expect.any(Number) } });
}, 90_000);

test("an adapter that is pulled out and comes back is opened again", async () => {
  bus.plug(0x76, new SimulatedBme280());
  start({ room: chip(0x76) });
  await untilState("room", "open");
  await bus.stop();
  await until("the adapter is gone", async () => /opening .dev.i2c-1: ENOENT/.test(await reasonOf("room")));
  await bus.start();
  await untilState("room", "open");
});

test("the daemon stops in order while a chip holds the bus", async () => {
  bus.plug(0x76, new SimulatedBme280());
  const running = start({ room: chip(0x76) });
  await untilState("room", "open");
  bus.trouble(0x76, { stretchMs: 1_000 });
  await running.stop();
});
