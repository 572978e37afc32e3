import { i2cDrivers, oneWireDrivers } from "../drivers/catalogue.ts";
import { hex } from "../scan/folder.ts";
import { type FoundBus, type FoundChip, i2cBuses } from "../scan/i2c-buses.ts";
import { kernelChips, oneWireChips } from "../scan/kernel-chips.ts";
import { type FoundLine, modbusUnits } from "../scan/modbus-units.ts";
import { type Found, proposal } from "../scan/proposal.ts";
import { serialPorts } from "../scan/serial-ports.ts";
import { exitCode } from "./exit-code.ts";

export interface ScanOptions {
  readonly dev: string;
  readonly sys: string;
  /** Buses are probed. */
  readonly i2c: boolean;
  /** Lines of Modbus whose units are asked. */
  readonly modbus: readonly string[];
  readonly units: string;
  readonly json?: boolean;
}

/** `headgate scan`: what is on the box, and a configuration to start from. Nothing is written to any device. */
export async function scan(
  { dev, sys, i2c, modbus, units, json }: ScanOptions,
  signal: Promise<unknown>,
): Promise<void> {
  const roots = { dev, sys };
  const stop = new AbortController();
  void signal.then(() => stop.abort(new Error("stopped")));
  let found: Found;
  try {
    found = {
      serial: await serialPorts(roots),
      i2c: i2c ? await i2cBuses(roots, stop.signal) : [],
      oneWire: await oneWireChips(roots),
      kernel: await kernelChips(roots),
      modbus: await onLines(modbus, units, stop.signal),
    };
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    process.exitCode = exitCode.crashed;
    return;
  }
  const config = await proposal(found);
  const text = json
    ? JSON.stringify({ ...found, config })
    : `${describe(found)}\n\nA configuration to start from:\n\n${JSON.stringify(config, null, 2)}`;
  process.stdout.write(`${text}\n`);
}

/** One line after the other. */
async function onLines(lines: readonly string[], units: string, signal: AbortSignal): Promise<FoundLine[]> {
  const found: FoundLine[] = [];
  for (const line of lines) found.push(await modbusUnits(line, units, signal));
  return found;
}

function describe({ serial, i2c, oneWire, kernel, modbus }: Found): string {
  const ports = serial.map(({ path, tty, usb }) => [path, path.endsWith(tty) ? "" : tty, usb ?? ""]);
  const thermometers = oneWire.map(({ id, driver }) => [id, titles.get(driver ?? "") ?? "of another kind"]);
  const chips = kernel.map(({ chip, at, files }) => [
    at === undefined ? chip : `${chip} at ${at}`,
    files.join(" "),
  ]);
  return [
    ...section("Serial ports", ports),
    ...section("Chips on I2C", i2c.flatMap(busRows)),
    ...section("Chips on 1-Wire", thermometers),
    ...section("Chips that the kernel reads", chips),
    ...(modbus.length > 0 ? section("Units of Modbus", modbus.map(lineRow)) : []),
  ]
    .join("\n")
    .trimEnd();
}

function lineRow({ line, units, reason }: FoundLine): string[] {
  return [line, [units.length > 0 ? units.join(", ") : "nobody answers", reason].filter(Boolean).join("; ")];
}

const titles = new Map(
  [...i2cDrivers, ...oneWireDrivers].map(({ name, title }) => [name, `${name}: ${title}`]),
);

function busRows({ bus, name, chips, reason }: FoundBus): string[][] {
  const rows = chips.map((chip) => [`bus ${bus}, ${hex(chip.address)}`, chipText(chip)]);
  const outcome = reason ?? (chips.length === 0 ? "nothing answers" : undefined);
  return [
    ...rows,
    ...(outcome === undefined ? [] : [[`bus ${bus}`, `${name ? `${name}: ` : ""}${outcome}`]]),
  ];
}

function chipText({ driver, candidates, kernel, reason }: FoundChip): string {
  if (driver !== undefined) return titles.get(driver) ?? driver;
  if (kernel !== undefined) return `the kernel's driver ${kernel} has it`;
  if (reason !== undefined) return reason;
  return candidates.length === 0 ? "answers; no driver for it" : `answers; may be ${candidates.join(", ")}`;
}

/** A heading, and rows in columns. */
function section(title: string, rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [title, "  none", ""];
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return [
    title,
    ...rows.map(
      (row) =>
        `  ${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join("  ")
          .trimEnd()}`,
    ),
    "",
  ];
}
