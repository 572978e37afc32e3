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

/** What came of asking out of turn. */
export type Asked =
  | { readonly kind: "answered"; readonly frame: Uint8Array }
  | { readonly kind: "failed"; readonly message: string };

/** Who may wait for an answer out of turn. */
const mostAskers = 8;
/** Timers hold 32 bits. */
const longestSleepMs = 3_600_000;
/** A device that comes back should be read again within seconds. */
const schedule: RetrySchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 0 };
/** Where each try holds up the neighbours on the bus, tries are so many times that apart, half of it on average. */
const heldUpApart = 20;

const stops: Asked = { kind: "failed", message: "the source stops" };
const nothingNew = "it has nothing new";

/**
 * Asks one device at its interval, and again with backoff for ever when it does not answer. What it was not asked for
 * in time is left out, never caught up: the missing values show in the window's `expected`.
 */
export class PollingSource extends LoopSource {
  readonly #device: PolledDevice;
  /** Undefined for one that is asked out of turn alone. */
  readonly #intervalMs: number | undefined;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  /** Failures since the last answer, and how long the last one held up others. */
  #failures = 0;
  #heldUpMs = 0;
  /** Who waits for the next answer. */
  #askers: ((asked: Asked) => void)[] = [];
  /** Monotonic ms at which it is to be asked out of turn, and was asked last. */
  #wantedMs = Number.POSITIVE_INFINITY;
  #askedMs = Number.NEGATIVE_INFINITY;
  #wake: (() => void) | undefined;

  constructor(device: PolledDevice, intervalMs: number | undefined, sink: WaitingSink, clock: Clock) {
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

  /** Asks out of turn, so long behind the last time. */
  protected want(spacingMs: number): void {
    this.#wantedMs = Math.min(this.#wantedMs, this.#askedMs + spacingMs);
    this.#wake?.();
  }

  /** The same, and tells what came of it, or of a turn that came before. Never rejects. */
  protected async asked(spacingMs: number): Promise<Asked> {
    if (this.signal.aborted) return stops;
    if (this.#askers.length >= mostAskers)
      return { kind: "failed", message: `${mostAskers} others wait for it already` };
    const answer = new Promise<Asked>((resolve) => this.#askers.push(resolve));
    this.want(spacingMs);
    return await answer;
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    this.set({ state: "opening", reason: undefined });
    signal.addEventListener("abort", () => this.#wake?.(), { once: true });
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
    this.#answered(stops);
    await this.#device.close(true);
    this.set({ state: "stopped", reason: undefined });
  }

  /** Ends only by a failure. */
  async #poll(signal: AbortSignal): Promise<never> {
    const hasTurns = this.#intervalMs !== undefined;
    // One that failed is asked until it answers, which is how it shows that it is back.
    let dueMs = hasTurns || this.#failures > 0 ? this.#clock.monotonic() : Number.POSITIVE_INFINITY;
    if (dueMs === Number.POSITIVE_INFINITY) this.set({ state: "open", reason: this.#device.trouble });
    for (;;) {
      await this.#until(dueMs, signal);
      this.#wantedMs = Number.POSITIVE_INFINITY;
      // Without room an answer would be lost: the device keeps its present, and the next one is as good.
      if (this.#sink.hasRoom(this.#device.maxFrameBytes)) {
        this.#askedMs = this.#clock.monotonic();
        const frame = await this.#answer(signal);
        if (frame) this.#sink.frame(frame);
        this.#failures = 0;
        const { trouble } = this.#device;
        this.set({ state: "open", reason: trouble });
        this.#answered(
          frame ? { kind: "answered", frame } : { kind: "failed", message: trouble ?? nothingNew },
        );
      } else this.#answered({ kind: "failed", message: "the store has no room for it" });
      const nowMs = this.#clock.monotonic();
      if (this.#intervalMs === undefined) dueMs = Number.POSITIVE_INFINITY;
      else if (nowMs >= dueMs)
        dueMs += this.#intervalMs * Math.max(1, Math.ceil((nowMs - dueMs) / this.#intervalMs));
    }
  }

  /** Sleeps until its turn, or until it is wanted. */
  async #until(dueMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const sleepMs = Math.min(dueMs, this.#wantedMs) - this.#clock.monotonic();
      if (sleepMs <= 0) return;
      const awake = new AbortController();
      this.#wake = () => awake.abort();
      await this.#clock.sleep(Math.min(sleepMs, longestSleepMs), awake.signal).catch(() => undefined);
      this.#wake = undefined;
    }
  }

  #answered(asked: Asked): void {
    const askers = this.#askers;
    this.#askers = [];
    for (const tell of askers) tell(asked);
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
    const reason = `${this.#device.name}: ${messageOf(error)}`;
    this.set({ state, reason });
    this.#answered({ kind: "failed", message: reason });
  }
}
