import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { LoopSource } from "./loop-source.ts";
import { refused, type WriteOutcome } from "./register-write.ts";
import type { SourceSink, WaitingSink } from "./source.ts";
import { Unavailable } from "./unavailable.ts";

/** A device that answers when it is asked. Its methods end within seconds, or when the signal says so. */
export interface PolledDevice {
  /** For messages. */
  readonly name: string;
  /** Most bytes that one answer brings. */
  readonly maxFrameBytes: number;
  /** What the last answer lacks; it is told while the source is open. */
  readonly trouble?: string | undefined;
  /** Makes it ready to be asked; called again after every failure. @throws Unavailable */
  open(signal: AbortSignal): Promise<void>;
  /**
   * Asks once; the answer is a frame, or undefined when it has nothing new. `discard` is told what of it did not come; a
   * failure that it is told nothing of counts as `noAnswer`.
   * @throws Unavailable
   */
  ask(signal: AbortSignal, discard: SourceSink["discard"]): Promise<Uint8Array | undefined>;
  /** Absent where nothing can be set. Never rejects. */
  write?(channel: string, value: number): Promise<WriteOutcome>;
  /** Releases it; safe when it is not open. `forGood`: it is not opened again, which is told once, at the end. */
  close(forGood: boolean): Promise<void>;
}

/** A device that comes back should be read again within seconds. */
const schedule: RetrySchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 0 };
/** Where each try holds up the neighbours on the bus, tries are so many times that apart, half of it on average. */
const heldUpApart = 20;

/**
 * Asks one device at its interval, and again with backoff for ever when it does not answer. What it was not asked for
 * in time is left out, never caught up: the missing values show in the window's `expected`.
 */
export class PollingSource extends LoopSource {
  readonly #device: PolledDevice;
  readonly #intervalMs: number;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  /** Failures since the last answer, and how long the last one held up others. */
  #failures = 0;
  #heldUpMs = 0;

  constructor(device: PolledDevice, intervalMs: number, sink: WaitingSink, clock: Clock) {
    super(sink);
    this.#device = device;
    this.#intervalMs = intervalMs;
    this.#sink = sink;
    this.#clock = clock;
  }

  async write(channel: string, value: number): Promise<WriteOutcome> {
    const { write } = this.#device;
    if (!write) return refused("notWritable", "this source only reads");
    if (this.signal.aborted) return { kind: "unsent", message: "the source stops" };
    return await write.call(this.#device, channel, value);
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    this.set({ state: "opening", reason: undefined });
    while (!signal.aborted) {
      try {
        await this.#device.open(signal);
        await this.#poll(signal);
      } catch (error) {
        if (!signal.aborted) this.#failed(error);
      }
      if (signal.aborted) break;
      await this.#device.close(false);
      const maxMs = Math.max(schedule.maxMs, heldUpApart * this.#heldUpMs);
      const pauseMs = backoffMs({ ...schedule, maxMs }, this.#failures - 1, Math.random());
      await this.#clock.sleep(pauseMs, signal).catch(() => undefined);
    }
    await this.#device.close(true);
    this.set({ state: "stopped", reason: undefined });
  }

  /** Ends only by a failure. */
  async #poll(signal: AbortSignal): Promise<never> {
    let dueMs = this.#clock.monotonic();
    for (;;) {
      // Without room an answer would be lost: the device keeps its present, and the next one is as good.
      if (this.#sink.hasRoom(this.#device.maxFrameBytes)) {
        const frame = await this.#answer(signal);
        if (frame) this.#sink.frame(frame);
        this.#failures = 0;
        this.set({ state: "open", reason: this.#device.trouble });
      }
      const nowMs = this.#clock.monotonic();
      dueMs += this.#intervalMs * Math.max(1, Math.ceil((nowMs - dueMs) / this.#intervalMs));
      await this.#clock.sleep(dueMs - nowMs, signal);
    }
  }

  async #answer(signal: AbortSignal): Promise<Uint8Array | undefined> {
    let isCounted = false;
    const discard: SourceSink["discard"] = (reason, bytes, frame) => {
      isCounted = true;
      this.#sink.discard(reason, bytes, frame);
    };
    try {
      return await this.#device.ask(signal, discard);
    } catch (error) {
      if (!signal.aborted && !isCounted) this.#sink.discard("noAnswer", 0);
      throw error;
    }
  }

  #failed(error: unknown): void {
    this.#failures++;
    const state = error instanceof Unavailable ? error.state : "failed";
    this.#heldUpMs = error instanceof Unavailable ? error.heldUpMs : 0;
    this.set({ state, reason: `${this.#device.name}: ${messageOf(error)}` });
  }
}
