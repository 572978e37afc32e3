/** The drivers as Markdown, from their declarations. */
import { z } from "zod";
import { i2cDrivers } from "../src/drivers/catalogue.ts";
import type { I2cDriver } from "../src/drivers/driver.ts";

export function driverList(notice: string): string {
  return [
    "# Drivers",
    "",
    notice,
    "<!-- Source: src/drivers/ -->",
    "",
    "Chips that a source of type `i2c` reads, by the name of their `driver`.",
    "A value outside the range keeps its number and gets quality `bad`, unless `validate` sets another range.",
    "Their options are in [configuration-reference.md](configuration-reference.md); how to add one is in [adding-a-driver.md](adding-a-driver.md).",
    "",
    "| driver | what it measures | addresses | channels | from |",
    "|---|---|---|---|---|",
    ...i2cDrivers.map(row),
    "",
  ].join("\n");
}

function row(driver: I2cDriver): string {
  const addresses =
    driver.addresses === "any"
      ? "any"
      : driver.addresses.length > 4
        ? span(driver.addresses)
        : driver.addresses.map(hex).join(", ");
  const channels = channelsOf(driver);
  return `| \`${driver.name}\` | ${driver.title} | ${addresses} | ${channels} | ${driver.datasheet} |`;
}

/** With the options' defaults; where those name no channels, the configuration does. */
function channelsOf(driver: I2cDriver): string {
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
const hex = (address: number) => `0x${address.toString(16).padStart(2, "0")}`;
const span = (addresses: readonly number[]) =>
  `${hex(Math.min(...addresses))} to ${hex(Math.max(...addresses))}`;
