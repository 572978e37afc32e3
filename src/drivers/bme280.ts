import { s16le, signed, u16le } from "./bytes.ts";
import { type Conversation, type DriverValues, type I2cDriver, WrongChip } from "./driver.ts";

/** Sections below are of the BME280's datasheet; the BMP280 has the same registers without humidity. */
const register = {
  calibration: 0x88,
  id: 0xd0,
  reset: 0xe0,
  humidityCalibration: 0xe1,
  controlHumidity: 0xf2,
  status: 0xf3,
  controlMeasurement: 0xf4,
  config: 0xf5,
  data: 0xf7,
} as const;

/** Calibration of the example in the BMP280's datasheet, section 3.12, in the order of the registers. */
const example = "706b 4367 18fc 7d8e 43d6 d00b 270b 8c00 f9ff 8c3c f8c6 7017";

const oversampling = [1, 2, 4, 8, 16] as const;
const filters = [0, 2, 4, 8, 16] as const;

interface Options {
  readonly oversampling: (typeof oversampling)[number];
  readonly filter: (typeof filters)[number];
}

/** Datasheet section 5.4.3: the forced mode's two lowest bits. */
const forced = 0b01;

const options: NonNullable<I2cDriver["options"]> = (z) => ({
  oversampling: z
    .literal(oversampling)
    .default(1)
    .describe("Samples of each quantity that one value is the mean of"),
  filter: z.literal(filters).default(0).describe("Coefficient of the chip's low pass; 0: off"),
});

export const bme280: I2cDriver<Options> = {
  name: "bme280",
  title: "Bosch BME280: temperature, pressure, humidity",
  datasheet: "Bosch Sensortec BST-BME280-DS002",
  addresses: [0x76, 0x77],
  options,
  channels: () => ({
    temperature: { unit: "°C", min: -40, max: 85 },
    pressure: { unit: "hPa", min: 300, max: 1_100 },
    humidity: { unit: "%", min: 0, max: 100 },
  }),
  *setup(options) {
    yield* begin([0x60], options);
    const first = yield { write: [register.calibration], read: 26 };
    const second = yield { write: [register.humidityCalibration], read: 7 };
    return Buffer.concat([first, second]);
  },
  measure: (options, known) => measure(options, known, true),
  decode(frame) {
    if (frame.length !== 41) return { discard: "truncated" };
    const { adcT, adcP } = rawOf(frame, 33);
    const adcH = ((frame[39] ?? 0) << 8) | (frame[40] ?? 0);
    const fine = fineTemperature(frame, adcT);
    return valuesOf(frame, 33, fine, adcT, adcP, [
      // Section 5.4.3: what a skipped measurement gives.
      ...(adcH === 0x8000 ? [] : [["humidity", humidity(frame, adcH, fine)] as const]),
    ]);
  },
  vectors: [
    {
      title: "BMP280 datasheet section 3.12 (25.08 °C, 100653.27 Pa), and a humidity word",
      frame: `${example} 00 4b 6a01 00 142c 031e 655ac0 7eed00 6e8e`,
      // The humidity is what the integer formula of the BME280's section 4.2.3 makes of it.
      expected: { temperature: 25.08, pressure: 1_006.5327, humidity: 38.752 },
      tolerance: 0.005,
    },
    {
      title: "humidity was not measured",
      frame: `${example} 00 4b 6a01 00 142c 031e 655ac0 7eed00 8000`,
      expected: { temperature: 25.08, pressure: 1_006.5327 },
      tolerance: 0.005,
    },
    { title: "the bus reads ones only", frame: "ff".repeat(41), expected: { discard: "malformed" } },
    { title: "cut short", frame: "706b", expected: { discard: "truncated" } },
  ],
};

export const bmp280: I2cDriver<Options> = {
  name: "bmp280",
  title: "Bosch BMP280: temperature, pressure",
  datasheet: "Bosch Sensortec BST-BMP280-DS001",
  addresses: [0x76, 0x77],
  options,
  channels: () => ({
    temperature: { unit: "°C", min: -40, max: 85 },
    pressure: { unit: "hPa", min: 300, max: 1_100 },
  }),
  *setup(options) {
    // 0x56 and 0x57 are samples.
    yield* begin([0x56, 0x57, 0x58], options);
    return yield { write: [register.calibration], read: 24 };
  },
  measure: (options, known) => measure(options, known, false),
  decode(frame) {
    if (frame.length !== 30) return { discard: "truncated" };
    const { adcT, adcP } = rawOf(frame, 24);
    return valuesOf(frame, 24, fineTemperature(frame, adcT), adcT, adcP, []);
  },
  vectors: [
    {
      title: "datasheet section 3.12",
      frame: `${example} 655ac0 7eed00`,
      expected: { temperature: 25.08, pressure: 1_006.5327 },
      tolerance: 0.005,
    },
    { title: "the bus reads ones only", frame: "ff".repeat(30), expected: { discard: "malformed" } },
  ],
};

function* begin(ids: readonly number[], { filter }: Options): Conversation {
  const [id = 0] = yield { write: [register.id], read: 1 };
  if (!ids.includes(id)) throw new WrongChip(`chip id 0x${id.toString(16)}`);
  yield { write: [register.reset, 0xb6] };
  // Section 1.1: start-up takes 2 ms; section 5.4.4: bit 0 of the status is set while calibration is copied.
  for (let i = 0; i < 5; i++) {
    yield { waitMs: 3 };
    const [status = 0] = yield { write: [register.status], read: 1 };
    if ((status & 0x01) === 0) break;
  }
  yield { write: [register.config, filters.indexOf(filter) << 2] };
  return new Uint8Array();
}

function* measure(options: Options, known: Uint8Array, withHumidity: boolean): Conversation {
  const code = oversampling.indexOf(options.oversampling) + 1;
  // Section 5.4.3: humidity's control takes effect with the write to that of the measurement.
  if (withHumidity) yield { write: [register.controlHumidity, code] };
  yield { write: [register.controlMeasurement, (code << 5) | (code << 2) | forced] };
  // Appendix B (9.1): the longest that a measurement takes.
  const longestMs = 1.25 + 2.3 * options.oversampling * (withHumidity ? 3 : 2) + 0.575 * 2;
  yield { waitMs: Math.ceil(longestMs) };
  const data = yield { write: [register.data], read: withHumidity ? 8 : 6 };
  return Buffer.concat([known, data]);
}

function rawOf(frame: Uint8Array, at: number): { adcT: number; adcP: number } {
  const twenty = (from: number) =>
    ((frame[from] ?? 0) << 12) | ((frame[from + 1] ?? 0) << 4) | ((frame[from + 2] ?? 0) >> 4);
  return { adcP: twenty(at), adcT: twenty(at + 3) };
}

function valuesOf(
  frame: Uint8Array,
  at: number,
  fine: number,
  adcT: number,
  adcP: number,
  more: DriverValues,
): ReturnType<I2cDriver["decode"]> {
  // Sections 5.4.7 and 5.4.8: the four lowest bits of both are zero, unless the bus is stuck.
  if (((frame[at + 2] ?? 0) & 0x0f) !== 0 || ((frame[at + 5] ?? 0) & 0x0f) !== 0)
    return { discard: "malformed" };
  const pascals = adcP === 0x80000 ? undefined : pressure(frame, adcP, fine);
  return [
    ...(adcT === 0x80000 ? [] : [["temperature", fine / 5_120] as const]),
    ...(pascals === undefined ? [] : [["pressure", pascals / 100] as const]),
    ...more,
  ];
}

/** Appendix A (8.1): compensation in double precision, `t_fine`. The calibration begins at byte 0. */
function fineTemperature(frame: Uint8Array, adcT: number): number {
  const [t1, t2, t3] = [u16le(frame, 0), s16le(frame, 2), s16le(frame, 4)];
  const coarse = (adcT / 16_384 - t1 / 1_024) * t2;
  const square = (adcT / 131_072 - t1 / 8_192) ** 2 * t3;
  return coarse + square;
}

/** Pa; undefined where the calibration allows none. */
function pressure(frame: Uint8Array, adcP: number, fine: number): number | undefined {
  const p = (n: number) => s16le(frame, 4 + 2 * n);
  let var1 = fine / 2 - 64_000;
  let var2 = (var1 * var1 * p(6)) / 32_768 + var1 * p(5) * 2;
  var2 = var2 / 4 + p(4) * 65_536;
  var1 = ((p(3) * var1 * var1) / 524_288 + p(2) * var1) / 524_288;
  var1 = (1 + var1 / 32_768) * u16le(frame, 6);
  if (var1 === 0) return undefined;
  const raw = ((1_048_576 - adcP - var2 / 4_096) * 6_250) / var1;
  return raw + ((p(9) * raw * raw) / 2_147_483_648 + (raw * p(8)) / 32_768 + p(7)) / 16;
}

/** % relative humidity. */
function humidity(frame: Uint8Array, adcH: number, fine: number): number {
  const [h1 = 0, e1 = 0, e2 = 0, h3 = 0, e4 = 0, e5 = 0, e6 = 0, e7 = 0] = frame.subarray(25, 33);
  const h2 = signed(e1 | (e2 << 8), 16);
  const h4 = signed((e4 << 4) | (e5 & 0x0f), 12);
  const h5 = signed((e6 << 4) | (e5 >> 4), 12);
  const h6 = signed(e7, 8);
  const t = fine - 76_800;
  const linear = adcH - (h4 * 64 + (h5 / 16_384) * t);
  const gain = (h2 / 65_536) * (1 + (h6 / 67_108_864) * t * (1 + (h3 / 67_108_864) * t));
  const value = linear * gain;
  return Math.min(100, Math.max(0, value * (1 - (h1 * value) / 524_288)));
}
