/** The whole daemon with chips on I2C: the real binding, with a simulated bus behind `/dev/i2c-1`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DaemonAtHub, tellsAll } from "./support/daemon-at-hub.ts";
import { SimulatedBme280 } from "./support/i2c/chips.ts";
import { SimulatedScd41, SimulatedSht31 } from "./support/i2c/command-chips.ts";
import { RegisterChip, SimulatedBus } from "./support/i2c/simulated-bus.ts";
import { SimulatedAds1115 } from "./support/i2c/word-chips.ts";
import { until } from "./support/until.ts";

let box: DaemonAtHub;
let bus: SimulatedBus;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
  bus = await new SimulatedBus(box.folder).start();
});
afterEach(async () => {
  await box.remove();
  await bus.stop();
});

const start = (sources: object) => box.start(sources, tellsAll, bus.environment);
const chip = (address: number, more: object = {}) => ({
  type: "i2c",
  driver: "bme280",
  address,
  intervalMs: 50,
  device: `chip-${address}`,
  ...more,
});

test("a chip's values are at the hub with its driver's units and ranges", async () => {
  bus.plug(0x76, new SimulatedBme280());
  start({ room: { ...chip(0x76), options: { oversampling: 2 } } });
  await until("readings are at the hub", () => box.readingsOf("chip-118").length > 3);
  const channels = box.readingsOf("chip-118")[0] ?? {};
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
  await box.untilState("other", "open");
  await box.untilState("steady", "open");
  const keepsPace = async (what: string, trouble: () => Promise<unknown>) => {
    const before = box.readingsOf("chip-118").length;
    await trouble();
    await until(
      `the neighbour goes on while ${what}`,
      () => box.readingsOf("chip-118").length >= before + 10,
    );
    expect((await box.status())?.sources.steady?.state).toBe("open");
  };

  await keepsPace("it is out", async () => {
    bus.plug(0x77, undefined);
    await box.untilState("other", "absent");
    expect(await box.reasonOf("other")).toBe("bme280 at 0x77 of /dev/i2c-1: no chip acknowledges");
  });
  bus.plug(0x77, other);
  await box.untilState("other", "open");

  await keepsPace("it holds the clock", async () => {
    bus.trouble(0x77, { stretchMs: 1_000 });
    await box.untilState("other", "failed");
    expect(await box.reasonOf("other")).toContain("the bus is held");
  });
  bus.trouble(0x77, {});
  await box.untilState("other", "open");

  await keepsPace("another chip answers", async () => {
    bus.plug(0x77, undefined);
    await box.untilState("other", "absent");
    bus.plug(0x77, new RegisterChip().set(0xd0, "58"));
    await box.untilState("other", "failed");
    expect(await box.reasonOf("other")).toContain("another chip answers: chip id 0x58");
  });
  bus.plug(0x77, other);
  await box.untilState("other", "open");

  bus.trouble(0x77, { nack: true, claimed: true });
  await box.untilState("other", "failed");
  expect(await box.reasonOf("other")).toContain("a driver of the kernel has the chip");
  bus.trouble(0x77, {});
  await box.untilState("other", "open");

  const books = (await box.status())?.store.books ?? {};
  expect(books.other).toMatchObject({ frameDiscards: { noAnswer: expect.any(Number) } });
  expect(books.steady).not.toMatchObject({ frameDiscards: { noAnswer: expect.any(Number) } });
}, 90_000);

const of = (driver: string, address: number, more: object = {}) => chip(address, { driver, ...more });

test("five kinds of chips share a bus, and the values of each are at the hub with their units", async () => {
  const adc = new SimulatedAds1115();
  const other = new SimulatedAds1115();
  adc.volts = [1.5, 0, 0.75, 1];
  other.volts = [3, 0, 0, 0];
  const scd41 = new SimulatedScd41();
  bus.plug(0x76, new SimulatedBme280());
  bus.plug(0x44, new SimulatedSht31());
  bus.plug(0x48, adc);
  bus.plug(0x49, other);
  bus.plug(0x62, scd41);
  bus.plug(0x1d, new RegisterChip().set(0x10, "04d2 ff38 8f"));
  start({
    bme280: chip(0x76),
    sht31: of("sht31", 0x44, { options: { repeatability: "medium" } }),
    ads1115: of("ads1115", 0x48, {
      options: {
        channels: {
          tank: { input: "AIN0", dataRate: 250 },
          bridge: { input: "AIN2-AIN3", fullScale: 0.512, dataRate: 860 },
          clipped: { input: "AIN0", fullScale: 0.256, dataRate: 860 },
        },
      },
    }),
    // The same kind with other options.
    other: of("ads1115", 0x49, { options: { channels: { tank: { input: "AIN0", fullScale: 4.096 } } } }),
    scd41: of("scd41", 0x62),
    registers: of("i2c-register", 0x1d, {
      options: {
        registers: {
          flow: { register: "0x10", type: "uint16", scale: 0.1, unit: "l/min", max: 100 },
          angle: { register: "0x12", type: "int16", unit: "°" },
          isOpen: { register: "0x14", mask: "0x80", shift: 7 },
        },
      },
    }),
  });
  await until(
    "readings of all are at the hub",
    () =>
      [0x76, 0x44, 0x48, 0x49, 0x1d].every((address) => box.readingsOf(`chip-${address}`).length > 3) &&
      box.readingsOf("chip-98").length > 1,
    40_000,
  );
  const channels = (address: number) => box.readingsOf(`chip-${address}`)[0];
  const value = (near: number, unit?: string, quality = "good") =>
    expect.objectContaining({
      value: expect.closeTo(near, 2),
      quality,
      ...(unit === undefined ? {} : { unit }),
    });
  expect(channels(0x76)).toMatchObject({ temperature: value(25.08, "°C") });
  expect(channels(0x44)).toEqual({ temperature: value(21.5, "°C"), humidity: value(40, "%") });
  expect(channels(0x48)).toEqual({
    tank: value(1.5, "V"),
    bridge: value(-0.25, "V"),
    clipped: value(0.256, "V", "bad"),
  });
  expect(channels(0x49)).toEqual({ tank: value(3, "V") });
  expect(channels(0x62)).toEqual({
    co2: value(500, "ppm"),
    temperature: value(25, "°C"),
    humidity: value(37, "%"),
  });
  expect(channels(0x1d)).toEqual({
    flow: value(123.4, "l/min", "bad"),
    angle: value(-200, "°"),
    isOpen: value(1),
  });

  // The chip was asked many times for each value that it has made, and that is no failure.
  const status = await box.status();
  expect(status?.sources.scd41?.state).toBe("open");
  const discards = Object.values(status?.store.books ?? {}).map(({ frameDiscards }) => frameDiscards);
  expect(discards).toEqual([{}, {}, {}, {}, {}, {}]);
  await until("what was read of it is at the hub", () => box.readingsOf("chip-98").length === scd41.reads);
}, 60_000);

test("a chip that measures by itself, and has lost its power, is failed and is set up anew", async () => {
  const scd41 = new SimulatedScd41();
  bus.plug(0x62, scd41);
  start({ air: of("scd41", 0x62) });
  await until("a reading is at the hub", () => box.readingsOf("chip-98").length > 0);
  expect(box.readingsOf("chip-98")[0]?.co2?.value).toBe(500);
  scd41.co2 = 700;
  scd41.powerCycle();
  await until("it measures again", () => box.readingsOf("chip-98").at(-1)?.co2?.value === 700, 40_000);
  // The state lasts for less than a second.
  const log = readFileSync(join(box.folder, "daemon.log"), "utf8");
  expect(log).toContain("scd41 at 0x62 of /dev/i2c-1: has measured nothing for 15000 ms");
}, 60_000);

test("a word that the bus has changed is a discard of its chip, and never a value", async () => {
  bus.plug(0x44, new SimulatedSht31());
  start({ room: of("sht31", 0x44) });
  await until("readings are at the hub", () => box.readingsOf("chip-68").length > 3);
  bus.trouble(0x44, { corrupt: true });
  await box.untilStatus(
    "ten words are discarded",
    ({ store }) => (store.books.room?.frameDiscards.badChecksum ?? 0) >= 10,
  );
  bus.trouble(0x44, {});
  const before = box.readingsOf("chip-68").length;
  await until("values come again", () => box.readingsOf("chip-68").length > before + 3);
  for (const channels of box.readingsOf("chip-68")) {
    expect(channels.temperature?.value).toBeCloseTo(21.5, 2);
    expect(channels.humidity?.value).toBeCloseTo(40, 2);
  }
});

test("an adapter that is pulled out and comes back is opened again", async () => {
  bus.plug(0x76, new SimulatedBme280());
  start({ room: chip(0x76) });
  await box.untilState("room", "open");
  await bus.stop();
  await until("the adapter is gone", async () =>
    /opening .dev.i2c-1: ENOENT/.test(await box.reasonOf("room")),
  );
  await bus.start();
  await box.untilState("room", "open");
});

test("the daemon stops in order while a chip holds the bus", async () => {
  bus.plug(0x76, new SimulatedBme280());
  start({ room: chip(0x76) });
  await box.untilState("room", "open");
  bus.trouble(0x76, { stretchMs: 1_000 });
  await box.stop();
});
