import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Figures, Member } from "./cell.ts";

export interface DecodeRate extends Figures {
  readonly readingsPerCpuSecond: number;
  readonly frameBytes: number;
}

const program = fileURLToPath(new URL("processes/decode-rate.ts", import.meta.url));

/** `jsonParse` is what `JSON.parse` alone does with the reading that the others bring in their format. */
const names = [
  "jsonParse",
  "json",
  "csv",
  "keyValue",
  "regex",
  "nmea",
  "cbor",
  "binary",
  "value",
  "sysfs",
  "modbus",
  "driver",
  "dsmr",
];

export const decodeMembers: readonly Member[] = names.map((name) => ({
  name,
  run: async ({ quick }) => {
    const args = ["--disable-warning=ExperimentalWarning", program, name, quick ? "500" : "3000"];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return JSON.parse(stdout) as DecodeRate;
  },
}));
