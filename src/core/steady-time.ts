/** Both clocks at one moment. */
export interface Stamp {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

/** An offset seen once: a process that slept between reading the two clocks sees one, too. */
interface Suspect {
  readonly offsetMs: number;
  /** Steady. */
  readonly atMs: number;
}

/** The wall clock stepped: it is `offsetMs` ahead of steady time now, and was not yet at `agreedMs`, steady. */
export interface Step {
  readonly offsetMs: number;
  readonly agreedMs: number;
}

export interface SteadySnapshot {
  readonly baseMs: number;
  readonly offsetMs: number;
  readonly bootOffsetMs: number;
  readonly agreedMs: number;
  readonly suspect?: Suspect;
}

/**
 * Clocks further apart than this stepped. CLOCK_MONOTONIC is slewed like CLOCK_REALTIME (adjtime(3)), so the two
 * part by steps alone; what is below is the time between reading the one and the other.
 */
export const stepToleranceMs = 250;

/**
 * Steady time, whole ms: the monotonic clock, counted from the wall clock at the begin of a boot.
 * It never steps, and the wall clock is told as an offset to it. Pure: it knows the stamps it is shown.
 */
export class SteadyTime {
  #baseMs: number | undefined;
  #offsetMs = 0;
  #bootOffsetMs = 0;
  #agreedMs = 0;
  #suspect: Suspect | undefined;

  get isSet(): boolean {
    return this.#baseMs !== undefined;
  }

  /** Steady time minus monotonic time. */
  get baseMs(): number {
    return this.#baseMs ?? 0;
  }

  /** Wall time minus steady time, as confirmed. */
  get offsetMs(): number {
    return this.#offsetMs;
  }

  at(monotonicMs: number): number {
    return Math.floor(this.baseMs + monotonicMs);
  }

  /** Wall time of a steady time, had nothing stepped since the boot. */
  unsteppedMs(steadyMs: number): number {
    return steadyMs + this.#bootOffsetMs;
  }

  /** Whether the clocks stand to each other as they did. */
  agrees(stamp: Stamp): boolean {
    return Math.abs(this.#offsetOf(stamp) - this.#offsetMs) <= stepToleranceMs;
  }

  /** Counts on from `stamp`, with the wall clock where it was to steady time. */
  begin({ wallMs, monotonicMs }: Stamp): void {
    this.#baseMs = Math.round(wallMs - this.#offsetMs - monotonicMs);
    this.#bootOffsetMs = this.#offsetMs;
    this.#agreedMs = this.at(monotonicMs);
    this.#suspect = undefined;
  }

  /** Counts anew from the wall clock of `stamp`: nothing that was reckoned before compares with it. */
  beginAnew(stamp: Stamp): void {
    this.#offsetMs = 0;
    this.begin(stamp);
  }

  /** Looks at both clocks; returns a step that a second stamp confirms. */
  see(stamp: Stamp): Step | undefined {
    if (this.#baseMs === undefined) this.begin(stamp);
    const atMs = this.at(stamp.monotonicMs);
    const before = this.#suspect;
    this.#suspect = undefined;
    if (this.agrees(stamp)) {
      this.#agreedMs = atMs;
      return undefined;
    }
    const offsetMs = this.#offsetOf(stamp);
    if (before && Math.abs(offsetMs - before.offsetMs) <= stepToleranceMs) {
      const step = { offsetMs, agreedMs: this.#agreedMs };
      this.#offsetMs = offsetMs;
      this.#agreedMs = atMs;
      return step;
    }
    // Two that differ: the first is not what the clock will have stepped to, so it has not stepped by then.
    if (before) this.#agreedMs = before.atMs;
    this.#suspect = { offsetMs, atMs };
    return undefined;
  }

  snapshot(): SteadySnapshot | undefined {
    if (this.#baseMs === undefined) return undefined;
    return {
      baseMs: this.#baseMs,
      offsetMs: this.#offsetMs,
      bootOffsetMs: this.#bootOffsetMs,
      agreedMs: this.#agreedMs,
      ...(this.#suspect ? { suspect: this.#suspect } : {}),
    };
  }

  restore(snapshot: SteadySnapshot): void {
    this.#baseMs = snapshot.baseMs;
    this.#offsetMs = snapshot.offsetMs;
    this.#bootOffsetMs = snapshot.bootOffsetMs;
    this.#agreedMs = snapshot.agreedMs;
    this.#suspect = snapshot.suspect;
  }

  #offsetOf({ wallMs, monotonicMs }: Stamp): number {
    return Math.floor(wallMs) - this.at(monotonicMs);
  }
}
