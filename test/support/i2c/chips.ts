import { RegisterChip } from "./simulated-bus.ts";

/** With the calibration and raw values of the BMP280 datasheet's example (section 3.12): 25.08 °C, 1006.53 hPa. */
export class SimulatedBme280 extends RegisterChip {
  constructor() {
    super();
    this.set(0x88, "706b 4367 18fc 7d8e 43d6 d00b 270b 8c00 f9ff 8c3c f8c6 7017 00 4b");
    this.set(0xd0, "60");
    this.set(0xe1, "6a01 00 142c 031e");
    this.#reset();
  }

  protected override written(register: number, value: number): void {
    super.written(register, value);
    if (register === 0xe0 && value === 0xb6) this.#reset();
    // A forced measurement; humidity is skipped unless it was asked for before (datasheet section 5.4.3).
    const isForced = (value & 0b11) === 0b01;
    if (register === 0xf4 && isForced) {
      const withHumidity = ((this.registers[0xf2] ?? 0) & 0b111) !== 0;
      this.set(0xf7, `655ac0 7eed00 ${withHumidity ? "6e8e" : "8000"}`);
    }
  }

  #reset(): void {
    this.set(0xf2, "00 00 00 00 00 800000 800000 8000");
  }
}
