import mqtt from "mqtt";
import { monotonicMs } from "../test/faults/time.ts";
import { outPrefix } from "./reading.ts";

/** What is read of a window, whoever made it. */
interface Window {
  readonly count: number;
  /** ISO 8601; not everybody tells it. */
  readonly windowEnd?: string;
  /** Name of the definition, of a gateway that has several. */
  readonly window?: string;
}

/** Windows as they come in at the hub. */
export class Arrivals {
  readonly #client: mqtt.MqttClient;
  /** Readings in all windows so far. */
  counted = 0;
  windows = 0;
  #accounts: string | undefined;
  /** CLOCK_MONOTONIC ms of each arrival, and the readings counted by then. */
  readonly #marks: { readonly atMs: number; readonly counted: number }[] = [];
  readonly #lateness: { readonly atMs: number; readonly ms: number }[] = [];

  constructor(url: string) {
    this.#client = mqtt.connect(url, {
      protocolVersion: 4,
      clientId: "hub",
      clean: true,
      reconnectPeriod: 0,
    });
    this.#client.on("message", (_topic, payload) => this.#take(payload));
  }

  async start(): Promise<void> {
    await this.#client.subscribeAsync(`${outPrefix}/#`, { qos: 1 });
  }

  async stop(): Promise<void> {
    await this.#client.endAsync(true);
  }

  /**
   * How far what arrived was behind what was sent, ms: the worst second between the two times. In each second the
   * least counts, which is right after the arrival of its windows; `sentBy` gives the readings sent by a time.
   */
  behindMs(fromMs: number, toMs: number, rate: number, sentBy: (atMs: number) => number): number {
    let worst = 0;
    for (let second = fromMs; second + 1_000 <= toMs; second += 1_000) {
      const marks = this.#marks.filter(({ atMs }) => atMs >= second && atMs < second + 1_000);
      const least = Math.min(...marks.map(({ atMs, counted }) => ((sentBy(atMs) - counted) / rate) * 1_000));
      // A second without any window may be followed by one with two.
      worst = Math.max(worst, Number.isFinite(least) ? least : 1_000);
    }
    return worst;
  }

  /** From the end that windows tell to their arrival, ms, between the two times; sorted. */
  lateness(fromMs: number, toMs: number): number[] {
    const between = this.#lateness.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    return between.map(({ ms }) => ms).sort((a, b) => a - b);
  }

  #take(payload: Buffer): void {
    const told: unknown = JSON.parse(payload.toString("utf8"));
    const atMs = monotonicMs();
    const wallMs = Date.now();
    for (const { count, windowEnd, window } of (Array.isArray(told) ? told : [told]) as Window[]) {
      // Each definition has every reading; the first one that came counts.
      this.#accounts ??= window;
      if (window === this.#accounts) this.counted += count;
      this.windows++;
      if (windowEnd !== undefined) this.#lateness.push({ atMs, ms: wallMs - Date.parse(windowEnd) });
    }
    this.#marks.push({ atMs, counted: this.counted });
  }
}
