import { type Conversation, type I2cDriver, WrongChip } from "./driver.ts";
import { sensirionCommand, sensirionHumidity, sensirionTemperature, sensirionWords } from "./sensirion.ts";

/** Datasheet table 9; the first two may be sent while it measures. */
const command = { isReady: 0xe4b8, read: 0xec05, stop: 0x3f86, start: 0x21b1 } as const;

export const scd41: I2cDriver = {
  name: "scd41",
  title: "Sensirion SCD40, SCD41: CO₂, temperature, humidity",
  datasheet: "Sensirion SCD4x, version 1.3",
  addresses: [0x62],
  // Section 3.5.1: it measures every 5 s. After a loss of power it is idle, and acknowledges all the same.
  longestGapMs: 15_000,
  channels: () => ({
    // Sections 1.1 to 1.3: what it can put out, and where it may be.
    co2: { unit: "ppm", min: 0, max: 40_000 },
    temperature: { unit: "°C", min: -10, max: 60 },
    humidity: { unit: "%", min: 0, max: 100 },
  }),
  *setup() {
    const status = yield* answer(command.isReady, 1);
    if ("discard" in sensirionWords(status, 1)) throw new WrongChip("its status has no good checksum");
    // It may be measuring already, and would not take the start then.
    yield { write: sensirionCommand(command.stop) };
    yield { waitMs: 500 };
    yield { write: sensirionCommand(command.start) };
    return new Uint8Array();
  },
  *measure() {
    const status = yield* answer(command.isReady, 1);
    const ready = sensirionWords(status, 1);
    // For `decode` to discard it.
    if ("discard" in ready) return status;
    // Section 3.8.2: the lowest eleven bits are zero when there is nothing new. To read then is not acknowledged.
    if (((ready[0] ?? 0) & 0x7ff) === 0) return undefined;
    return yield* answer(command.read, 3);
  },
  decode(frame) {
    const words = sensirionWords(frame, 3);
    if ("discard" in words) return words;
    const [co2 = 0, temperature = 0, humidity = 0] = words;
    return [
      ["co2", co2],
      ["temperature", sensirionTemperature(temperature)],
      ["humidity", sensirionHumidity(humidity)],
    ];
  },
  vectors: [
    {
      // The checksum that table 11 prints for 0x01F4 is that of another word; 0x33 is what section 3.11 makes of it.
      title: "datasheet table 11: 500 ppm, 25 °C, 37 %",
      frame: "01f433 6667a2 5eb93c",
      expected: { co2: 500, temperature: 25, humidity: 37 },
      tolerance: 0.005,
    },
    {
      title: "table 11 as it is printed",
      frame: "01f47b 6667a2 5eb93c",
      expected: { discard: "badChecksum" },
    },
    { title: "a status with a wrong checksum", frame: "800000", expected: { discard: "badChecksum" } },
    { title: "cut short", frame: "01f433 6667a2", expected: { discard: "truncated" } },
  ],
};

/** Section 3.4: so many words, after the millisecond that the command takes. */
function* answer(code: number, words: number): Conversation {
  yield { write: sensirionCommand(code) };
  yield { waitMs: 1 };
  return yield { read: words * 3 };
}
