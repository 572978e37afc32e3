import type { FeedConfig } from "../config/schema.ts";
import type { Measurement } from "../core/reading.ts";

/** Of a device: its last readings, the oldest first, each with its value of every channel; null where there was none. */
export type RingSnapshot = readonly [device: string, fresh: number, values: readonly (number | null)[]];

/** What a device takes of memory beside its numbers, as so many of them. */
const besides = 64;

/** The last readings of each device, of the channels that a model takes. Pure: they follow from the readings alone. */
export class ReadingRings {
  readonly #last: number;
  readonly #every: number;
  readonly #width: number;
  /** Of all devices together; they stand in each snapshot. */
  #maxNumbers = Number.POSITIVE_INFINITY;
  readonly #places: ReadonlyMap<string, number>;
  /** The device that was not heard for longest first. */
  readonly #rings = new Map<string, Ring>();

  constructor({ channels, last, every }: Extract<FeedConfig["inputs"], { from: "values" }>) {
    this.#last = last;
    this.#every = every;
    this.#width = channels.length;
    this.#places = new Map(channels.map((channel, place) => [channel, place]));
  }

  /** Returns of how many devices the readings had to go. */
  bound(maxNumbers: number): number {
    this.#maxNumbers = maxNumbers;
    return this.#makeRoom(0);
  }

  /**
   * The last values of each channel, one channel after the other, when it is time for a run; NaN where one is missing.
   * `forgotten`: the readings of so many other devices had to go.
   */
  add({ device, values }: Measurement): { due?: number[]; forgotten: number } {
    const reading = new Float64Array(this.#width).fill(Number.NaN);
    let isEmpty = true;
    for (const { channel, value, quality } of values) {
      const place = this.#places.get(channel);
      if (place === undefined) continue;
      isEmpty = false;
      if (quality !== "bad") reading[place] = value;
    }
    if (isEmpty) return { forgotten: 0 };
    const known = this.#rings.get(device);
    const ring = known ?? new Ring(this.#last, this.#width);
    this.#rings.delete(device);
    const forgotten = known ? 0 : this.#makeRoom(1);
    this.#rings.set(device, ring);
    ring.add(reading);
    if (!ring.isFull || ring.fresh < this.#every) return { forgotten };
    ring.fresh = 0;
    return { due: ring.byChannel(), forgotten };
  }

  snapshot(): RingSnapshot[] {
    return [...this.#rings].map(([device, ring]) => [device, ring.fresh, ring.list()]);
  }

  restore(snapshot: readonly RingSnapshot[]): void {
    for (const [device, fresh, values] of snapshot) {
      const ring = new Ring(this.#last, this.#width);
      for (let at = 0; at < values.length; at += this.#width)
        ring.add(Float64Array.from(values.slice(at, at + this.#width), (value) => value ?? Number.NaN));
      ring.fresh = fresh;
      this.#rings.set(device, ring);
    }
  }

  #makeRoom(devices: number): number {
    const most = this.#maxNumbers / (this.#last * this.#width + besides);
    let forgotten = 0;
    for (const longest of this.#rings.keys()) {
      if (this.#rings.size + devices <= most) break;
      this.#rings.delete(longest);
      forgotten++;
    }
    return forgotten;
  }
}

class Ring {
  readonly #width: number;
  readonly #last: number;
  readonly #values: Float64Array;
  #count = 0;
  /** Where the next reading goes; when the ring is full, that is the oldest. */
  #next = 0;
  /** Readings since the last run. */
  fresh = 0;

  constructor(last: number, width: number) {
    this.#last = last;
    this.#width = width;
    this.#values = new Float64Array(last * width);
  }

  get isFull(): boolean {
    return this.#count === this.#last;
  }

  add(reading: Float64Array): void {
    this.#values.set(reading, this.#next * this.#width);
    this.#next = (this.#next + 1) % this.#last;
    if (!this.isFull) this.#count++;
    this.fresh++;
  }

  /** The oldest first. */
  list(): number[] {
    const end = this.#count * this.#width;
    const oldest = this.isFull ? this.#next * this.#width : 0;
    return [...this.#values.subarray(oldest, end), ...this.#values.subarray(0, oldest)];
  }

  byChannel(): number[] {
    const readings = this.list();
    const width = this.#width;
    return readings.map((_, i) => {
      const channel = Math.floor(i / this.#count);
      return readings[(i % this.#count) * width + channel] ?? Number.NaN;
    });
  }
}
