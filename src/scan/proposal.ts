import { realpath } from "node:fs/promises";
import type { JsonObject } from "../core/json.ts";
import { hex } from "./folder.ts";
import type { FoundBus } from "./i2c-buses.ts";
import type { FoundKernelChip, FoundThermometer } from "./kernel-chips.ts";
import type { FoundLine } from "./modbus-units.ts";
import type { FoundPort } from "./serial-ports.ts";

export interface Found {
  readonly serial: readonly FoundPort[];
  readonly i2c: readonly FoundBus[];
  readonly oneWire: readonly FoundThermometer[];
  readonly kernel: readonly FoundKernelChip[];
  readonly modbus: readonly FoundLine[];
}

/** A configuration to start from. What cannot be known, such as what a port sends, is off. */
export async function proposal({ serial, i2c, oneWire, kernel, modbus }: Found): Promise<JsonObject> {
  const sources: JsonObject = {};
  const add = (wanted: string, source: JsonObject) => {
    const name = freeName(wanted, sources);
    sources[name] = { ...source, device: name };
  };
  for (const { settings, units } of modbus) {
    for (const unit of units) {
      const registers = { register0: { address: 0 } };
      add(`unit-${unit}`, { type: "modbus", state: "off", ...settings, unit, registers });
    }
  }
  // A port has one reader, by whichever of its names.
  const lines = modbus.flatMap(({ settings: { path }, units }) =>
    typeof path === "string" && units.length > 0 ? [realOf(path)] : [],
  );
  const taken = await Promise.all(lines);
  for (const { path, tty } of serial) {
    if (taken.includes(await realOf(path))) continue;
    add(tty, { type: "serial", state: "off", path, baudRate: 115_200, decode: { format: "json" } });
  }
  for (const { bus, chips } of i2c) {
    for (const { address, driver, candidates } of chips) {
      const [only, other] = driver === undefined ? candidates : [driver];
      if (only === undefined || other !== undefined) continue;
      const at = hex(address);
      const state = driver === undefined ? { state: "off" } : {};
      add(`${only}-${at.slice(2)}`, { type: "i2c", ...state, driver: only, bus, address: at });
    }
  }
  for (const { id, driver } of oneWire) if (driver !== undefined) add(id, { type: "oneWire", id });
  for (const { files, at, ...chip } of kernel) {
    const channels = Object.fromEntries(files.map((path) => [channelOf(path, files), { path }]));
    add(chip.chip, { type: "sysfs", ...chip, ...(at === undefined ? {} : { at }), files: channels });
  }
  return { sources, windows: { minute: { sizeMs: 60_000 } } };
}

const realOf = (path: string) => realpath(path).catch(() => path);

const quantities: Readonly<Record<string, string>> = {
  temp: "temperature",
  humidity: "humidity",
  humidityrelative: "humidity",
  pressure: "pressure",
  in: "voltage",
  voltage: "voltage",
  curr: "current",
};

/** `temp1_input` is the temperature where it is the only one, else `temp1`. */
function channelOf(path: string, files: readonly string[]): string {
  const own = path.replace(/^in_/, "").replace(/_(input|raw)$/, "");
  const kind = (name: string) => /^(?:in_)?([a-z]+)/.exec(name)?.[1] ?? "";
  const isOnly = files.filter((file) => kind(file) === kind(path)).length === 1;
  return (isOnly ? quantities[kind(path)] : undefined) ?? own;
}

function freeName(wanted: string, taken: JsonObject): string {
  const base = wanted.replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 60);
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base}-${n}`;
    if (!(name in taken)) return name;
  }
}
