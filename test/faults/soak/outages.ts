import type { EmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { branch } from "../../support/random.ts";
import { monotonicMs, sleep } from "../time.ts";

export interface OutageOptions {
  readonly hub: EmbeddedHub;
  readonly random: () => number;
  /** When the long outage begins, ms from the start; it ends when `isEvicted`, or after `longestMs`. */
  readonly longAfterMs: number;
  readonly longestMs: number;
  readonly isEvicted: () => boolean;
  readonly say: (line: string) => void;
}

const between = (random: () => number, low: number, high: number): number =>
  Math.round(low + random() * (high - low));

/** A hub as it is on a bad line: away for a while, slow, late, and away once until the store is full. */
export class Outages {
  readonly #options: OutageOptions;
  readonly #random: () => number;
  readonly #startMs = monotonicMs();
  readonly #counts: Record<string, number> = {};
  #awayMs = 0;
  #hadLong = false;
  #state = "well";
  #going = true;
  readonly #life: Promise<void>;

  constructor(options: OutageOptions) {
    this.#options = options;
    this.#random = branch(options.random);
    this.#life = this.#live();
  }

  get state(): string {
    return this.#state;
  }

  /** How often each was, and for how long the hub was away in all. */
  get counts(): Readonly<Record<string, number>> {
    return { ...this.#counts, awaySeconds: Math.round(this.#awayMs / 1_000) };
  }

  /** The hub is well afterwards. Safe twice. */
  async stop(): Promise<void> {
    this.#going = false;
    await this.#life;
    this.#options.hub.clearFaults();
    await this.#options.hub.startListening();
  }

  async #live(): Promise<void> {
    const { longAfterMs } = this.#options;
    while (this.#going) {
      await this.#pause(between(this.#random, 10_000, 40_000));
      if (!this.#going) return;
      if (!this.#hadLong && monotonicMs() - this.#startMs >= longAfterMs) await this.#long();
      else await this.#some();
      this.#state = "well";
    }
  }

  async #some(): Promise<void> {
    const { hub } = this.#options;
    const random = this.#random;
    const kind =
      (["away", "away", "slow", "late", "twice", "lost"] as const)[Math.floor(random() * 6)] ?? "away";
    this.#begin(kind);
    switch (kind) {
      case "away":
        await this.#away(() => false, between(random, 5_000, 60_000));
        break;
      case "slow":
        hub.setFault("delayPuback", { ms: between(random, 200, 1_500) });
        await this.#pause(between(random, 5_000, 60_000));
        hub.clearFault("delayPuback");
        break;
      case "late":
        // Later than `hub.sendTimeoutMs`: the message is sent again over a new connection.
        hub.setFault("withholdPuback", { ms: between(random, 3_000, 10_000), next: 3 });
        break;
      case "twice":
        hub.setFault("duplicatePuback", { next: 20 });
        break;
      case "lost":
        hub.setFault("acceptThenLosePuback", { next: 2 });
        break;
      default:
        kind satisfies never;
    }
  }

  async #long(): Promise<void> {
    const { isEvicted, longestMs } = this.#options;
    this.#hadLong = true;
    this.#begin("long");
    let sinceMs: number | undefined;
    // Some more, so that a full store is not only touched.
    const isEnough = () => {
      if (isEvicted()) sinceMs ??= monotonicMs();
      return sinceMs !== undefined && monotonicMs() - sinceMs > 20_000;
    };
    await this.#away(isEnough, longestMs);
  }

  async #away(isEnough: () => boolean, longestMs: number): Promise<void> {
    const { hub } = this.#options;
    const began = monotonicMs();
    await hub.stopListening();
    while (this.#going && !isEnough() && monotonicMs() - began < longestMs) await sleep(200);
    await hub.startListening();
    this.#awayMs += monotonicMs() - began;
  }

  #begin(kind: string): void {
    this.#state = kind;
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1;
    this.#options.say(`${Math.round((monotonicMs() - this.#startMs) / 1_000)} s: the hub is ${kind}`);
  }

  async #pause(ms: number): Promise<void> {
    for (const end = monotonicMs() + ms; this.#going && monotonicMs() < end; ) await sleep(200);
  }
}
