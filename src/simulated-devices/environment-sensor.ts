import type { Clock } from "../core/clock.ts";
import { type EnvironmentLine, EnvironmentReadings, type LineFormat } from "./environment-readings.ts";
import type { FieldLog } from "./field-log.ts";
import { type Fate, SerialLine } from "./serial-line.ts";

export interface SimulatedSensorOptions {
  /** Name in the simulated field and of the path: `[A-Za-z0-9_-]{1,64}`. */
  readonly name: string;
  /** What the lines say in `id`: `[A-Za-z0-9_.-]{1,64}`, so that no format needs escapes. */
  readonly device: string;
  /** Default 115200. */
  readonly baudRate?: number;
  /** Time from the start of one line to the start of the next; default 200. The wire's own time is the least. */
  readonly intervalMs?: number;
  /**
   * Default `json`: an object per line. `csv`: id, seq, temperature, pressure, humidity without a header line.
   * `keyValue`: `id=… seq=… temperature=… pressure=… humidity=…`, separated by spaces.
   */
  readonly format?: LineFormat;
  /** Mean number of lines between two values out of range; 0 never; default 50. */
  readonly spikeEvery?: number;
  /** Mean number of lines between two garbled lines; 0 never; default 100. */
  readonly garbleEvery?: number;
  /** Mean number of lines between two pauses; 0 never; default 300. */
  readonly pauseEvery?: number;
  /** How much longer than the interval a pause is; default 2,000. */
  readonly pauseMs?: number;
  /** Whether lines carry `seq`; default true. */
  readonly numbered?: boolean;
  /** Whether lines carry `time`, ms since 1970 UTC, behind `seq`; default false. */
  readonly timed?: boolean;
}

/** `generated = lines + garbled + dropped + queued` at every moment. */
export interface SensorCounts {
  /** Readings made, whatever became of them. */
  readonly generated: number;
  /** Sent in full and intact. */
  readonly lines: number;
  /** Sent in full, but damaged, or merged with a damaged one. */
  readonly garbled: number;
  /** Not sent, or not to the end. */
  readonly dropped: number;
  /** On the wire or waiting for a slow listener. */
  readonly queued: number;
  /** Among `lines`: with one value out of its range. */
  readonly spikes: number;
  /** Bytes that the kernel took, those of cut lines included. */
  readonly bytes: number;
  readonly droppedBytes: number;
  /** Bytes that came from the listener. */
  readonly receivedBytes: number;
}

export interface SensorSurroundings {
  readonly path: string;
  readonly seed: number;
  readonly clock: Clock;
  readonly fieldLog: FieldLog | undefined;
  readonly onReceived: (bytes: Uint8Array) => void;
}

/** At most this long `stop` lets the line on the wire finish. */
const FINISH_MS = 1000;
const DEFAULT_INTERVAL_MS = 200;

/**
 * An environment sensor on a serial port. It measures and sends whether or not somebody listens; unplugged it
 * keeps its own power, so that the sequence numbers show what was missed.
 */
export class SimulatedSensor {
  readonly name: string;
  readonly device: string;
  readonly path: string;
  readonly #intervalMs: number;
  readonly #surroundings: SensorSurroundings;
  readonly #readings: EnvironmentReadings;
  readonly #line: SerialLine;
  readonly #stopping = new AbortController();
  #generated = 0;
  #lines = 0;
  #garbled = 0;
  #dropped = 0;
  #spikes = 0;
  #receivedBytes = 0;
  /** The listener that was given a line without its newline, which the next line will run into. */
  #unfinishedFor: number | undefined;
  #running: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  #failure: unknown;

  /** Throws a RangeError for options that no device can have. */
  constructor(options: SimulatedSensorOptions, surroundings: SensorSurroundings) {
    checkOptions(options);
    this.name = options.name;
    this.device = options.device;
    this.path = surroundings.path;
    this.#intervalMs = options.intervalMs ?? DEFAULT_INTERVAL_MS;
    this.#surroundings = surroundings;
    this.#readings = new EnvironmentReadings({
      device: options.device,
      seed: surroundings.seed,
      format: options.format ?? "json",
      numbered: options.numbered ?? true,
      timed: options.timed ?? false,
      spikeEvery: options.spikeEvery ?? 50,
      garbleEvery: options.garbleEvery ?? 100,
      pauseEvery: options.pauseEvery ?? 300,
      pauseMs: options.pauseMs ?? 2000,
    });
    this.#line = new SerialLine({
      path: surroundings.path,
      baudRate: options.baudRate ?? 115_200,
      clock: surroundings.clock,
      onReceived: (bytes) => {
        this.#receivedBytes += bytes.length;
        surroundings.onReceived(bytes);
      },
    });
  }

  get counts(): SensorCounts {
    return {
      generated: this.#generated,
      lines: this.#lines,
      garbled: this.#garbled,
      dropped: this.#dropped,
      queued: this.#generated - this.#lines - this.#garbled - this.#dropped,
      spikes: this.#spikes,
      bytes: this.#line.writtenBytes,
      droppedBytes: this.#line.droppedBytes,
      receivedBytes: this.#receivedBytes,
    };
  }

  start(): void {
    this.plug();
    this.#running ??= this.#run();
  }

  plug(): void {
    this.#line.plug();
  }

  unplug(): Promise<void> {
    return this.#line.unplug();
  }

  /** Lets the line on the wire finish, then hangs up; throws what broke the device. Safe twice, and without start. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    const finished = new AbortController();
    const running = (this.#running ?? Promise.resolve()).then(() => finished.abort());
    await this.#surroundings.clock
      .sleep(FINISH_MS, finished.signal)
      .catch(ignoreOnceAborted(finished.signal));
    await this.#line.stop();
    await running;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #run(): Promise<void> {
    const { clock } = this.#surroundings;
    const { signal } = this.#stopping;
    let dueMs = clock.monotonic();
    try {
      while (!signal.aborted) {
        const line = this.#readings.next(clock.wall());
        this.#generated++;
        await this.#line.send(line.bytes, (fate) => this.#settle(line, fate));
        // A device that fell behind does not catch up: it has one measurement, the latest.
        dueMs = Math.max(dueMs + this.#intervalMs + line.pauseMs, clock.monotonic());
        await clock.sleep(dueMs - clock.monotonic(), signal);
      }
    } catch (error) {
      // Aborted in a wait is how it ends.
      if (!signal.aborted) this.#failure = error;
    }
  }

  #settle(line: EnvironmentLine, fate: Fate): void {
    const { device } = this;
    const { seq, values, spike } = line;
    const { fieldLog } = this.#surroundings;
    const at = new Date(fate.atMs).toISOString();
    const text = line.bytes.toString("latin1").replace(/\n$/, "");
    if (fate.outcome === "dropped") {
      this.#dropped++;
      fieldLog?.append({ device, seq, droppedAt: at, line: text, dropped: true, reason: fate.reason });
      return;
    }
    const merged = this.#unfinishedFor === fate.listener;
    const garbling = line.garbling ?? (merged ? "merged" : undefined);
    this.#unfinishedFor = line.garbling === "newlineLost" ? fate.listener : undefined;
    if (garbling !== undefined) {
      this.#garbled++;
      fieldLog?.append({ device, seq, sentAt: at, line: text, garbled: true, garbling });
      return;
    }
    this.#lines++;
    if (spike !== undefined) this.#spikes++;
    const entry = { device, seq, sentAt: at, line: text, values };
    fieldLog?.append(spike === undefined ? entry : { ...entry, spike });
  }
}

/** For a wait that is cut short on purpose; anything else that goes wrong in it is still thrown. */
const ignoreOnceAborted =
  (signal: AbortSignal) =>
  (error: unknown): void => {
    if (!signal.aborted) throw error;
  };

function checkOptions(options: SimulatedSensorOptions): void {
  const { name, device } = options;
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new RangeError(`simulated device ${name}: name`);
  if (!/^[A-Za-z0-9_.-]{1,64}$/.test(device))
    throw new RangeError(`simulated device ${name}: device ${device}`);
  const {
    baudRate = 1,
    intervalMs = 0,
    spikeEvery = 0,
    garbleEvery = 0,
    pauseEvery = 0,
    pauseMs = 0,
  } = options;
  if (!(Number.isFinite(baudRate) && baudRate > 0)) {
    throw new RangeError(`simulated device ${name}: baudRate ${baudRate} is not above 0`);
  }
  for (const [option, value] of Object.entries({
    intervalMs,
    spikeEvery,
    garbleEvery,
    pauseEvery,
    pauseMs,
  })) {
    if (!(Number.isFinite(value) && value >= 0)) {
      throw new RangeError(`simulated device ${name}: ${option} ${value} is not 0 or more`);
    }
  }
}
