import { type I2cDriver, WrongChip } from "./driver.ts";
import { sensirionCommand, sensirionHumidity, sensirionTemperature, sensirionWords } from "./sensirion.ts";

/** Sections and tables are of the datasheet's version 5. */
const command = { stopPeriodic: 0x3093, softReset: 0x30a2, status: 0xf32d } as const;

const repeatabilities = ["low", "medium", "high"] as const;
type Repeatability = (typeof repeatabilities)[number];

/** Table 9: one measurement, the clock not held meanwhile. Table 4, the longest that it takes: 4.5, 6.5 and 15.5 ms. */
const shot: Readonly<Record<Repeatability, { readonly code: number; readonly waitMs: number }>> = {
  low: { code: 0x2416, waitMs: 5 },
  medium: { code: 0x240b, waitMs: 7 },
  high: { code: 0x2400, waitMs: 16 },
};

interface Options {
  readonly repeatability: Repeatability;
}

export const sht31: I2cDriver<Options> = {
  name: "sht31",
  title: "Sensirion SHT30, SHT31, SHT35: temperature, humidity",
  datasheet: "Sensirion SHT3x-DIS, version 5",
  addresses: [0x44, 0x45],
  options: (z) => ({
    repeatability: z
      .enum(repeatabilities)
      .default("high")
      .describe("How little the values vary by themselves; `high` takes 16 ms, `medium` 7, `low` 5"),
  }),
  channels: () => ({
    temperature: { unit: "°C", min: -40, max: 125 },
    humidity: { unit: "%", min: 0, max: 100 },
  }),
  *setup() {
    // It has no identity: a status whose checksum holds must do.
    yield { write: sensirionCommand(command.status) };
    yield { waitMs: 1 };
    const status = yield { read: 3 };
    if ("discard" in sensirionWords(status, 1)) throw new WrongChip("its status has no good checksum");
    // Section 4.8: whoever had it before may have left it measuring, and a reset needs it idle (section 4.9).
    yield { write: sensirionCommand(command.stopPeriodic) };
    yield { waitMs: 1 };
    yield { write: sensirionCommand(command.softReset) };
    // Table 4: 1.5 ms.
    yield { waitMs: 2 };
    return new Uint8Array();
  },
  *measure({ repeatability }) {
    const { code, waitMs } = shot[repeatability];
    yield { write: sensirionCommand(code) };
    yield { waitMs };
    return yield { read: 6 };
  },
  decode(frame) {
    const words = sensirionWords(frame, 2);
    if ("discard" in words) return words;
    const [temperature = 0, humidity = 0] = words;
    return [
      ["temperature", sensirionTemperature(temperature)],
      ["humidity", sensirionHumidity(humidity)],
    ];
  },
  vectors: [
    {
      title:
        "datasheet table 20 (0xBEEF has the checksum 0x92) as both words, by the formulas of section 4.13",
      frame: "beef92 beef92",
      expected: { temperature: 85.52300297, humidity: 74.58457313 },
      tolerance: 1e-7,
    },
    {
      title: "a little above the lowest, and no humidity at all",
      frame: "07c4ac 000081",
      expected: { temperature: -39.69138628, humidity: 0 },
      tolerance: 1e-6,
    },
    {
      title: "one bit of the humidity is wrong",
      frame: "beef92 beee92",
      expected: { discard: "badChecksum" },
    },
    { title: "the bus reads ones only", frame: "ff".repeat(6), expected: { discard: "badChecksum" } },
    { title: "cut short", frame: "beef92 beef", expected: { discard: "truncated" } },
  ],
};
