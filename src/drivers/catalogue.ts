import { InvariantError } from "../core/errors.ts";
import { bme280, bmp280 } from "./bme280.ts";
import type { I2cDriver } from "./driver.ts";

/** All drivers of chips on I2C. A new one is its file and its line here. */
export const i2cDrivers: readonly I2cDriver[] = [bme280, bmp280];

const named = new Map(i2cDrivers.map((driver) => [driver.name, driver]));

/** @throws InvariantError for a name that no schema lets through */
export function driverNamed(name: string): I2cDriver {
  const driver = named.get(name);
  if (!driver) throw new InvariantError(`there is no driver ${name}`);
  return driver;
}
