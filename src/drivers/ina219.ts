import { s16be, u16be } from "./bytes.ts";
import { type Conversation, type I2cDriver, WrongChip } from "./driver.ts";

/** Datasheet section 8.6: the registers, 16 bits each. */
const register = { config: 0, shunt: 1, bus: 2, power: 3, current: 4, calibration: 5 } as const;
const reset = 0x8000;
const afterReset = 0x399f;

const averagings = [1, 2, 4, 8, 16, 32, 64, 128] as const;
const busRanges = [16, 32] as const;
/** Full scale of the shunt's voltage in V, in the order of the codes of PG. */
const shuntRanges = [0.04, 0.08, 0.16, 0.32] as const;
/** V. */
const shuntStep = 10e-6;
const busStep = 4e-3;

interface Options {
  readonly shuntOhms: number;
  readonly maxAmps: number;
  readonly busRange: (typeof busRanges)[number];
  readonly averaging: (typeof averagings)[number];
}

/** Section 8.6.2.1: one conversion of both voltages. */
const triggered = 0b011;
/** Section 8.6.3.2: of the bus voltage's register. */
const overflow = 0b001;
const ready = 0b010;
const unused = 0b100;

export const ina219: I2cDriver<Options> = {
  name: "ina219",
  title: "Texas Instruments INA219: voltage, current, power",
  datasheet: "Texas Instruments SBOS448G",
  addresses: Array.from({ length: 16 }, (_, i) => 0x40 + i),
  options: (z) => ({
    shuntOhms: z.number().min(0.0001).max(100).default(0.1).describe("Resistance of the shunt"),
    maxAmps: z
      .number()
      .min(0.001)
      .max(1_000)
      .default(3.2)
      .describe("The largest current, either way; × `shuntOhms` at most 0.32 V"),
    busRange: z.literal(busRanges).default(32).describe("V; the chip bears 26"),
    averaging: z
      .literal(averagings)
      .default(1)
      .describe("Samples that one value is the mean of; each takes 1.2 ms"),
  }),
  contradictions: ({ shuntOhms, maxAmps }) =>
    shuntRanges.some((range) => fits(shuntOhms, maxAmps, range))
      ? []
      : [
          {
            path: "maxAmps",
            message: `would be ${shuntOhms * maxAmps} V at the shunt, and the chip measures 0.32 V`,
            hint: "lower it, or use a smaller shunt and set its shuntOhms",
          },
        ],
  channels: (options) => {
    // One code below the full scale, which is also what everything beyond is clipped to.
    const shunt = shuntRange(options) - shuntStep;
    const volts = Math.min(26, options.busRange - busStep);
    return {
      busVoltage: { unit: "V", min: 0, max: volts },
      shuntVoltage: { unit: "V", min: -shunt, max: shunt },
      current: { unit: "A", min: -options.maxAmps, max: options.maxAmps },
      power: { unit: "W", min: 0, max: volts * options.maxAmps },
    };
  },
  *setup() {
    // It has no identity: bits 15 and 14 are zero, and the INA226 of the same addresses has one of them set.
    const found = u16be(yield { write: [register.config], read: 2 }, 0);
    if (found & 0xc000) throw new WrongChip(`configuration 0x${found.toString(16)}`);
    yield* write(register.config, reset);
    const begun = u16be(yield { write: [register.config], read: 2 }, 0);
    if (begun !== afterReset) throw new WrongChip(`configuration 0x${begun.toString(16)} after a reset`);
    return new Uint8Array();
  },
  *measure(options) {
    const { averaging, busRange } = options;
    const gain = shuntRanges.indexOf(shuntRange(options));
    // Section 8.6.2.1, “ADC Settings”: 12 bits, and so many samples.
    const samples = 0b1000 | averagings.indexOf(averaging);
    const range = busRanges.indexOf(busRange);
    // Each time: after a loss of power it would be zero, and so would be the current.
    yield* write(register.calibration, calibrationOf(options));
    yield* write(register.config, (range << 13) | (gain << 11) | (samples << 7) | (samples << 3) | triggered);
    // The times there are typical ones; section 7.5: 586 µs at most instead of 532.
    const longestMs = Math.ceil(2 * 0.586 * averaging) + 1;
    yield { waitMs: longestMs };
    let bus = yield { write: [register.bus], read: 2 };
    for (let i = 0; i < 5 && (u16be(bus, 0) & ready) === 0; i++) {
      yield { waitMs: Math.ceil(longestMs / 10) };
      bus = yield { write: [register.bus], read: 2 };
    }
    const shunt = yield { write: [register.shunt], read: 2 };
    const current = yield { write: [register.current], read: 2 };
    const power = yield { write: [register.power], read: 2 };
    return Buffer.concat([bus, shunt, current, power]);
  },
  decode(frame, options) {
    if (frame.length !== 8) return { discard: "truncated" };
    const bus = u16be(frame, 0);
    if (bus & unused) return { discard: "malformed" };
    if ((bus & ready) === 0) return { discard: "noAnswer" };
    const shunt = s16be(frame, 2);
    const voltages = [
      ["busVoltage", (bus >> 3) * busStep],
      ["shuntVoltage", shunt * shuntStep],
    ] as const;
    // The chip calculates with the clipped value, and does not say so.
    const isClipped = Math.abs(shunt) >= Math.round(shuntRange(options) / shuntStep);
    if (bus & overflow || isClipped) return voltages;
    const amps = currentStep(options);
    return [
      ...voltages,
      ["current", s16be(frame, 4) * amps],
      // Section 8.5.1: 20 times the current's step. It has no sign (Linux, drivers/hwmon/ina2xx.c).
      ["power", u16be(frame, 6) * 20 * amps],
    ];
  },
  vectors: [
    {
      title:
        "datasheet section 9.2.2.1, table “Configure/Measure/Calculate Example” (20 mV at 2 mΩ, 11.98 V), with CNVR set",
      options: { shuntOhms: 0.002, maxAmps: 32.768 },
      frame: "5d9a 07d0 2710 1766",
      expected: { busVoltage: 11.98, shuntVoltage: 0.02, current: 10, power: 119.8 },
    },
    {
      title: "the current flows the other way",
      options: { shuntOhms: 0.002, maxAmps: 32.768 },
      frame: "5d9a f830 d8f0 1766",
      expected: { busVoltage: 11.98, shuntVoltage: -0.02, current: -10, power: 119.8 },
    },
    {
      title: "current and power overflow (OVF)",
      options: { shuntOhms: 0.002, maxAmps: 32.768 },
      frame: "5d9b 07d0 2710 1766",
      expected: { busVoltage: 11.98, shuntVoltage: 0.02 },
    },
    { title: "it still converts", frame: "5d98 07d0 2710 1766", expected: { discard: "noAnswer" } },
    { title: "the bus reads ones only", frame: "ff".repeat(8), expected: { discard: "malformed" } },
    { title: "cut short", frame: "5d9a 07d0 2710", expected: { discard: "truncated" } },
  ],
};

/** 3.2 A × 0.1 Ω is a little more than 0.32 V in double precision. */
const fits = (shuntOhms: number, maxAmps: number, range: number) => shuntOhms * maxAmps <= range * 1.000_001;

/** The finest range that the largest current fits into. */
function shuntRange({ shuntOhms, maxAmps }: Options): (typeof shuntRanges)[number] {
  return shuntRanges.find((range) => fits(shuntOhms, maxAmps, range)) ?? 0.32;
}

/** Section 8.5.1, equations 1 and 2: the finest step that holds `maxAmps`; section 8.6.4.1: bit 0 is always zero. */
function calibrationOf({ shuntOhms, maxAmps }: Options): number {
  const finest = maxAmps / 0x8000;
  return Math.min(0xfffe, Math.floor((0.04096 / (finest * shuntOhms)) * 1.000_001) & ~1);
}

/** A, as the calibration was rounded. */
function currentStep(options: Options): number {
  return 0.04096 / (calibrationOf(options) * options.shuntOhms);
}

function* write(at: number, value: number): Conversation {
  return yield { write: [at, value >> 8, value & 0xff] };
}
