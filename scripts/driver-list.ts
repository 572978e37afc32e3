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
  const example = driver.vectors[0]?.options ?? {};
  const channels = Object.entries(
    driver.channels(z.strictObject(driver.options?.(z) ?? {}).parse(example)),
  ).map(([name, { unit, min, max }]) => {
    const range = min === undefined || max === undefined ? "" : `${min} to ${max} `;
    return `\`${name}\` ${range}${unit ?? ""}`.trim();
  });
  const addresses =
    driver.addresses.length > 4 ? span(driver.addresses) : driver.addresses.map(hex).join(", ");
  return `| \`${driver.name}\` | ${driver.title} | ${addresses} | ${channels.join(", ")} | ${driver.datasheet} |`;
}

const hex = (address: number) => `0x${address.toString(16).padStart(2, "0")}`;
const span = (addresses: readonly number[]) =>
  `${hex(Math.min(...addresses))} to ${hex(Math.max(...addresses))}`;
