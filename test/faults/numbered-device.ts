import { SerialDevice } from "../support/serial-device.ts";
import { monotonicMs, sleep } from "./time.ts";

/** One reading as the device knows it. */
export interface SentReading {
  readonly seq: number;
  readonly text: string;
  /** Cut off in the middle, so that it is none. */
  readonly garbled: boolean;
  /** CLOCK_MONOTONIC ms at which the kernel had taken its last byte. */
  readonly monotonicMs: number;
  /** Changes when the port is opened or flushed. */
  readonly listener: number;
}

export interface DeviceOptions {
  readonly random: () => number;
  /** Between two readings. */
  readonly pauseMs: number;
  readonly sizeMs: number;
  /** Without it readings carry no time of their own. */
  readonly ownTime: boolean;
}

/** A device that numbers its readings, never leaves one out, and remembers when each was out. */
export class NumberedDevice {
  readonly sent: SentReading[] = [];
  readonly #device = new SerialDevice();
  readonly #options: DeviceOptions;
  readonly #random: () => number;
  #deviceMs: number;
  #seq = 0;
  #sending = false;
  #loop = Promise.resolve();
  #failure: unknown;

  constructor(options: DeviceOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#deviceMs = Math.floor(Date.now() / options.sizeMs) * options.sizeMs - 86_400_000;
    this.#device.line.plug();
  }

  get path(): string {
    return this.#device.path;
  }

  start(): void {
    this.#sending = true;
    this.#loop = this.#run().catch((error: unknown) => {
      // Reported by `pause`, where somebody waits for it.
      this.#failure = error;
    });
  }

  /** The reading that is on its way is out when this resolves; needs a listener. */
  async pause(): Promise<void> {
    this.#sending = false;
    await this.#loop;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** One more, of a device of its own whose time closes every window before it. */
  async end(): Promise<void> {
    this.#deviceMs += 7_200_000;
    await this.#send("end", this.#deviceMs, false);
  }

  async stop(): Promise<void> {
    this.#sending = false;
    await this.#device.stop();
  }

  async #run(): Promise<void> {
    while (this.#sending) {
      const random = this.#random;
      this.#deviceMs += 20 + Math.floor(random() * 60);
      const lateMs = random() < 0.05 ? Math.floor(random() * 5 * this.#options.sizeMs) : 0;
      const garbled = this.#options.ownTime && random() < 0.02;
      await this.#send(random() < 0.5 ? "oven-1" : "oven-2", this.#deviceMs - lateMs, garbled);
      await sleep(this.#options.pauseMs);
    }
  }

  async #send(id: string, t: number, garbled: boolean): Promise<void> {
    const seq = this.#seq++;
    const time = this.#options.ownTime ? { t } : {};
    const temperature = Math.round(this.#random() * 7_000) / 100;
    const whole = JSON.stringify({ id, ...time, seq, temperature });
    const text = garbled ? whole.slice(0, 20) : whole;
    const listener = await this.#device.send(`${text}\n`);
    this.sent.push({ seq, text, garbled, monotonicMs: monotonicMs(), listener });
  }
}

export interface Death {
  /** When the process was started, when its sources were asked to close if they were, and when it died. */
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly diedMs: number;
  readonly maxLossMs: number;
}

/**
 * Readings that were out for longer than the process may hold them in memory alone, and that are nowhere.
 * `stored`: the numbers that are in the journal.
 */
export function promisesBroken(
  sent: readonly SentReading[],
  stored: ReadonlySet<number>,
  { sinceMs, untilMs, diedMs, maxLossMs }: Death,
): { readonly count: number; readonly longestMs: number } {
  const heard = sent.filter(({ monotonicMs: at }) => at >= sinceMs && at < untilMs);
  // What came before a flush of the port never reached the process.
  const listener = heard.at(-1)?.listener;
  const ages = heard
    .filter((reading) => reading.listener === listener && !reading.garbled && !stored.has(reading.seq))
    .map((reading) => diedMs - reading.monotonicMs)
    .filter((age) => age > maxLossMs);
  return { count: ages.length, longestMs: Math.max(0, ...ages) };
}
