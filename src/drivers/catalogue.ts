import { InvariantError } from "../core/errors.ts";
import { ads1115 } from "./ads1115.ts";
import { bh1750 } from "./bh1750.ts";
import { bme280, bmp280 } from "./bme280.ts";
import type { I2cDriver } from "./driver.ts";
import { ds3231 } from "./ds3231.ts";
import { i2cRegister } from "./i2c-register.ts";
import { ina219 } from "./ina219.ts";
import { mcp9808 } from "./mcp9808.ts";
import { scd41 } from "./scd41.ts";
import { sht31 } from "./sht31.ts";
import { tsl2591 } from "./tsl2591.ts";

/** All drivers of chips on I2C. A new one is its file and its line here. */
export const i2cDrivers: readonly I2cDriver[] = [
  bme280,
  bmp280,
  sht31,
  scd41,
  ads1115,
  ina219,
  bh1750,
  tsl2591,
  mcp9808,
  ds3231,
  i2cRegister,
];

const named = new Map(i2cDrivers.map((driver) => [driver.name, driver]));

/** @throws InvariantError for a name that no schema lets through */
export function driverNamed(name: string): I2cDriver {
  const driver = named.get(name);
  if (!driver) throw new InvariantError(`there is no driver ${name}`);
  return driver;
}
