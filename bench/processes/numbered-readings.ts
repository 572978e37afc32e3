import { firstSeq, noisyDigits, readingText } from "../reading.ts";

/** A reading's bytes as they leave, and where in them the reading begins. */
export interface Wrapped {
  readonly bytes: Buffer;
  readonly readingAt: number;
}

/** One of them, with the number of its device. */
export interface NumberedReading {
  readonly device: number;
  readonly bytes: Buffer;
  readonly readingAt: number;
}

interface Template extends Wrapped {
  readonly seqAt: number;
  readonly noiseAt: readonly number[];
}

/** Of the values, per device, as far as this many templates go around. */
const variants = 64;
const maxTemplates = 10_000;

/**
 * Readings of the devices in turn, each device's numbered. They are made beforehand, and only numbers are written over,
 * because the devices share the machine with what is measured.
 */
export class NumberedReadings {
  readonly #templates: readonly (readonly Template[])[];
  #made = 0;

  constructor(devices: number, wrap: (device: number, reading: string) => Wrapped) {
    const each = Math.min(variants, Math.max(1, Math.floor(maxTemplates / devices)));
    this.#templates = Array.from({ length: devices }, (_, device) =>
      Array.from({ length: each }, (_, variant) => {
        const text = readingText(device, variant, firstSeq);
        const { bytes, readingAt } = wrap(device, text);
        const seqAt = readingAt + text.indexOf(String(firstSeq));
        return { bytes, readingAt, seqAt, noiseAt: noisyDigits(text).map((at) => readingAt + at) };
      }),
    );
  }

  next(): NumberedReading {
    const devices = this.#templates.length;
    const device = this.#made % devices;
    const seq = Math.floor(this.#made / devices);
    this.#made++;
    const own = this.#templates[device] as readonly Template[];
    const { bytes, readingAt, seqAt, noiseAt } = own[seq % own.length] as Template;
    const copy = Buffer.from(bytes);
    writeDigits(copy, firstSeq + seq, seqAt);
    for (const at of noiseAt) copy[at] = nextDigit();
    return { device, bytes: copy, readingAt };
  }
}

/** Nine digits. */
function writeDigits(buffer: Buffer, value: number, at: number): void {
  let rest = value;
  for (let i = at + 8; i >= at; i--) {
    buffer[i] = 48 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
}

let noise = 1;

/** A digit's character, by xorshift (Marsaglia, J. Stat. Soft. 8 (14), 2003): a store must not profit from repeats. */
function nextDigit(): number {
  noise ^= noise << 13;
  noise ^= noise >>> 17;
  noise ^= noise << 5;
  return 48 + ((noise >>> 8) % 10);
}
