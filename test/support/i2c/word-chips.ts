/** Chips with a pointer to registers of 16 bits, which a read does not move on. */
import type { Chip } from "./simulated-bus.ts";

abstract class WordChip implements Chip {
  protected readonly now: () => number;
  protected pointer = 0;

  constructor(now: () => number = () => performance.now()) {
    this.now = now;
  }

  write(bytes: Buffer): void {
    this.pointer = bytes[0] ?? 0;
    if (bytes.length === 3) this.set(this.pointer, bytes.readUInt16BE(1));
  }

  /** Beyond its two bytes the line is let go, and reads as ones. */
  read(length: number): Buffer {
    const value = this.get(this.pointer) & 0xffff;
    return Buffer.from(Array.from({ length }, (_, i) => [value >> 8, value & 0xff][i] ?? 0xff));
  }

  protected abstract get(register: number): number;
  protected abstract set(register: number, value: number): void;
}

const fullScales = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256, 0.256, 0.256];
const dataRates = [8, 16, 32, 64, 128, 250, 475, 860];
/** AINP and AINN by the code of MUX; undefined is ground. */
const inputs = [[0, 1], [0, 3], [1, 3], [2, 3], [0], [1], [2], [3]] as const;

/** ADS1115: converts when it is started, and has the old value until it is done. */
export class SimulatedAds1115 extends WordChip {
  /** V at AIN0 to AIN3. */
  volts = [0, 0, 0, 0];
  #config = 0x8583;
  #conversion = 0;
  #pending: { readonly atMs: number; readonly code: number } | undefined;

  powerCycle(): void {
    this.#config = 0x8583;
    this.#conversion = 0;
    this.#pending = undefined;
  }

  protected get(register: number): number {
    if (this.#pending && this.now() >= this.#pending.atMs) {
      this.#conversion = this.#pending.code;
      this.#pending = undefined;
    }
    const registers = [this.#conversion, this.#config | (this.#pending ? 0 : 0x8000), 0x8000, 0x7fff];
    return registers[register & 3] ?? 0;
  }

  protected set(register: number, value: number): void {
    if (register !== 1) return;
    const isBusy = (this.get(1) & 0x8000) === 0;
    this.#config = value & 0x7fff;
    if ((value & 0x8000) === 0 || isBusy) return;
    const [plus, minus] = inputs[(value >> 12) & 7] ?? [0];
    const volts = (this.volts[plus] ?? 0) - (minus === undefined ? 0 : (this.volts[minus] ?? 0));
    const code = Math.round((volts / (fullScales[(value >> 9) & 7] ?? 1)) * 0x8000);
    const atMs = this.now() + 1_000 / (dataRates[(value >> 5) & 7] ?? 8);
    this.#pending = { atMs, code: Math.max(-0x8000, Math.min(0x7fff, code)) };
  }
}

/** INA219: one conversion of both voltages when it is triggered; calculates by its calibration. */
export class SimulatedIna219 extends WordChip {
  shuntVolts = 0;
  busVolts = 0;
  #config = 0x399f;
  #calibration = 0;
  #readyAtMs = Number.POSITIVE_INFINITY;
  #isRead = false;

  powerCycle(): void {
    this.#config = 0x399f;
    this.#calibration = 0;
  }

  protected get(register: number): number {
    const full = 4_000 << ((this.#config >> 11) & 3);
    const shunt = Math.max(-full, Math.min(full, Math.round(this.shuntVolts / 10e-6)));
    const bus = Math.min(this.#config & 0x2000 ? 8_000 : 4_000, Math.round(this.busVolts / 4e-3));
    const current = Math.trunc((shunt * this.#calibration) / 4_096);
    const power = Math.trunc((Math.abs(current) * bus) / 5_000);
    switch (register) {
      case 0:
        return this.#config;
      case 1:
        return shunt;
      case 2: {
        const isReady = this.now() >= this.#readyAtMs && !this.#isRead;
        return (bus << 3) | (isReady ? 2 : 0) | (Math.abs(current) > 0x7fff || power > 0xffff ? 1 : 0);
      }
      case 3:
        this.#isRead = true;
        return power;
      case 4:
        return current;
      default:
        return this.#calibration;
    }
  }

  protected set(register: number, value: number): void {
    if (register === 5) this.#calibration = value & 0xfffe;
    if (register !== 0) return;
    if (value & 0x8000) this.powerCycle();
    else this.#config = value;
    const code = (value >> 3) & 0xf;
    const samples = code & 8 ? 2 ** (code & 7) : 1;
    this.#readyAtMs = (value & 3) === 3 ? this.now() + 2 * 0.532 * samples : Number.POSITIVE_INFINITY;
    this.#isRead = false;
  }
}

/** MCP9808: measures all the time unless it is shut down. */
export class SimulatedMcp9808 extends WordChip {
  temperature = 0;
  /** As another program may have left it: shut down, and its alert output set up. */
  config = 0x0108;
  resolution = 3;
  #held = 0;

  protected get(register: number): number {
    if ((this.config & 0x0100) === 0) this.#held = this.temperature;
    const step = [0.5, 0.25, 0.125, 0.0625][this.resolution] ?? 1;
    const steps = Math.floor(this.#held / step) * step * 16;
    return { 1: this.config, 5: 0xc000 | (steps & 0x1fff), 6: 0x0054, 7: 0x0400 }[register] ?? 0;
  }

  protected set(register: number, value: number): void {
    if (register === 1) this.config = value;
  }

  override write(bytes: Buffer): void {
    super.write(bytes);
    // The resolution is one byte.
    if (bytes[0] === 8 && bytes.length === 2) this.resolution = (bytes[1] ?? 0) & 3;
  }
}
