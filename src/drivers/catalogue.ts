import { InvariantError } from "../core/errors.ts";
import { ads1115 } from "./ads1115.ts";
import { bh1750 } from "./bh1750.ts";
import { bme280, bmp280 } from "./bme280.ts";
import type { Driver, I2cDriver, OneWireDriver } from "./driver.ts";
import { ds3231 } from "./ds3231.ts";
import { i2cRegister } from "./i2c-register.ts";
import { ina219 } from "./ina219.ts";
import { mcp9808 } from "./mcp9808.ts";
import { ds18b20, ds18s20, ds28ea00, ds1822, ds1825 } from "./one-wire.ts";
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

/** All drivers of thermometers on 1-Wire. */
export const oneWireDrivers: readonly OneWireDriver[] = [ds18b20, ds18s20, ds1822, ds1825, ds28ea00];

const ofI2c = new Map(i2cDrivers.map((driver) => [driver.name, driver]));
const ofFamily = new Map(oneWireDrivers.map((driver) => [driver.family, driver]));
const all = new Map<string, Driver>(
  [...i2cDrivers, ...oneWireDrivers].map((driver) => [driver.name, driver]),
);

/** @throws InvariantError for a name that no schema lets through, as do the others */
export const driverNamed = (name: string): Driver => known(all.get(name), name);
export const i2cDriverNamed = (name: string): I2cDriver => known(ofI2c.get(name), name);
/** The driver of a chip on 1-Wire, by its id such as `28-0316a2795f3d`. */
export const oneWireDriverOf = (id: string): OneWireDriver => known(ofFamily.get(id.slice(0, 2)), id);

function known<D>(driver: D | undefined, name: string): D {
  if (!driver) throw new InvariantError(`there is no driver ${name}`);
  return driver;
}
