import { u16le } from "./bytes.ts";
import { type I2cDriver, WrongChip } from "./driver.ts";

/** Datasheet, "Register Description". */
const register = { enable: 0x00, control: 0x01, id: 0x12, status: 0x13 } as const;
/** "Command Register": a normal transaction, its register behind. */
const command = 0xa0;
const enable = { oscillator: 0x01, integration: 0x02 } as const;
/** "Status Register": a value is there; bits that are always zero. */
const valid = 0x01;
const reserved = 0xce;

const gains = ["low", "medium", "high", "max"] as const;
type Gain = (typeof gains)[number];
const integrations = [100, 200, 300, 400, 500, 600] as const;

interface Options {
  readonly gain: Gain;
  readonly integrationMs: (typeof integrations)[number];
}

/** The datasheet gives no formula; gains, formula and 408 are those of Linux (drivers/iio/light/tsl2591.c). */
const gainFactor: Readonly<Record<Gain, number>> = { low: 1, medium: 25, high: 428, max: 9_876 };
const luxFactor = 408;

export const tsl2591: I2cDriver<Options> = {
  name: "tsl2591",
  title: "ams TSL2591: light",
  datasheet: "ams TSL2591, v2-04",
  addresses: [0x29],
  options: (z) => ({
    gain: z.enum(gains).default("medium").describe("`low` for sunlight, `max` for starlight"),
    integrationMs: z.literal(integrations).default(100).describe("How long light is gathered for a value"),
  }),
  channels: (options) => ({
    illuminance: { unit: "lx", min: 0, max: (mostCounts(options) - 1) / countsPerLux(options) },
  }),
  *setup() {
    const id: Uint8Array = yield { write: [command | register.id], read: 1 };
    if (id[0] !== 0x50) throw new WrongChip(`device id 0x${id[0]?.toString(16)}`);
    return new Uint8Array();
  },
  *measure(options) {
    const { gain, integrationMs } = options;
    const control = (gains.indexOf(gain) << 4) | integrations.indexOf(integrationMs);
    yield { write: [command | register.control, control] };
    // Off and on again: the status tells of an integration since then only.
    yield { write: [command | register.enable, enable.oscillator] };
    yield { write: [command | register.enable, enable.oscillator | enable.integration] };
    // "Operating Characteristics": 108 ms at most instead of 100.
    yield { waitMs: Math.ceil(1.08 * integrationMs) + 2 };
    let [status = 0] = yield { write: [command | register.status], read: 1 };
    for (let i = 0; i < 5 && (status & valid) === 0; i++) {
      yield { waitMs: integrationMs / 10 };
      [status = 0] = yield { write: [command | register.status], read: 1 };
    }
    return yield { write: [command | register.status], read: 5 };
  },
  decode(frame, options) {
    if (frame.length !== 5) return { discard: "truncated" };
    const [status = 0] = frame;
    if (status & reserved) return { discard: "malformed" };
    if ((status & valid) === 0) return { discard: "noAnswer" };
    const [all, infrared] = [u16le(frame, 1), u16le(frame, 3)];
    const most = mostCounts(options);
    // It was brighter than can be measured. The value lies outside the range of its channel, and is bad.
    if (all >= most || infrared >= most) return [["illuminance", most / countsPerLux(options)]];
    const visible = Math.max(0, all - infrared);
    const share = all === 0 ? 0 : visible / all;
    return [["illuminance", (visible * share) / countsPerLux(options)]];
  },
  vectors: [
    {
      // 25 × 100 / 408 = 6.12745 counts a lux; (1000 − 200) × (1 − 200/1000) / 6.12745, by hand.
      title: "the formula of the Linux driver, medium gain and 100 ms",
      frame: "01 e803 c800",
      expected: { illuminance: 104.448 },
    },
    {
      title: "two of the same light, at another gain and time: counts × 428/25 × 3",
      options: { gain: "high", integrationMs: 300 },
      frame: "01 a0c8 2028",
      expected: { illuminance: 104.448 },
      tolerance: 0.01,
    },
    { title: "dark", frame: "01 0000 0000", expected: { illuminance: 0 } },
    { title: "no integration has ended", frame: "00 e803 c800", expected: { discard: "noAnswer" } },
    { title: "the bus reads ones only", frame: "ff".repeat(5), expected: { discard: "malformed" } },
    { title: "cut short", frame: "01 e803", expected: { discard: "truncated" } },
  ],
};

/** "ALS Control Register": the counter ends earlier when it counts for 100 ms only. */
function mostCounts({ integrationMs }: Options): number {
  return integrationMs === 100 ? 36_863 : 65_535;
}

function countsPerLux({ gain, integrationMs }: Options): number {
  return (integrationMs * gainFactor[gain]) / luxFactor;
}
