import { s16be, u16be } from "./bytes.ts";
import { type Conversation, type I2cDriver, WrongChip } from "./driver.ts";
import { byChannel } from "./named-channels.ts";

/** Datasheet section 9.6, “Register Map”. */
const register = { conversion: 0, config: 1 } as const;

/** “Config Register”, in the order of the codes of MUX, PGA and DR. */
const inputs = ["AIN0-AIN1", "AIN0-AIN3", "AIN1-AIN3", "AIN2-AIN3", "AIN0", "AIN1", "AIN2", "AIN3"] as const;
const fullScales = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256] as const;
const dataRates = [8, 16, 32, 64, 128, 250, 475, 860] as const;

interface Channel {
  readonly input: (typeof inputs)[number];
  readonly fullScale: (typeof fullScales)[number];
  readonly dataRate: (typeof dataRates)[number];
}
interface Options {
  readonly channels: Readonly<Record<string, Channel>>;
}

/** OS: written, it starts a conversion; read, none is under way. */
const idle = 0x8000;
/** Converts once and rests, its comparator off. */
const singleShot = 0x0103;

/** One channel's part of a frame: the configuration as it is after the conversion, and what it converted to. */
const partBytes = 4;

export const ads1115: I2cDriver<Options> = {
  name: "ads1115",
  title: "Texas Instruments ADS1115: voltages",
  datasheet: "Texas Instruments SBAS444D",
  addresses: [0x48, 0x49, 0x4a, 0x4b],
  options: (z) => ({
    channels: byChannel(
      z,
      8,
      z.strictObject({
        input: z.enum(inputs).describe("Against ground, or the difference of two"),
        fullScale: z
          .literal(fullScales)
          .default(2.048)
          .describe("± V; no input may be above the chip's supply, whatever this says"),
        dataRate: z.literal(dataRates).default(128).describe("Samples a second: the slower, the less noise"),
      }),
    ).describe("What to measure, one after the other, by the names of the channels"),
  }),
  channels: (options) =>
    Object.fromEntries(
      inOrder(options).map(([name, { fullScale }]) => {
        // The outermost codes are also what everything beyond is clipped to: they lie outside, and are bad.
        const step = fullScale / 0x8000;
        return [name, { unit: "V", min: -0x7fff * step, max: 0x7ffe * step }];
      }),
    ),
  *setup(options) {
    // It has no identity; what it keeps of a configuration that starts nothing must do.
    const [[, first] = []] = inOrder(options);
    const config = first ? configOf(first) : singleShot;
    yield* write(config);
    const kept = u16be(yield { write: [register.config], read: 2 }, 0) & ~idle;
    if (kept !== config) throw new WrongChip(`it keeps the configuration 0x${kept.toString(16)}`);
    return new Uint8Array();
  },
  *measure(options) {
    const parts: Uint8Array[] = [];
    for (const [, channel] of inOrder(options)) {
      yield* write(idle | configOf(channel));
      // “Electrical Characteristics”: the data rate is true to 10 %; “Single-Shot Mode”: it takes 25 µs to wake.
      yield { waitMs: Math.ceil(1_100 / channel.dataRate) + 1 };
      let config = yield { write: [register.config], read: 2 };
      for (let i = 0; i < 5 && (u16be(config, 0) & idle) === 0; i++) {
        yield { waitMs: Math.ceil(100 / channel.dataRate) };
        config = yield { write: [register.config], read: 2 };
      }
      parts.push(config, yield { write: [register.conversion], read: 2 });
    }
    return Buffer.concat(parts);
  },
  decode(frame, options) {
    const channels = inOrder(options);
    if (frame.length !== channels.length * partBytes) return { discard: "truncated" };
    const values: [string, number][] = [];
    for (const [i, [name, channel]] of channels.entries()) {
      const config = u16be(frame, i * partBytes);
      // Somebody else uses it, or it lost its power in between.
      if ((config & ~idle) !== configOf(channel)) return { discard: "malformed" };
      if ((config & idle) === 0) return { discard: "noAnswer" };
      values.push([name, (s16be(frame, i * partBytes + 2) * channel.fullScale) / 0x8000]);
    }
    return values;
  },
  vectors: [
    {
      title:
        "datasheet section 9.5.4, table “Input Signal Versus Ideal Output Code”: one step up at ± 2.048 V, one down at ± 4.096 V",
      options: {
        channels: {
          tank: { input: "AIN0", fullScale: 2.048, dataRate: 128 },
          bridge: { input: "AIN2-AIN3", fullScale: 4.096, dataRate: 8 },
        },
      },
      frame: "b303ffff c5830001",
      expected: { bridge: -0.000125, tank: 0.0000625 },
    },
    {
      title: "the largest that is not clipped",
      options: { channels: { tank: { input: "AIN0", fullScale: 2.048, dataRate: 128 } } },
      frame: "c5837ffe",
      expected: { tank: 2.047875 },
    },
    {
      title: "another has changed its configuration",
      options: { channels: { tank: { input: "AIN0", fullScale: 2.048, dataRate: 128 } } },
      frame: "85837ffe",
      expected: { discard: "malformed" },
    },
    {
      title: "it still converts",
      options: { channels: { tank: { input: "AIN0", fullScale: 2.048, dataRate: 128 } } },
      frame: "45830001",
      expected: { discard: "noAnswer" },
    },
  ],
};

/** By name: a map of the configuration has no order that a change by twin would keep. */
function inOrder({ channels }: Options): [string, Channel][] {
  return Object.entries(channels).sort(([a], [b]) => (a < b ? -1 : 1));
}

function configOf({ input, fullScale, dataRate }: Channel): number {
  const [mux, pga, rate] = [
    inputs.indexOf(input),
    fullScales.indexOf(fullScale),
    dataRates.indexOf(dataRate),
  ];
  return (mux << 12) | (pga << 9) | (rate << 5) | singleShot;
}

function* write(config: number): Conversation {
  return yield { write: [register.config, config >> 8, config & 0xff] };
}
