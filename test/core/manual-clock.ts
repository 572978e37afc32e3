import { setImmediate } from "node:timers/promises";
import type { Clock } from "../../src/core/clock.ts";

interface Sleeper {
  readonly atMs: number;
  wake(): void;
}

/** A clock that stands still until the test moves it; its wall clock can step. */
export class ManualClock implements Clock {
  #monotonicMs = 1_000;
  #wallOffsetMs: number;
  readonly #sleepers = new Set<Sleeper>();
  /** How often something slept: a loop that never sleeps long shows here. */
  sleeps = 0;

  constructor(wallMs = Date.UTC(2025, 0, 1)) {
    this.#wallOffsetMs = wallMs - this.#monotonicMs;
  }

  wall(): number {
    return this.#monotonicMs + this.#wallOffsetMs;
  }

  monotonic(): number {
    return this.#monotonicMs;
  }

  stepWall(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  /** Nobody runs meanwhile, as in a process that was stopped; who slept wakes too late. */
  standStill(ms: number): void {
    this.#monotonicMs += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.sleeps++;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        this.#sleepers.delete(sleeper);
        reject(signal?.reason);
      };
      const sleeper: Sleeper = {
        atMs: this.#monotonicMs + Math.max(0, ms),
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener("abort", onAbort);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Lets time pass, waking each sleeper at its moment and letting everything it set off run first. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#monotonicMs + ms;
    const mostSleeps = this.sleeps + 100_000;
    for (;;) {
      await setImmediate();
      const next = [...this.#sleepers].sort((a, b) => a.atMs - b.atMs)[0];
      if (!next || next.atMs > endMs) break;
      if (this.sleeps > mostSleeps) throw new Error("something sleeps again and again without time passing");
      this.#monotonicMs = Math.max(this.#monotonicMs, next.atMs);
      next.wake();
    }
    this.#monotonicMs = endMs;
    await setImmediate();
  }
}
