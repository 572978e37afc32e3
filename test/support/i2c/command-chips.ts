/** Chips that know commands and no registers. They take the time as it is, or as a test makes it. */
import { type Chip, NotAcknowledged } from "./simulated-bus.ts";

/** Bit by bit, as a division of polynomials over the whole message; shares nothing with the drivers. */
export function sensirionChecksum(high: number, low: number): number {
  let rest = ((high << 16) | (low << 8)) ^ 0xff0000;
  for (let bit = 23; bit >= 8; bit--) if (rest & (1 << bit)) rest ^= 0x131 << (bit - 8);
  return rest & 0xff;
}

function words(...values: number[]): Buffer {
  return Buffer.from(
    values.flatMap((value) => {
      const [high, low] = [(value >> 8) & 0xff, value & 0xff];
      return [high, low, sensirionChecksum(high, low)];
    }),
  );
}

/** SHT3x-DIS: single shots without clock stretching, and a periodic mode that has to be broken off. */
export class SimulatedSht31 implements Chip {
  temperature = 21.5;
  humidity = 40;
  /** As another program may have left it: no reset and no single shot is taken then. */
  isPeriodic = false;
  readonly #now: () => number;
  #busyUntilMs = 0;
  #answer: "status" | "measurement" | undefined;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  write(bytes: Buffer): void {
    if (this.#now() < this.#busyUntilMs) throw new NotAcknowledged();
    const command = bytes.readUInt16BE(0);
    const busyMs = { 62253: 0, 12435: 1, 12450: 1.5, 9216: 15.5, 9227: 6.5, 9238: 4.5 }[command];
    if (command === 0x3093) this.isPeriodic = false;
    if (busyMs === undefined || (this.isPeriodic && command !== 0xf32d)) throw new NotAcknowledged();
    this.#busyUntilMs = this.#now() + busyMs;
    this.#answer = command === 0xf32d ? "status" : command >> 8 === 0x24 ? "measurement" : undefined;
  }

  read(length: number): Buffer {
    const answer = this.#answer;
    if (!answer || this.#now() < this.#busyUntilMs) throw new NotAcknowledged();
    if (answer === "status") return words(0x8010).subarray(0, length);
    this.#answer = undefined;
    const temperature = Math.round(((this.temperature + 45) / 175) * 65_535);
    return words(temperature, Math.round((this.humidity / 100) * 65_535)).subarray(0, length);
  }
}

/** SCD4x: measures periodically once it is told to; its buffer is empty when it was read. */
export class SimulatedScd41 implements Chip {
  co2 = 500;
  temperature = 25;
  humidity = 37;
  /** How many measurements were read. */
  reads = 0;
  readonly #now: () => number;
  readonly #periodMs: number;
  #startedMs: number | undefined;
  #busyUntilMs = 0;
  /** How many of its measurements were read or overwritten. */
  #taken = 0;
  #command = 0;

  constructor(now: () => number = () => performance.now(), periodMs = 5_000) {
    this.#now = now;
    this.#periodMs = periodMs;
  }

  /** It is idle again, and acknowledges. */
  powerCycle(): void {
    this.#startedMs = undefined;
  }

  write(bytes: Buffer): void {
    if (this.#now() < this.#busyUntilMs) throw new NotAcknowledged();
    const command = bytes.readUInt16BE(0);
    // Table 9: while it measures, nothing else is taken.
    if (this.#startedMs !== undefined && ![0xe4b8, 0xec05, 0x3f86].includes(command))
      throw new NotAcknowledged();
    this.#command = command;
    if (command === 0x3f86) {
      this.#startedMs = undefined;
      this.#busyUntilMs = this.#now() + 500;
    } else if (command === 0x21b1) {
      this.#startedMs = this.#now();
      this.#taken = 0;
    } else this.#busyUntilMs = this.#now() + 1;
  }

  read(length: number): Buffer {
    if (this.#now() < this.#busyUntilMs) throw new NotAcknowledged();
    const made =
      this.#startedMs === undefined ? 0 : Math.floor((this.#now() - this.#startedMs) / this.#periodMs);
    const isReady = made > this.#taken;
    if (this.#command === 0xe4b8) return words(isReady ? 0x8006 : 0x8000).subarray(0, length);
    if (this.#command !== 0xec05 || !isReady) throw new NotAcknowledged();
    this.#taken = made;
    this.reads++;
    const temperature = Math.round(((this.temperature + 45) / 175) * 65_535);
    const humidity = Math.round((this.humidity / 100) * 65_535);
    return words(this.co2, temperature, humidity).subarray(0, length);
  }
}

/** BH1750FVI: a count that is the last one until the next is ready. */
export class SimulatedBh1750 implements Chip {
  illuminance = 1_000;
  readonly #now: () => number;
  #time = 69;
  #count = 0;
  #pending: { readonly atMs: number; readonly count: number } | undefined;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  write(bytes: Buffer): void {
    // It takes one opcode between start and stop.
    const opcode = bytes[0] ?? 0;
    if (opcode >> 3 === 0b01000) this.#time = (this.#time & 0x1f) | ((opcode & 7) << 5);
    else if (opcode >> 5 === 0b011) this.#time = (this.#time & 0xe0) | (opcode & 0x1f);
    else if ([0x20, 0x21, 0x23].includes(opcode)) {
      const [ms, factor] = [opcode === 0x23 ? 24 : 180, opcode === 0x21 ? 2 : 1];
      const count = Math.floor(this.illuminance * 1.2 * (this.#time / 69) * factor);
      const atMs = this.#now() + (ms * this.#time) / 69;
      this.#pending = { atMs, count: Math.min(0xffff, count) };
    }
  }

  read(length: number): Buffer {
    if (this.#pending && this.#now() >= this.#pending.atMs) {
      this.#count = this.#pending.count;
      this.#pending = undefined;
    }
    return Buffer.from([this.#count >> 8, this.#count & 0xff]).subarray(0, length);
  }
}
