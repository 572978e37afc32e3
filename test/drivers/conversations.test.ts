/** What the drivers say to their chips, and what these answer; the chips behave as their datasheets say. */
import { describe, expect, test } from "vitest";
import type { KnownChannel } from "../../src/core/reading.ts";
import { ads1115 } from "../../src/drivers/ads1115.ts";
import { bh1750 } from "../../src/drivers/bh1750.ts";
import { bme280, bmp280 } from "../../src/drivers/bme280.ts";
import { i2cDrivers } from "../../src/drivers/catalogue.ts";
import { type I2cDriver, WrongChip } from "../../src/drivers/driver.ts";
import { ds3231 } from "../../src/drivers/ds3231.ts";
import { ina219 } from "../../src/drivers/ina219.ts";
import { mcp9808 } from "../../src/drivers/mcp9808.ts";
import { scd41 } from "../../src/drivers/scd41.ts";
import { sht31 } from "../../src/drivers/sht31.ts";
import { tsl2591 } from "../../src/drivers/tsl2591.ts";
import { compileValidation } from "../../src/validate/validation.ts";
import { SimulatedBme280, SimulatedBmp280, SimulatedDs3231, SimulatedTsl2591 } from "../support/i2c/chips.ts";
import { SimulatedBh1750, SimulatedScd41, SimulatedSht31 } from "../support/i2c/command-chips.ts";
import { type Chip, RegisterChip } from "../support/i2c/simulated-bus.ts";
import { SimulatedAds1115, SimulatedIna219, SimulatedMcp9808 } from "../support/i2c/word-chips.ts";
import { ConversationTime, hold, optionsOf, Pair } from "./conversation.ts";

/** The driver's ranges, as the pipeline judges by them. */
function qualitiesOf(driver: I2cDriver, pair: Pair<Chip>): Readonly<Record<string, string>> {
  const values = Object.entries(pair.ask() ?? {}).map(([channel, value]) => ({
    channel,
    value: Number(value),
  }));
  const known = new Map<string, KnownChannel>(Object.entries(driver.channels(pair.options)));
  const judged = compileValidation({}, new Map([["s", known]]))({ device: "d", timeMs: 0, values }, "s");
  return Object.fromEntries(judged.values.map(({ channel, quality }) => [channel, quality]));
}

describe.each([1, 16])("with %d samples", (oversampling) => {
  const near = (value: number) => expect.closeTo(value, 2);

  test("a BMP280 measures temperature and pressure each time that it is asked", () => {
    const time = new ConversationTime();
    const pair = new Pair(bmp280, new SimulatedBmp280(), time, { oversampling, filter: 4 }).ready();
    const { temperature, pressure } = pair.chip;
    for (let i = 0; i < 2; i++)
      expect(pair.ask()).toEqual({ temperature: near(temperature), pressure: near(pressure) });
  });

  test("a BME280 measures humidity besides", () => {
    const time = new ConversationTime();
    const pair = new Pair(bme280, new SimulatedBme280(), time, { oversampling }).ready();
    expect(pair.ask()).toMatchObject({ humidity: near(pair.chip.humidity) });
  });
});

test("a BMP280 and a BME280 are not taken for each other", () => {
  for (const [driver, chip] of [
    [bmp280, new SimulatedBme280()],
    [bme280, new SimulatedBmp280()],
  ] as const)
    expect(() => new Pair(driver, chip, new ConversationTime()).ready()).toThrow(WrongChip);
});

describe.each(["low", "medium", "high"])("an SHT31 of %s repeatability", (repeatability) => {
  test("is asked when it has measured, and not before", () => {
    const time = new ConversationTime();
    const pair = new Pair(sht31, new SimulatedSht31(time.now), time, { repeatability }).ready();
    for (const [temperature, humidity] of [[21.5, 40] as const, [-12.25, 99] as const]) {
      Object.assign(pair.chip, { temperature, humidity });
      expect(pair.ask()).toEqual({
        temperature: expect.closeTo(temperature, 2),
        humidity: expect.closeTo(humidity, 2),
      });
    }
  });
});

test("an SHT31 that was left measuring is brought back", () => {
  const time = new ConversationTime();
  const chip = new SimulatedSht31(time.now);
  chip.isPeriodic = true;
  expect(new Pair(sht31, chip, time).ready().ask()).toMatchObject({ humidity: expect.closeTo(40, 2) });
});

describe("an SCD41", () => {
  test("gives each of its measurements once, and says that there is nothing new in between", () => {
    const time = new ConversationTime();
    const pair = new Pair(scd41, new SimulatedScd41(time.now), time).ready();
    const asked = Array.from({ length: 26 }, () => {
      const values = pair.ask();
      time.nowMs += 1_000;
      return values;
    });
    const had = asked.filter((values) => values !== undefined);
    expect(had).toHaveLength(5);
    expect(had[0]).toEqual({
      co2: 500,
      temperature: expect.closeTo(25, 2),
      humidity: expect.closeTo(37, 2),
    });
    expect(pair.chip.reads).toBe(5);
  });

  test("that measures already is started anew", () => {
    const time = new ConversationTime();
    const pair = new Pair(scd41, new SimulatedScd41(time.now), time).ready();
    time.nowMs += 12_000;
    pair.ready();
    expect(pair.ask()).toBeUndefined();
    time.nowMs += 5_000;
    expect(pair.ask()).toMatchObject({ co2: 500 });
  });

  test("that lost its power has nothing new until it is set up", () => {
    const time = new ConversationTime();
    const pair = new Pair(scd41, new SimulatedScd41(time.now), time).ready();
    pair.chip.powerCycle();
    time.nowMs += 60_000;
    expect(pair.ask()).toBeUndefined();
    pair.ready();
    time.nowMs += 5_000;
    expect(pair.ask()).toMatchObject({ co2: 500 });
  });
});

describe("an ADS1115", () => {
  const channels = {
    supply: { input: "AIN0", fullScale: 6.144, dataRate: 860 },
    bridge: { input: "AIN2-AIN3", fullScale: 0.256, dataRate: 8 },
    tank: { input: "AIN1" },
  };

  test("converts one channel after the other, each with its gain and its rate", () => {
    const time = new ConversationTime();
    const pair = new Pair(ads1115, new SimulatedAds1115(time.now), time, { channels }).ready();
    pair.chip.volts = [4.9, 1.25, 0.1, 0.25];
    expect(pair.ask()).toEqual({
      bridge: expect.closeTo(-0.15, 5),
      supply: expect.closeTo(4.9, 3),
      tank: expect.closeTo(1.25, 4),
    });
  });

  test("does not care for the order in which its channels stand in the configuration", () => {
    const time = new ConversationTime();
    const pair = new Pair(ads1115, new SimulatedAds1115(time.now), time, { channels }).ready();
    pair.chip.volts = [4.9, 1.25, 0.1, 0.25];
    const turned = Object.fromEntries(Object.entries(channels).reverse());
    const frame = pair.frame() ?? new Uint8Array();
    expect(ads1115.decode(frame, optionsOf(ads1115, { channels: turned }) as never)).toEqual(
      ads1115.decode(frame, pair.options as never),
    );
  });

  test.each([
    ["above", 2.048, "bad"],
    ["at the last code but one", 2.0478, "good"],
    ["below, between two inputs", -2.048, "bad"],
  ])("whose input is %s its full scale is told as it is, and its quality is %s", (_, volts, quality) => {
    const time = new ConversationTime();
    const pair = new Pair(ads1115, new SimulatedAds1115(time.now), time, {
      channels: { v: { input: "AIN0-AIN1" } },
    }).ready();
    pair.chip.volts = volts < 0 ? [0, -volts * 1.2] : [volts === 2.048 ? volts * 1.2 : volts, 0];
    expect(pair.ask()).toEqual({ v: expect.closeTo(volts, 3) });
    expect(qualitiesOf(ads1115, pair)).toEqual({ v: quality });
  });

  test("that lost its power converts with its own settings all the same", () => {
    const time = new ConversationTime();
    const pair = new Pair(ads1115, new SimulatedAds1115(time.now), time, { channels }).ready();
    pair.chip.volts = [4.9, 1.25, 0.1, 0.25];
    const before = pair.ask();
    pair.chip.powerCycle();
    expect(pair.ask()).toEqual(before);
  });
});

describe("an INA219", () => {
  test("of two shunts tells each one's current", () => {
    for (const [shuntOhms, maxAmps] of [[0.1, 3.2] as const, [0.002, 15] as const, [1, 0.3] as const]) {
      const time = new ConversationTime();
      const pair = new Pair(ina219, new SimulatedIna219(time.now), time, {
        shuntOhms,
        maxAmps,
        averaging: 128,
      }).ready();
      const amps = maxAmps / 2;
      Object.assign(pair.chip, { shuntVolts: amps * shuntOhms, busVolts: 12 });
      expect(pair.ask()).toEqual({
        busVoltage: expect.closeTo(12, 2),
        shuntVoltage: expect.closeTo(amps * shuntOhms, 5),
        current: expect.closeTo(amps, 2),
        power: expect.closeTo(12 * amps, 1),
      });
    }
  });

  test("keeps a calibration whose lowest bit is zero, and its step is by that one", () => {
    const time = new ConversationTime();
    // The finest step would be by 4,195.
    const pair = new Pair(ina219, new SimulatedIna219(time.now), time, { maxAmps: 3.1992 }).ready();
    Object.assign(pair.chip, { shuntVolts: 0.3, busVolts: 12 });
    const { current } = pair.ask() as { current: number };
    expect(Math.abs(current - 3)).toBeLessThan(0.0002);
  });

  test("that lost its power between two measurements is calibrated again", () => {
    const time = new ConversationTime();
    const pair = new Pair(ina219, new SimulatedIna219(time.now), time).ready();
    Object.assign(pair.chip, { shuntVolts: 0.1, busVolts: 5 });
    const before = pair.ask();
    pair.chip.powerCycle();
    expect(pair.ask()).toEqual(before);
    expect(before).toMatchObject({ current: expect.closeTo(1, 3) });
  });

  test("whose shunt has more than its full scale tells no current, and a voltage that is bad", () => {
    const time = new ConversationTime();
    const pair = new Pair(ina219, new SimulatedIna219(time.now), time, { maxAmps: 0.4 }).ready();
    Object.assign(pair.chip, { shuntVolts: 0.06, busVolts: 5 });
    expect(qualitiesOf(ina219, pair)).toEqual({ busVoltage: "good", shuntVoltage: "bad" });
  });

  test("is not an INA226, which has the same addresses", () => {
    const time = new ConversationTime();
    const other = new RegisterChip().set(0x00, "4127");
    expect(() => new Pair(ina219, other, time).ready()).toThrow(WrongChip);
    expect(other.registers.subarray(0, 2).toString("hex")).toBe("4127");
  });
});

describe("a BH1750", () => {
  test.each([
    [{}, 1_000],
    [{ resolution: "0.5lx" }, 20.4],
    [{ resolution: "4lx", measurementTime: 31 }, 100_000],
    [{ measurementTime: 254 }, 500],
  ])("with %o is asked when it has measured", (options, illuminance) => {
    const time = new ConversationTime();
    const pair = new Pair(bh1750, new SimulatedBh1750(time.now), time, options).ready();
    pair.chip.illuminance = illuminance;
    const values = pair.ask() as { illuminance: number };
    expect(Math.abs(values.illuminance - illuminance)).toBeLessThan(2);
  });

  test("in too much light is bad", () => {
    const time = new ConversationTime();
    const pair = new Pair(bh1750, new SimulatedBh1750(time.now), time).ready();
    pair.chip.illuminance = 80_000;
    expect(qualitiesOf(bh1750, pair)).toEqual({ illuminance: "bad" });
  });
});

describe("a TSL2591", () => {
  test.each(["low", "medium"])("with %s gain and any time tells the same light", (gain) => {
    for (const integrationMs of [100, 300, 600]) {
      const time = new ConversationTime();
      const pair = new Pair(tsl2591, new SimulatedTsl2591(time.now), time, { gain, integrationMs }).ready();
      // (40 − 8) × (1 − 8/40) × 408 / 100
      expect(pair.ask()).toEqual({ illuminance: expect.closeTo(104.448, 3) });
    }
  });

  test("in too much light for its gain is bad, and good again at a lower one", () => {
    const time = new ConversationTime();
    const chip = new SimulatedTsl2591(time.now);
    for (const [gain, quality] of [["max", "bad"] as const, ["low", "good"] as const]) {
      const pair = new Pair(tsl2591, chip, time, { gain }).ready();
      expect(qualitiesOf(tsl2591, pair)).toEqual({ illuminance: quality });
    }
  });
});

describe("an MCP9808", () => {
  test.each([25.25, 0, -0.0625, -39.5, 124.9375])(
    "that is shut down wakes, and tells %d °C",
    (temperature) => {
      const time = new ConversationTime();
      const pair = new Pair(mcp9808, new SimulatedMcp9808(time.now), time);
      pair.chip.temperature = temperature;
      expect(pair.ready().ask()).toEqual({ temperature });
      expect(pair.chip.config).toBe(0x0008);
    },
  );

  test("of a coarser resolution tells coarser steps", () => {
    const time = new ConversationTime();
    const pair = new Pair(mcp9808, new SimulatedMcp9808(time.now), time, { resolution: 0.5 });
    pair.chip.temperature = 25.4375;
    expect(pair.ready().ask()).toEqual({ temperature: 25 });
  });
});

test("a DS3231's clock is never written to", () => {
  const time = new ConversationTime();
  const pair = new Pair(ds3231, new SimulatedDs3231(), time).ready();
  expect(pair.ask()).toEqual({ temperature: 25.25 });
  expect(pair.chip.isSet).toBe(false);
});

test.each([
  // A clock that was never set, and an INA219 that is set to nothing, have zeros.
  ["zeros", "00", [bme280, mcp9808, tsl2591]],
  ["ones", "ff", [bme280, mcp9808, tsl2591, ina219, ds3231]],
] as const)(
  "a chip of nothing but %s is recognised as another, and is not written to",
  (_, byte, drivers) => {
    const chip = new RegisterChip().set(0x00, byte.repeat(256));
    const before = Buffer.from(chip.registers);
    for (const driver of drivers) {
      const setup = driver.setup(optionsOf(driver) as never);
      expect(() => hold(setup, chip, new ConversationTime())).toThrow(WrongChip);
    }
    expect(chip.registers.equals(before)).toBe(true);
  },
);

test.each([sht31, scd41].map((driver) => [driver.name, driver] as const))(
  "%s: a status without a good checksum is another chip's",
  (_, driver) => {
    const setup = driver.setup(optionsOf(driver) as never);
    expect(() => hold(setup, new RegisterChip(), new ConversationTime())).toThrow(WrongChip);
  },
);

test.each(i2cDrivers.map((driver) => [driver.name, driver] as const))(
  "%s: whatever a chip answers, a measurement ends within seconds",
  (_, driver) => {
    for (const { options } of driver.vectors) {
      for (const byte of [0x00, 0x55, 0x80, 0xff]) {
        const time = new ConversationTime();
        const chip = { write: () => undefined, read: (length: number) => Buffer.alloc(length, byte) };
        hold(driver.measure(optionsOf(driver, options), Buffer.alloc(33)), chip, time);
        expect(time.nowMs).toBeLessThan(4_000);
      }
    }
  },
);
