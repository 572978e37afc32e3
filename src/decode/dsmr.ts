import { checksumOf } from "../core/checksum.ts";
import type { KnownChannel } from "../core/reading.ts";
import type { FrameFields } from "./reading-reader.ts";

type Field = readonly [name: string, value: number | string];

/** Field that holds the telegram's time as ISO 8601; no channel. */
const dsmrTime = "utc";
const timeCode = "0-0:1.0.0";

/** By OBIS code (IEC 62056-61): DSMR P1 Companion Standard 5.0.2, "Representation of COSEM objects". */
const objects: Readonly<Record<string, readonly [channel: string, unit?: string]>> = {
  "1-0:1.8.0": ["energyDelivered", "kWh"],
  "1-0:1.8.1": ["energyDelivered1", "kWh"],
  "1-0:1.8.2": ["energyDelivered2", "kWh"],
  "1-0:2.8.0": ["energyReturned", "kWh"],
  "1-0:2.8.1": ["energyReturned1", "kWh"],
  "1-0:2.8.2": ["energyReturned2", "kWh"],
  "0-0:96.14.0": ["tariff"],
  "1-0:1.7.0": ["powerDelivered", "kW"],
  "1-0:2.7.0": ["powerReturned", "kW"],
  "0-0:96.7.21": ["powerFailures"],
  "0-0:96.7.9": ["longPowerFailures"],
  "1-0:32.32.0": ["voltageSagsL1"],
  "1-0:52.32.0": ["voltageSagsL2"],
  "1-0:72.32.0": ["voltageSagsL3"],
  "1-0:32.36.0": ["voltageSwellsL1"],
  "1-0:52.36.0": ["voltageSwellsL2"],
  "1-0:72.36.0": ["voltageSwellsL3"],
  "1-0:32.7.0": ["voltageL1", "V"],
  "1-0:52.7.0": ["voltageL2", "V"],
  "1-0:72.7.0": ["voltageL3", "V"],
  "1-0:31.7.0": ["currentL1", "A"],
  "1-0:51.7.0": ["currentL2", "A"],
  "1-0:71.7.0": ["currentL3", "A"],
  "1-0:21.7.0": ["powerDeliveredL1", "kW"],
  "1-0:41.7.0": ["powerDeliveredL2", "kW"],
  "1-0:61.7.0": ["powerDeliveredL3", "kW"],
  "1-0:22.7.0": ["powerReturnedL1", "kW"],
  "1-0:42.7.0": ["powerReturnedL2", "kW"],
  "1-0:62.7.0": ["powerReturnedL3", "kW"],
};

/** Meters on the electricity meter's M-Bus, by their type (EN 13757-3, device type identification). */
const meters: Readonly<Record<number, readonly [channel: string, unit: string]>> = {
  3: ["gasDelivered", "m3"],
  4: ["heatDelivered", "GJ"],
  7: ["waterDelivered", "m3"],
  12: ["heatDelivered", "GJ"],
};

export const dsmrChannels: Readonly<Record<string, KnownChannel>> = Object.fromEntries(
  [...Object.values(objects), ...Object.values(meters)].flatMap(([channel, unit]) =>
    unit === undefined ? [] : [[channel, { unit: unit === "m3" ? "m³" : unit }]],
  ),
);

const crc = checksumOf("crc16-arc");

/**
 * One telegram of a smart meter, from `/` to `!` and its checksum, CRC-16 over both and what is between (DSMR P1
 * Companion Standard 5.0.2). DSMR 2.2 and 3.0 have none: only where `isChecksumOptional`. The time is there
 * when it is wanted.
 */
export function splitDsmr(bytes: Uint8Array, isChecksumOptional: boolean, withTime: boolean): FrameFields {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1").trimEnd();
  const end = text.indexOf("!") + 1;
  const checksum = text.slice(end);
  if (!text.startsWith("/") || end === 0 || !/^([0-9A-Fa-f]{4})?$/.test(checksum))
    return { discard: "malformed" };
  if (checksum === "" && !isChecksumOptional) return { discard: "malformed" };
  if (checksum !== "" && crc(bytes.subarray(0, end)) !== Number.parseInt(checksum, 16))
    return { discard: "badChecksum" };
  const values = valuesOf(text.slice(0, end - 1));
  const fields = [...values].flatMap(([code, value]) => fieldOf(code, value, values));
  const time = withTime ? timeOf(values.get(timeCode)?.[0]) : undefined;
  if (time !== undefined) fields.push([dsmrTime, time]);
  return fields.length > 0 ? [fields] : { discard: "noChannels" };
}

/**
 * What stands in the parentheses behind each code, such as `1-0:1.8.1(123456.789*kWh)`. Some meters end the code with
 * its group F, `*255`; in DSMR 2.2 a value may stand in a line of its own.
 */
function valuesOf(text: string): Map<string, string[]> {
  const values = new Map<string, string[]>();
  let last: string[] = [];
  for (const line of text.split("\n")) {
    const [, code, groups] = /^(?:(\d+-\d+:\d+\.\d+\.\d+)(?:\*255)?)?((?:\([^()]*\))+)\r?$/.exec(line) ?? [];
    if (groups === undefined) continue;
    const found = groups.slice(1, -1).split(")(");
    if (code === undefined) last.push(...found);
    else {
      last = found;
      values.set(code, found);
    }
  }
  return values;
}

function fieldOf(code: string, groups: readonly string[], values: Map<string, string[]>): Field[] {
  const [known, number, unit] = measured(code, groups, values) ?? [];
  if (number === undefined) return [];
  const value = Number(number);
  const [channel, itsUnit] = known ?? [];
  if (channel === undefined || itsUnit === undefined) return [[channel ?? code, value]];
  if (unit === itsUnit) return [[channel, value]];
  // Some meters tell Wh and W. A value in any other unit keeps its code: it is not what the name promises.
  return unit !== undefined && `k${unit}` === itsUnit ? [[channel, value / 1_000]] : [[code, value]];
}

type Quantity = readonly [number: string | undefined, unit?: string | undefined];
type Measured = readonly [
  known: readonly [channel: string, unit?: string] | undefined,
  ...quantity: Quantity,
];

/** A number and its unit. Without one only what is known is a number: others are hex of texts and serial numbers. */
function measured(
  code: string,
  groups: readonly string[],
  values: Map<string, string[]>,
): Measured | undefined {
  const bus = /^(0-\d+):24\.([23])\.\d+$/.exec(code);
  if (bus) {
    const known = meters[Number(values.get(`${bus[1]}:24.1.0`)?.[0])];
    // Time, status, period, number of values, code, unit, value (DSMR 2.2).
    if (bus[2] === "3") return [known, /^\d+\.?\d*$/.exec(groups[6] ?? "")?.[0], groups[5]];
    return [known, ...withUnit(groups[1])];
  }
  if (groups.length !== 1) return undefined;
  const known = objects[code];
  if (known?.length === 1) return [known, /^\d+$/.exec(groups[0] ?? "")?.[0]];
  return [known, ...withUnit(groups[0])];
}

function withUnit(text = ""): Quantity {
  const [, number, unit] = /^(-?\d+\.?\d*)\*([A-Za-z0-9]+)$/.exec(text) ?? [];
  return [number, unit];
}

/** `YYMMDDhhmmssX`, X being S in summer (UTC+2) and W in winter (UTC+1): TST of the standard. */
function timeOf(text = ""): string | undefined {
  const [, ...parts] = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)([SW])$/.exec(text) ?? [];
  const [year, month, day, hour, minute, second, season] = parts;
  if (season === undefined) return undefined;
  const local = `20${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const asUtc = new Date(`${local}Z`);
  // The 31st of a month that has none would become another day.
  if (Number.isNaN(asUtc.getTime()) || !asUtc.toISOString().startsWith(local)) return undefined;
  return `${local}${season === "S" ? "+02:00" : "+01:00"}`;
}
