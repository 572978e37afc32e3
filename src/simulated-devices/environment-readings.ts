import { between, createRandom, deriveSeed, happens, type Random } from "./random.ts";

export type LineFormat = "json" | "csv" | "keyValue";

/** Degrees Celsius, hectopascals, per cent relative humidity. */
export interface EnvironmentValues {
  readonly temperature: number;
  readonly pressure: number;
  readonly humidity: number;
}

/**
 * What became of a line: bits `flipped`, its end cut off (`truncated`), its newline lost so that the next line
 * runs into it (`newlineLost`), or random bytes instead of it (`noise`).
 */
export type Garbling = "flipped" | "truncated" | "newlineLost" | "noise";

export interface EnvironmentReadingsOptions {
  readonly device: string;
  readonly seed: number;
  readonly format: LineFormat;
  /** Whether lines carry `seq`. */
  readonly numbered: boolean;
  /** Whether lines carry `time`, ms since 1970 UTC. */
  readonly timed: boolean;
  /** Mean number of lines between; 0 never. */
  readonly spikeEvery: number;
  readonly garbleEvery: number;
  readonly pauseEvery: number;
  readonly pauseMs: number;
}

/** One reading on its way: what was measured, and the bytes that leave for it. */
export interface EnvironmentLine {
  readonly seq: number;
  readonly values: EnvironmentValues;
  readonly bytes: Buffer;
  /** Out of its range on purpose; the line itself is intact. */
  readonly spike: keyof EnvironmentValues | undefined;
  readonly garbling: Garbling | undefined;
  /** How much longer than usual the device waits before its next line. */
  readonly pauseMs: number;
}

interface Channel {
  readonly key: keyof EnvironmentValues;
  readonly decimals: number;
  readonly centre: number;
  readonly swing: number;
  /** Lines per turn of the drift. */
  readonly period: number;
  readonly noise: number;
  /** Valid range of a common environment sensor; a spike lies outside it by up to `overshoot`. */
  readonly min: number;
  readonly max: number;
  readonly overshoot: number;
}

const channels = [
  {
    key: "temperature",
    decimals: 2,
    centre: 21,
    swing: 3,
    period: 900,
    noise: 0.08,
    min: -40,
    max: 80,
    overshoot: 60,
  },
  {
    key: "pressure",
    decimals: 1,
    centre: 1012,
    swing: 5,
    period: 2400,
    noise: 0.2,
    min: 600,
    max: 1600,
    overshoot: 300,
  },
  {
    key: "humidity",
    decimals: 1,
    centre: 45,
    swing: 9,
    period: 1500,
    noise: 0.4,
    min: 0,
    max: 100,
    overshoot: 50,
  },
] as const satisfies readonly Channel[];

/** Ranges as in the readings' channels, for whoever wants to tell a spike from a value. */
export const environmentRanges: Readonly<
  Record<keyof EnvironmentValues, { readonly min: number; readonly max: number }>
> = {
  temperature: { min: channels[0].min, max: channels[0].max },
  pressure: { min: channels[1].min, max: channels[1].max },
  humidity: { min: channels[2].min, max: channels[2].max },
};

const garblings = ["flipped", "truncated", "newlineLost", "noise"] as const satisfies readonly Garbling[];
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * An endless, deterministic sequence of lines: slow drift, noise, and faults at the rates asked for. Nothing
 * depends on time, so the same options give the same lines however fast they are taken.
 */
export class EnvironmentReadings {
  readonly #options: EnvironmentReadingsOptions;
  // Streams of their own: a device measures the same with and without faults.
  readonly #noise: Random;
  readonly #spikes: Random;
  readonly #garblings: Random;
  readonly #pauses: Random;
  readonly #phase: number;
  #seq = 0;

  constructor(options: EnvironmentReadingsOptions) {
    const stream = (name: string): Random =>
      createRandom(deriveSeed(options.seed, `${options.device}/${name}`));
    this.#options = options;
    this.#noise = stream("noise");
    this.#spikes = stream("spikes");
    this.#garblings = stream("garblings");
    this.#pauses = stream("pauses");
    this.#phase = stream("phase")() * 2 * Math.PI;
  }

  /** `nowMs` is written into the line where lines carry a time; nothing else depends on it. */
  next(nowMs = 0): EnvironmentLine {
    const { spikeEvery, garbleEvery, pauseEvery, pauseMs } = this.#options;
    const seq = this.#seq++;
    const garbling = happens(this.#garblings, garbleEvery)
      ? garblings[between(this.#garblings, 0, garblings.length - 1)]
      : undefined;
    const spikes = happens(this.#spikes, spikeEvery);
    const spike =
      spikes && garbling === undefined ? channels[between(this.#spikes, 0, channels.length - 1)] : undefined;
    const texts = channels.map((channel) => {
      // Measured even when a spike replaces it, so that the noise after a spike is the same as without.
      const measured = this.#measure(channel, seq);
      return (channel === spike ? this.#outOfRange(channel) : measured).toFixed(channel.decimals);
    });
    const [temperature = "", pressure = "", humidity = ""] = texts;
    const line = this.#write(seq, Math.round(nowMs), temperature, pressure, humidity);
    return {
      seq,
      // From the text, so that they are the values a perfect receiver would read.
      values: {
        temperature: Number(temperature),
        pressure: Number(pressure),
        humidity: Number(humidity),
      },
      bytes: garbling === undefined ? line : this.#garble(line, garbling),
      spike: spike?.key,
      garbling,
      pauseMs: happens(this.#pauses, pauseEvery) ? pauseMs : 0,
    };
  }

  #measure(channel: Channel, seq: number): number {
    const drift = channel.swing * Math.sin((2 * Math.PI * seq) / channel.period + this.#phase);
    return channel.centre + drift + (this.#noise() * 2 - 1) * channel.noise;
  }

  #outOfRange(channel: Channel): number {
    // From a tenth of the overshoot on: rounding must not bring it back to the limit.
    const beyond = channel.overshoot * (0.1 + 0.9 * this.#spikes());
    return this.#spikes() < 0.5 ? channel.min - beyond : channel.max + beyond;
  }

  #write(seq: number, timeMs: number, temperature: string, pressure: string, humidity: string): Buffer {
    const { device, format, numbered, timed } = this.#options;
    switch (format) {
      case "json": {
        const number = numbered ? `"seq":${seq},` : "";
        const time = timed ? `"time":${timeMs},` : "";
        return Buffer.from(
          `{"id":"${device}",${number}${time}"temperature":${temperature},"pressure":${pressure},"humidity":${humidity}}\n`,
        );
      }
      case "csv": {
        const number = numbered ? `${seq},` : "";
        const time = timed ? `${timeMs},` : "";
        return Buffer.from(`${device},${number}${time}${temperature},${pressure},${humidity}\n`);
      }
      case "keyValue": {
        const number = numbered ? `seq=${seq} ` : "";
        const time = timed ? `time=${timeMs} ` : "";
        return Buffer.from(
          `id=${device} ${number}${time}temperature=${temperature} pressure=${pressure} humidity=${humidity}\n`,
        );
      }
      default:
        return format satisfies never;
    }
  }

  /**
   * Damage that still decodes would be a wrong reading, which no gateway can tell without a checksum and no field
   * log could account for. So flipped lines and noise are never UTF-8, and cut lines carry no value; behind a lost
   * newline, `csv` and `keyValue` may still show a lenient receiver some.
   */
  #garble(line: Buffer, garbling: Garbling): Buffer {
    const random = this.#garblings;
    const text = line.toString("latin1");
    switch (garbling) {
      case "flipped": {
        const flipped = Buffer.from(line);
        for (let flips = between(random, 1, 6); flips > 0; flips--) {
          flipBit(flipped, between(random, 0, line.length - 2), between(random, 0, 6));
        }
        // A digit of every value gets its top bit set: no digit any more, and alone no UTF-8 (RFC 3629, section 3).
        for (const value of valuesIn(text)) {
          const at = value.start + between(random, 0, value.length - 1);
          flipped[at] = (line[at] ?? 0) | 0x80;
        }
        return flipped;
      }
      case "truncated": {
        // JSON is invalid without its closing brace; the other formats keep nothing behind their first field.
        const most = this.#options.format === "json" ? line.length - 2 : text.search(/[ ,]/);
        return Buffer.concat([line.subarray(0, between(random, 1, most)), Buffer.of(NEWLINE)]);
      }
      case "newlineLost":
        return line.subarray(0, line.length - 1);
      case "noise": {
        const noise = Buffer.alloc(between(random, 8, 64), 0);
        for (let at = 0; at < noise.length; at++) {
          const byte = between(random, 0, 255);
          // Never a line end inside: one entry in the field log is one line on the wire.
          noise[at] = byte === NEWLINE || byte === CARRIAGE_RETURN ? byte | 0x80 : byte;
        }
        // No UTF-8 text starts with a continuation byte (RFC 3629, section 3).
        noise[0] = 0x80 | between(random, 0, 0x3f);
        return Buffer.concat([noise, Buffer.of(NEWLINE)]);
      }
      default:
        return garbling satisfies never;
    }
  }
}

/** Flips one bit unless that makes a line end, which would make two lines of one. */
function flipBit(bytes: Buffer, at: number, bit: number): void {
  const flipped = (bytes[at] ?? 0) ^ (1 << bit);
  if (flipped !== NEWLINE && flipped !== CARRIAGE_RETURN) bytes[at] = flipped;
}

/** Where the three values stand: the only numbers with decimals, and the last ones of the line. */
function valuesIn(text: string): readonly { readonly start: number; readonly length: number }[] {
  return [...text.matchAll(/\d+\.\d+/g)].slice(-3).map((match) => ({
    start: match.index,
    length: match[0].indexOf("."),
  }));
}
