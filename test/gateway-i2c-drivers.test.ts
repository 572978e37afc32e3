/** Every driver of the catalogue in the whole daemon: the real binding, on buses of both usual speeds. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { i2cDrivers } from "../src/drivers/catalogue.ts";
import { optionsOf } from "./drivers/conversation.ts";
import { DaemonAtHub, tellsAll } from "./support/daemon-at-hub.ts";
import { SimulatedBme280, SimulatedBmp280, SimulatedDs3231, SimulatedTsl2591 } from "./support/i2c/chips.ts";
import { SimulatedBh1750, SimulatedScd41, SimulatedSht31 } from "./support/i2c/command-chips.ts";
import { type Chip, RegisterChip, SimulatedBus } from "./support/i2c/simulated-bus.ts";
import { SimulatedAds1115, SimulatedIna219, SimulatedMcp9808 } from "./support/i2c/word-chips.ts";
import { until } from "./support/until.ts";

/** A chip, the options that its driver reads it with, and what is to come of it. */
interface Simulated {
  readonly chip: Chip;
  readonly options?: object;
  readonly values: Readonly<Record<string, number>>;
}

/** By the names of the drivers: one that is not here has no simulated chip, and fails. */
const simulated: Readonly<Record<string, () => Simulated>> = {
  bme280: () => {
    const chip = new SimulatedBme280();
    const { temperature, pressure, humidity } = chip;
    return { chip, values: { temperature, pressure, humidity } };
  },
  bmp280: () => {
    const chip = new SimulatedBmp280();
    return { chip, values: { temperature: chip.temperature, pressure: chip.pressure } };
  },
  sht31: () => {
    const chip = new SimulatedSht31();
    const values = { temperature: -12.25, humidity: 81 };
    return { chip: Object.assign(chip, values), values };
  },
  scd41: () => {
    const chip = new SimulatedScd41(undefined, 500);
    const values = { co2: 731, temperature: 19.5, humidity: 62 };
    return { chip: Object.assign(chip, values), values };
  },
  ads1115: () => {
    const chip = Object.assign(new SimulatedAds1115(), { volts: [1.5, 0.25, 0.75, 1] });
    const options = {
      channels: { tank: { input: "AIN0" }, bridge: { input: "AIN2-AIN3", fullScale: 0.512 } },
    };
    return { chip, options, values: { tank: 1.5, bridge: -0.25 } };
  },
  ina219: () => {
    const chip = Object.assign(new SimulatedIna219(), { shuntVolts: 0.15, busVolts: 12 });
    return { chip, values: { busVoltage: 12, shuntVoltage: 0.15, current: 1.5, power: 18 } };
  },
  bh1750: () => {
    const values = { illuminance: 1_500 };
    return { chip: Object.assign(new SimulatedBh1750(), values), values };
  },
  // (40 − 8) × (1 − 8/40) × 408 / 100
  tsl2591: () => ({ chip: new SimulatedTsl2591(), values: { illuminance: 104.448 } }),
  mcp9808: () => {
    const values = { temperature: -39.5 };
    return { chip: Object.assign(new SimulatedMcp9808(), values), values };
  },
  ds3231: () => ({ chip: new SimulatedDs3231(), values: { temperature: 25.25 } }),
  "i2c-register": () => ({
    chip: new RegisterChip().set(0x10, "04d2 ff38"),
    options: {
      registers: {
        flow: { register: "0x10", type: "uint16", scale: 0.1, unit: "l/min" },
        angle: { register: "0x12", type: "int16", unit: "°" },
      },
    },
    values: { flow: 123.4, angle: -200 },
  }),
};

/** Each of the catalogue at an address that its chip can have and no other chip has. */
function wholeCatalogue() {
  const taken = new Set<number>();
  return i2cDrivers.map((driver) => {
    const make = simulated[driver.name];
    if (!make) throw new Error(`${driver.name} has no simulated chip in ${import.meta.filename}`);
    const addresses = driver.addresses === "any" ? [0x1d] : driver.addresses;
    const address = addresses.find((one) => !taken.has(one));
    if (address === undefined) throw new Error(`${driver.name} has no address left on this bus`);
    taken.add(address);
    return { driver, address, ...make() };
  });
}

let box: DaemonAtHub;
let bus: SimulatedBus | undefined;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
});
afterEach(async () => {
  await box.remove();
  await bus?.stop();
  bus = undefined;
});

describe.each([100_000, 400_000])("on a bus of %d Hz", (speedHz) => {
  test("every driver reads its chip, and all of its channels are at the hub", async () => {
    bus = await new SimulatedBus(box.folder, speedHz).start();
    const all = wholeCatalogue();
    const sources: Record<string, object> = {};
    for (const { driver, address, chip, options = {} } of all) {
      bus.plug(address, chip);
      sources[driver.name] = {
        type: "i2c",
        driver: driver.name,
        address,
        intervalMs: 100,
        device: `a-${driver.name}`,
        options,
      };
    }
    box.start(sources, tellsAll, bus.environment);
    await until(
      "readings of all are at the hub",
      () => all.every(({ driver }) => box.readingsOf(`a-${driver.name}`).length > 1),
      40_000,
    );
    for (const { driver, options, values } of all) {
      const units = driver.channels(optionsOf(driver, options));
      expect(Object.keys(values).sort()).toEqual(Object.keys(units).sort());
      const expected = Object.entries(values).map(([channel, value]) => {
        const { unit } = units[channel] ?? {};
        // As near as the coarsest step of the chips.
        const near = expect.toSatisfy(
          (got: number) => Math.abs(got - value) <= Math.max(0.01, Math.abs(value) / 1_000),
          `near ${value}`,
        );
        return [channel, { value: near, quality: "good", ...(unit === undefined ? {} : { unit }) }];
      });
      for (const channels of box.readingsOf(`a-${driver.name}`))
        expect(channels, driver.name).toEqual(Object.fromEntries(expected));
    }
    const status = await box.status();
    for (const { driver } of all) {
      expect(status?.sources[driver.name]?.state, driver.name).toBe("open");
      expect(status?.store.books[driver.name]?.frameDiscards, driver.name).toEqual({});
    }
  }, 60_000);
});
