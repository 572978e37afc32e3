import { RegisterChip } from "./simulated-bus.ts";

/** With the calibration and raw values of its datasheet's example (section 3.12). */
export class SimulatedBmp280 extends RegisterChip {
  readonly temperature = 25.08;
  readonly pressure = 1_006.5327;

  constructor(id = "58") {
    super();
    this.set(0x88, "706b 4367 18fc 7d8e 43d6 d00b 270b 8c00 f9ff 8c3c f8c6 7017");
    this.set(0xd0, id);
    this.reset();
  }

  protected override written(register: number, value: number): void {
    super.written(register, value);
    if (register === 0xe0 && value === 0xb6) this.reset();
    const isForced = (value & 0b11) === 0b01;
    if (register === 0xf4 && isForced) this.measured();
  }

  protected reset(): void {
    this.set(0xf3, "00 00 00 00 800000 800000");
  }

  protected measured(): void {
    this.set(0xf7, "655ac0 7eed00");
  }
}

/** A BMP280 with humidity. */
export class SimulatedBme280 extends SimulatedBmp280 {
  readonly humidity = 38.752;

  constructor() {
    super("60");
    this.set(0xa1, "4b");
    this.set(0xe1, "6a01 00 142c 031e");
  }

  protected override reset(): void {
    super.reset();
    this.set(0xf2, "00");
    this.set(0xfd, "8000");
  }

  /** Humidity is skipped unless it was asked for before (datasheet section 5.4.3). */
  protected override measured(): void {
    super.measured();
    const withHumidity = ((this.registers[0xf2] ?? 0) & 0b111) !== 0;
    this.set(0xfd, withHumidity ? "6e8e" : "8000");
  }
}

/** TSL2591: counts of both diodes, by gain and time, valid when an integration has ended since it was enabled. */
export class SimulatedTsl2591 extends RegisterChip {
  /** Counts in 100 ms at the lowest gain. */
  light = { all: 40, infrared: 8 };
  readonly #now: () => number;
  #readyAtMs = Number.POSITIVE_INFINITY;
  /** Gain and time of the integration under way: a change counts from the next start on. */
  #control = 0;

  constructor(now: () => number = () => performance.now()) {
    super();
    this.#now = now;
    this.set(0x12, "50");
  }

  override write(bytes: Buffer): void {
    // Bits 7 to 5 of the command are 101 in a normal transaction.
    const command = bytes[0] ?? 0;
    if (command >> 5 !== 0b101) return;
    super.write(Buffer.concat([Buffer.from([command & 0x1f]), bytes.subarray(1)]));
  }

  override read(length: number): Buffer {
    if (this.#now() >= this.#readyAtMs) {
      const time = (this.#control & 7) + 1;
      const gain = [1, 25, 428, 9_876][(this.#control >> 4) & 3] ?? 1;
      const counts = (light: number) =>
        Math.min(time === 1 ? 36_863 : 65_535, Math.round(light * gain * time));
      this.registers[0x13] = 0x01;
      this.registers.writeUInt16LE(counts(this.light.all), 0x14);
      this.registers.writeUInt16LE(counts(this.light.infrared), 0x16);
    }
    return super.read(length);
  }

  protected override written(register: number, value: number): void {
    const wasOn = ((this.registers[0x00] ?? 0) & 3) === 3;
    super.written(register, value);
    if (register !== 0x00) return;
    const isOn = (value & 3) === 3;
    if (isOn && !wasOn) {
      this.registers[0x13] = 0;
      this.#control = this.registers[0x01] ?? 0;
      this.#readyAtMs = this.#now() + ((this.#control & 7) + 1) * 108;
    }
    if (!isOn) this.#readyAtMs = Number.POSITIVE_INFINITY;
  }
}

/** DS3231 at a quarter past nine of 27 November 2026, 25.25 °C; whoever writes to it sets the clock. */
export class SimulatedDs3231 extends RegisterChip {
  isSet = false;

  constructor() {
    super();
    this.set(0x00, "00 15 09 06 27 11 26 00 00 00 80 00 00 80 1c 08 00 1940");
  }

  protected override written(register: number, value: number): void {
    super.written(register, value);
    this.isSet = true;
  }
}
