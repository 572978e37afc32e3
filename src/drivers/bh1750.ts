import { u16be } from "./bytes.ts";
import type { I2cDriver } from "./driver.ts";

const resolutions = ["4lx", "1lx", "0.5lx"] as const;
type Resolution = (typeof resolutions)[number];

/** Datasheet, "Instruction Set Architecture": measures once and goes off. Page 2: the longest that it takes. */
const mode: Readonly<Record<Resolution, { readonly code: number; readonly waitMs: number }>> = {
  "4lx": { code: 0x23, waitMs: 24 },
  "1lx": { code: 0x20, waitMs: 180 },
  "0.5lx": { code: 0x21, waitMs: 180 },
};
/** "Measurement Time Register": what it is after power has come. */
const usualTime = 69;

interface Options {
  readonly resolution: Resolution;
  readonly measurementTime: number;
}

export const bh1750: I2cDriver<Options> = {
  name: "bh1750",
  title: "ROHM BH1750FVI: light",
  datasheet: "ROHM BH1750FVI, 2009.04 Rev. B",
  addresses: [0x23, 0x5c],
  options: (z) => ({
    resolution: z.enum(resolutions).default("1lx").describe("`4lx` takes 24 ms, the others 180 ms"),
    measurementTime: z
      .int()
      .min(31)
      .max(254)
      .default(usualTime)
      .describe("The chip's MTreg: 31 reaches 121,000 lx, 254 is for dark glass; the time grows with it"),
  }),
  channels: (options) => ({
    // 0xFFFF is also what everything beyond is clipped to.
    illuminance: { unit: "lx", min: 0, max: 0xfffe * step(options) },
  }),
  *setup() {
    // It has neither registers nor an identity: that it acknowledges must do.
    yield { read: 2 };
    return new Uint8Array();
  },
  *measure({ resolution, measurementTime }) {
    const { code, waitMs } = mode[resolution];
    // Page 10: each opcode needs its own stop. It wakes by itself (Linux, drivers/iio/light/bh1750.c).
    yield { write: [0b0100_0000 | (measurementTime >> 5)] };
    yield { write: [0b0110_0000 | (measurementTime & 0b1_1111)] };
    yield { write: [code] };
    yield { waitMs: Math.ceil((waitMs * measurementTime) / usualTime) };
    return yield { read: 2 };
  },
  decode(frame, options) {
    if (frame.length !== 2) return { discard: "truncated" };
    return [["illuminance", u16be(frame, 0) * step(options)]];
  },
  vectors: [
    {
      title: "datasheet page 10: 10000011 10010000 is 28067 lx",
      frame: "8390",
      expected: { illuminance: 28_067 },
      tolerance: 0.5,
    },
    {
      title: "page 11: twice as sensitive, and half a lux a count: 1/1.2 × 69/138 / 2 × 1000",
      options: { resolution: "0.5lx", measurementTime: 138 },
      frame: "03e8",
      expected: { illuminance: 208.333_333_333 },
    },
    { title: "cut short", frame: "83", expected: { discard: "truncated" } },
  ],
};

/** Page 11: lx of one count. */
function step({ resolution, measurementTime }: Options): number {
  return (usualTime / measurementTime / 1.2) * (resolution === "0.5lx" ? 0.5 : 1);
}
