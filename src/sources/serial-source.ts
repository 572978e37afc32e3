import type { SerialSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { backoffMs } from "../core/retry.ts";
import { framerOf } from "./framing.ts";
import { LoopSource } from "./loop-source.ts";
import { closePort, openFailure, openPort, openTimeoutMs, serialPort } from "./serial-port.ts";
import type { SourceSink } from "./source.ts";

/** A plugged-in adapter should be read again within seconds; an absent one costs one failed open per five. */
const reopenSchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 10_000 };

/** What of a source's configuration the port needs; when only the rest changes, the port stays open. */
export type SerialPortConfig = Pick<
  SerialSourceConfig,
  "path" | "baudRate" | "dataBits" | "stopBits" | "parity" | "flowControl" | "framing"
>;

/** Frames from a serial port. Opens again by itself after an unplug, for ever. */
export class SerialSource extends LoopSource {
  readonly #config: SerialPortConfig;
  readonly #sink: SourceSink;
  readonly #clock: Clock;

  constructor(config: SerialPortConfig, sink: SourceSink, clock: Clock) {
    super(sink);
    this.#config = config;
    this.#sink = sink;
    this.#clock = clock;
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    let attempt = -1;
    while (!signal.aborted) {
      let openedAt: number | undefined;
      const port = serialPort(this.#config);
      const framer = framerOf(this.#config.framing, this.#sink, this.#clock);
      const stop = new AbortController();
      const onStop = () => stop.abort(signal.reason);
      signal.addEventListener("abort", onStop, { once: true });
      let opening: Promise<void> | undefined;
      try {
        if (this.state === "stopped") this.set({ state: "opening", reason: undefined });
        const gone = new Promise<string>((resolve) => {
          port.on("close", (error: Error | null) =>
            resolve(error ? `unplugged: ${error.message}` : "closed"),
          );
          port.on("error", (error: Error) => resolve(error.message));
          stop.signal.addEventListener("abort", () => resolve("stopped"), { once: true });
        });
        port.on("data", (chunk: Buffer) => framer.push(chunk));
        opening = openPort(port);
        const doing = `opening serial port ${this.#config.path}`;
        await within(opening, openTimeoutMs, doing, stop.signal, "SERIAL_OPEN_FAILED");
        openedAt = this.#clock.monotonic();
        this.set({ state: "open", reason: undefined });
        const reason = await gone;
        framer.reset();
        if (!signal.aborted) this.set({ state: "absent", reason });
      } catch (error) {
        if (!signal.aborted) this.set(openFailure(this.#config.path, error));
      }
      // Per attempt, or a port that stays absent for months would leave a listener and a buffer for each.
      signal.removeEventListener("abort", onStop);
      await closePort(port, opening);
      if (signal.aborted) break;
      const healthy =
        openedAt !== undefined && this.#clock.monotonic() - openedAt >= reopenSchedule.healthyMs;
      attempt = healthy ? 0 : attempt + 1;
      await this.#clock
        .sleep(backoffMs(reopenSchedule, attempt, Math.random()), signal)
        .catch(() => undefined);
    }
    this.set({ state: "stopped", reason: undefined });
  }
}
