import { type I2cDriver, WrongChip } from "./driver.ts";

/** Datasheet figure 1. Nothing is ever written but the register to begin with: the rest is the clock. */
const temperature = 0x11;

/** Bits of the registers 0x00 to 0x06 and 0x0F that are always zero (figure 1). */
const clockZeros = [0x80, 0x80, 0x80, 0xf8, 0xc0, 0x60] as const;
const statusZeros = 0x70;

export const ds3231: I2cDriver = {
  name: "ds3231",
  title: "Maxim DS3231: the temperature of a clock",
  datasheet: "Maxim 19-5170",
  addresses: [0x68],
  channels: () => ({ temperature: { unit: "°C", min: -40, max: 85 } }),
  *setup() {
    // It has no identity: only a clock has all of these zeros.
    const registers = yield { write: [0x00], read: 0x10 };
    const isClock =
      clockZeros.every((zeros, at) => ((registers[at] ?? 0) & zeros) === 0) &&
      ((registers[0x0f] ?? 0) & statusZeros) === 0;
    if (!isClock) throw new WrongChip("its registers are not those of a clock");
    return new Uint8Array();
  },
  *measure() {
    return yield { write: [temperature], read: 2 };
  },
  decode(frame) {
    if (frame.length !== 2) return { discard: "truncated" };
    const [whole = 0, quarters = 0] = frame;
    if ((quarters & 0x3f) !== 0) return { discard: "malformed" };
    return [["temperature", ((whole << 24) >> 24) + quarters / 256]];
  },
  vectors: [
    {
      title: "datasheet, “Temperature Registers”: 00011001 01 is 25.25 °C",
      frame: "1940",
      expected: { temperature: 25.25 },
    },
    { title: "a quarter below zero", frame: "ffc0", expected: { temperature: -0.25 } },
    { title: "the bus reads ones only", frame: "ffff", expected: { discard: "malformed" } },
    { title: "cut short", frame: "19", expected: { discard: "truncated" } },
  ],
};
