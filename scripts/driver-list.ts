/** The drivers as Markdown, from their declarations. */
import { z } from "zod";
import { hexOf } from "../src/config/i2c-address.ts";
import { i2cDrivers, oneWireDrivers } from "../src/drivers/catalogue.ts";
import type { Driver, I2cDriver } from "../src/drivers/driver.ts";

export function driverList(notice: string): string {
  return [
    "# Drivers",
    "",
    notice,
    "<!-- Source: src/drivers/ -->",
    "",
    "A value outside the range keeps its number and gets quality `bad`, unless an entry of `validate` for the device sets another range.",
    "Options are in [configuration-reference.md](configuration-reference.md); how to add a driver is in [adding-a-driver.md](adding-a-driver.md).",
    "",
    "## Chips on I2C",
    "",
    "A source of type `i2c` names one as its `driver`.",
    "",
    "| driver | what it measures | addresses | channels | from |",
    "|---|---|---|---|---|",
    ...i2cDrivers.map((driver) => row(driver, addressesOf(driver.addresses))),
    "",
    "## Thermometers on 1-Wire",
    "",
    "A source of type `oneWire` finds its driver by the family, which its `id` begins with.",
    "",
    "| driver | what it measures | family | channels | from |",
    "|---|---|---|---|---|",
    ...oneWireDrivers.map((driver) => row(driver, driver.family)),
    "",
  ].join("\n");
}

function row(driver: Driver, place: string): string {
  return `| \`${driver.name}\` | ${driver.title} | ${place} | ${channelsOf(driver)} | ${driver.datasheet} |`;
}

/** With the options' defaults; where those name no channels, the configuration does. */
function channelsOf(driver: Driver): string {
  const options = z.strictObject(driver.options?.(z) ?? {}).safeParse({});
  if (!options.success) return "as the options say";
  return Object.entries(driver.channels(options.data))
    .map(([name, { unit, min, max }]) => {
      const range = min === undefined || max === undefined ? "" : `${rounded(min)} to ${rounded(max)} `;
      return `\`${name}\` ${range}${unit ?? ""}`.trim();
    })
    .join(", ");
}

const rounded = (value: number) => Number(value.toPrecision(5));
function addressesOf(addresses: I2cDriver["addresses"]): string {
  if (addresses === "any") return addresses;
  return addresses.length > 4 ? span(addresses) : addresses.map(hexOf).join(", ");
}
const span = (addresses: readonly number[]) =>
  `${hexOf(Math.min(...addresses))} to ${hexOf(Math.max(...addresses))}`;
