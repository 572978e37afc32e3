import { u16be } from "./bytes.ts";
import { type I2cDriver, WrongChip } from "./driver.ts";

/** Datasheet section 5.1: the registers. */
const register = {
  config: 0x01,
  temperature: 0x05,
  manufacturer: 0x06,
  device: 0x07,
  resolution: 0x08,
} as const;

const resolutions = [0.5, 0.25, 0.125, 0.0625] as const;
/** Section 1, in the order of the codes; the finest rounded up from 250 ms, as the times are typical ones. */
const conversionMs = [40, 80, 160, 300] as const;

interface Options {
  readonly resolution: (typeof resolutions)[number];
}

export const mcp9808: I2cDriver<Options> = {
  name: "mcp9808",
  title: "Microchip MCP9808: temperature",
  datasheet: "Microchip DS25095A",
  addresses: [0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f],
  options: (z) => ({
    resolution: z
      .literal(resolutions)
      .default(0.0625)
      .describe("°C; the chip has a new value every 30, 65, 130 or 250 ms, the finer the slower"),
  }),
  channels: () => ({ temperature: { unit: "°C", min: -40, max: 125 } }),
  *setup({ resolution }) {
    const maker = u16be(yield { write: [register.manufacturer], read: 2 }, 0);
    if (maker !== 0x0054) throw new WrongChip(`manufacturer 0x${maker.toString(16)}`);
    // Section 5.1.5: the lower byte is the revision.
    const [device = 0] = yield { write: [register.device], read: 2 };
    if (device !== 0x04) throw new WrongChip(`device 0x${device.toString(16)}`);
    const [high = 0, low = 0] = yield { write: [register.config], read: 2 };
    // Section 5.1.1: bit 8 shuts it down; the rest is about its alert output, and somebody else's.
    yield { write: [register.config, high & ~0x01, low] };
    const code = resolutions.indexOf(resolution);
    yield { write: [register.resolution, code] };
    yield { waitMs: conversionMs[code] ?? 300 };
    return new Uint8Array();
  },
  *measure() {
    return yield { write: [register.temperature], read: 2 };
  },
  decode(frame) {
    if (frame.length !== 2) return { discard: "truncated" };
    const [high = 0, low = 0] = frame;
    // Section 5.1.3: bit 14, above the upper limit; bit 13, below the lower one. Both is a bus that reads ones only.
    if ((high & 0x60) === 0x60) return { discard: "malformed" };
    const value = (high & 0x0f) * 16 + low / 16;
    return [["temperature", high & 0x10 ? value - 256 : value]];
  },
  vectors: [
    {
      title: "datasheet section 5.1.3.1, equation 5-1: 1 × 16 + 148 / 16",
      frame: "c194",
      expected: { temperature: 25.25 },
    },
    {
      title: "the same equation below zero: 15 × 16 + 240 / 16 − 256",
      frame: "1ff0",
      expected: { temperature: -1 },
    },
    { title: "the bus reads ones only", frame: "ffff", expected: { discard: "malformed" } },
    { title: "cut short", frame: "c1", expected: { discard: "truncated" } },
  ],
};
