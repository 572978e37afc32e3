import { checksumOf } from "../core/checksum.ts";
import type { FrameDiscard, KnownChannel } from "../core/reading.ts";
import { s16le } from "./bytes.ts";
import type { OneWireDriver } from "./driver.ts";

/**
 * Thermometers on 1-Wire. A frame is what the kernel's file `w1_slave` says (Linux, Documentation/w1/slaves/
 * w1_therm.rst): the nine bytes of the scratchpad with the verdict on their checksum, and the same bytes as they are
 * kept. `t=` behind them goes unused: it is computed from them, and has fewer digits.
 */
const form = /^((?:[0-9a-f]{2} ){9}): crc=[0-9a-f]{2} (YES|NO)\n((?:[0-9a-f]{2} ){9})t=-?\d{1,9}\n$/;

/** DS18B20 datasheet, "CRC Generation"; 0 with the checksum itself at the end. */
const crc8 = checksumOf("crc8-maxim-dow");

/** What a scratchpad with a good checksum says in °C; undefined where nothing was measured. */
type Temperature = (scratchpad: Uint8Array) => number | undefined | { readonly discard: FrameDiscard };

function decode(frame: Uint8Array, temperature: Temperature): ReturnType<OneWireDriver["decode"]> {
  const match = form.exec(Buffer.from(frame).toString("latin1"));
  if (!match) return { discard: "malformed" };
  const [, read = "", verdict, kept] = match;
  const scratchpad = Buffer.from(read.replaceAll(" ", ""), "hex");
  // The kernel keeps what it finds good, so both lines have the same bytes then.
  if (verdict === "NO" || crc8(scratchpad) !== 0 || kept !== read) return { discard: "badChecksum" };
  // A line that is held low reads zeros, and their checksum is zero.
  if (scratchpad.every((byte) => byte === 0)) return { discard: "malformed" };
  const value = temperature(scratchpad);
  if (typeof value === "object") return value;
  return value === undefined ? [] : [["temperature", value]];
}

/**
 * Sixteenths of a degree; with fewer than 12 bits the lowest are undefined (DS18B20 datasheet, figure 4 and table 2).
 * After power-on the register holds 0x0550, which is 85 °C too (table 1). Byte 6, reserved today, tells the two apart:
 * the first datasheets give 0x0c for the state after power-on, a measurement leaves 0x10 there less the lowest four
 * bits of the temperature, and the kernel's check of conversions goes by the same (Documentation/ABI/testing/
 * sysfs-driver-w1_therm, `features`). Chips of other makers have 0x0c always: with them a measured 85.0000 is lost.
 */
const sixteenths: Temperature = (scratchpad) => {
  const [low, high, , , configuration = 0, , reserved] = scratchpad;
  if (low === 0x50 && high === 0x05 && reserved === 0x0c) return { discard: "powerOnValue" };
  const undefinedBits = 3 - ((configuration >> 5) & 0b11);
  return (s16le(scratchpad, 0) & (-1 << undefinedBits)) / 16;
};

/**
 * A DS1825, or one of MAX31850 and MAX31851, which alone have bit 7 of byte 4 set: bits 0 and 1 are no part of the
 * temperature then, and bit 0 says that the thermocouple is broken (MAX31850 datasheet, table 2 and "Configuration
 * Register").
 */
const sixteenthsOrQuarters: Temperature = (scratchpad) => {
  if (((scratchpad[4] ?? 0) & 0x80) === 0) return sixteenths(scratchpad);
  const word = s16le(scratchpad, 0);
  return word & 0b01 ? undefined : (word & ~0b11) / 16;
};

/**
 * Halves of a degree, made finer by what remains of the count (DS18S20 datasheet, "Operation—Measuring Temperature").
 * What it holds after power-on is to the bit what it holds at 85.0 °C, so that this one value is always lost.
 */
const counted: Temperature = (scratchpad) => {
  const [low, high, , , , , remain = 0, perDegree = 0] = scratchpad;
  if (perDegree === 0) return { discard: "malformed" };
  if (low === 0xaa && high === 0x00 && remain === 0x0c) return { discard: "powerOnValue" };
  return (s16le(scratchpad, 0) >> 1) - 0.25 + (perDegree - remain) / perDegree;
};

/** A file as the kernel writes it, as hex. */
function file(scratchpad: string, verdict: "YES" | "NO" = "YES", kept = scratchpad): string {
  return Buffer.from(`${scratchpad} : crc=${scratchpad.slice(-2)} ${verdict}\n${kept} t=23125\n`).toString(
    "hex",
  );
}
const afterPowerOn = {
  title: "the state after power-on",
  frame: file("50 05 4b 46 7f ff 0c 10 1c"),
  expected: { discard: "powerOnValue" },
} as const;

/** What no thermometer has said. */
const unreadable: OneWireDriver["vectors"] = [
  {
    title: "the kernel found the checksum wrong, and shows what it read before",
    frame: file("ff 01 4b 46 7f ff 0f 10 25", "NO", "91 01 4b 46 7f ff 0f 10 25"),
    expected: { discard: "badChecksum" },
  },
  {
    title: "the bytes have another checksum, whatever the kernel says",
    frame: file("ff 01 4b 46 7f ff 0f 10 25"),
    expected: { discard: "badChecksum" },
  },
  {
    title: "the line is held low: the checksum of zeros is right",
    frame: file("00 00 00 00 00 00 00 00 00"),
    expected: { discard: "malformed" },
  },
];

const thermometer = (
  temperature: Temperature,
  { min, max }: KnownChannel,
  about: Pick<OneWireDriver, "family" | "name" | "title" | "datasheet" | "vectors">,
): OneWireDriver => ({
  ...about,
  vectors: [...about.vectors, ...unreadable],
  channels: () => ({ temperature: { unit: "°C", min, max } }),
  decode: (frame) => decode(frame, temperature),
});
const silicon = { min: -55, max: 125 };

export const ds18b20 = thermometer(sixteenths, silicon, {
  family: "28",
  name: "ds18b20",
  title: "Maxim DS18B20, MAX31820: temperature",
  datasheet: "Maxim Integrated 19-7487 (DS18B20)",
  vectors: [
    {
      title: "datasheet table 1: 25.0625 °C",
      frame: file("91 01 4b 46 7f ff 0f 10 25"),
      expected: { temperature: 25.0625 },
    },
    {
      title: "datasheet table 1: -10.125 °C",
      frame: file("5e ff 4b 46 7f ff 02 10 b6"),
      expected: { temperature: -10.125 },
    },
    {
      title: "datasheet table 1: 85 °C, measured",
      frame: file("50 05 4b 46 7f ff 10 10 bd"),
      expected: { temperature: 85 },
    },
    {
      title: "with 9 bits the three lowest are undefined",
      frame: file("97 01 4b 46 1f ff 09 10 8c"),
      expected: { temperature: 25 },
    },
    afterPowerOn,
  ],
});

export const ds1822 = thermometer(sixteenths, silicon, {
  family: "22",
  name: "ds1822",
  title: "Maxim DS1822: temperature",
  datasheet: "Maxim Integrated DS1822",
  vectors: [
    {
      title: "datasheet table 1: 25.0625 °C",
      frame: file("91 01 4b 46 7f ff 0f 10 25"),
      expected: { temperature: 25.0625 },
    },
    afterPowerOn,
  ],
});

export const ds28ea00 = thermometer(
  sixteenths,
  { min: -40, max: 85 },
  {
    family: "42",
    name: "ds28ea00",
    title: "Maxim DS28EA00: temperature",
    datasheet: "Maxim Integrated DS28EA00",
    vectors: [
      {
        title: "25.0625 °C, the same bytes as the DS18B20's",
        frame: file("91 01 4b 46 7f ff 0f 10 25"),
        expected: { temperature: 25.0625 },
      },
      afterPowerOn,
    ],
  },
);

export const ds1825 = thermometer(
  sixteenthsOrQuarters,
  { min: -270, max: 1_768 },
  {
    family: "3b",
    name: "ds1825",
    title: "Maxim DS1825: temperature; MAX31850, MAX31851: thermocouples",
    datasheet: "Maxim Integrated DS1825; 19-6725 (MAX31850)",
    vectors: [
      {
        title: "MAX31850 datasheet table 3: 1600 °C",
        frame: file("00 64 90 01 f3 ff ff ff 3f"),
        expected: { temperature: 1_600 },
      },
      {
        title: "MAX31850 datasheet table 3: -0.25 °C",
        frame: file("fc ff 00 00 f0 ff ff ff 09"),
        expected: { temperature: -0.25 },
      },
      {
        title: "the thermocouple is broken",
        frame: file("01 00 91 01 f0 ff ff ff 1f"),
        expected: {},
      },
      {
        title: "a DS1825 at location 5: 25.0625 °C",
        frame: file("91 01 4b 46 75 ff 0f 10 3e"),
        expected: { temperature: 25.0625 },
      },
      afterPowerOn,
    ],
  },
);

export const ds18s20 = thermometer(counted, silicon, {
  family: "10",
  name: "ds18s20",
  title: "Maxim DS18S20: temperature",
  datasheet: "Maxim Integrated DS18S20",
  vectors: [
    {
      title: "datasheet table 1: 25.0 °C",
      frame: file("32 00 4b 46 ff ff 0c 10 6b"),
      expected: { temperature: 25 },
    },
    {
      title: "datasheet table 1: -55.0 °C",
      frame: file("92 ff 4b 46 ff ff 0c 10 57"),
      expected: { temperature: -55 },
    },
    {
      title: "a sixteenth above what it holds after power-on",
      frame: file("aa 00 4b 46 ff ff 0b 10 e9"),
      expected: { temperature: 85.0625 },
    },
    {
      title: "the state after power-on",
      frame: file("aa 00 b4 b9 ff ff 0c 10 18"),
      expected: { discard: "powerOnValue" },
    },
  ],
});
