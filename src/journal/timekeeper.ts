import type { PipelineConfig } from "../config/schema.ts";
import type { TimeQuality } from "../core/reading.ts";
import { type Stamp, type SteadySnapshot, SteadyTime, type Step } from "../core/steady-time.ts";
import type { JournalEntry } from "./batch.ts";
import { type HeldEntry, Hold } from "./hold.ts";

export type TimedEntry = HeldEntry | Extract<JournalEntry, { type: "tick" }>;
type ClockEntry = Extract<JournalEntry, { type: "clock" }>;

/** What stands behind the timekeeper; each call comes in the order of the journal. */
export interface TimedStages {
  /** `wasHeld`: it came in with an earlier batch. */
  process(entry: TimedEntry, wasHeld: boolean): void;
  /** The wall clock stepped. */
  stepped(step: Step): void;
  /**
   * A boot began, at `sinceMs` of its monotonic clock. `anewFromMs`, steady: its clock is behind that of the boot
   * before, so that steady time could not go on.
   */
  booted(sinceMs: number, anewFromMs: number | undefined): void;
}

interface Boot {
  readonly id: string;
  /** Monotonic ms of its first clock entry. */
  readonly sinceMs: number;
  /** Until its clock is known good, or nobody waits for that any longer, entries are held. */
  waits: boolean;
  /** Its clock was known good once. */
  wasSynced: boolean;
}

export interface TimekeeperSnapshot {
  readonly timeQuality: TimeQuality;
  /** Steady, of the last entry that was processed. */
  readonly nowMs: number;
  /** Monotonic, of the last entry, processed or held. */
  readonly monotonicMs: number;
  /** These are absent in snapshots of versions that knew no steps. */
  readonly wallMs?: number;
  readonly steady?: SteadySnapshot;
  readonly boot?: Boot;
  /** What waits: a batch, base64. */
  readonly held?: string;
}

/**
 * Stands between the journal and the stages: gives them one time that never steps, tells them of steps and boots,
 * and holds entries back after a boot until its clock is known good. Pure: its time is that of the entries.
 */
export class Timekeeper {
  readonly #steady = new SteadyTime();
  readonly #hold = new Hold();
  #boot: Boot | undefined;
  #timeQuality: TimeQuality = "unsynced";
  #nowMs = 0;
  /** Both clocks at the last entry, processed or held. */
  #stamp: Stamp = { wallMs: 0, monotonicMs: 0 };
  /** Of the last configuration entry, processed or held; a first start has none yet. */
  #maxHoldMs: number | undefined;

  get timeQuality(): TimeQuality {
    return this.#timeQuality;
  }

  /** Steady, of the entry that is processed. */
  get nowMs(): number {
    return this.#nowMs;
  }
  get monotonicMs(): number {
    return this.#stamp.monotonicMs;
  }

  /** Steady time minus monotonic time. */
  get steadyBaseMs(): number {
    return this.#steady.baseMs;
  }

  /** Wall time minus steady time. */
  get offsetMs(): number {
    return this.#steady.offsetMs;
  }

  /** The boot that the journal ended in, as far as it tells. */
  get boot(): { readonly id: string; readonly wasSynced: boolean } | undefined {
    return this.#boot && { id: this.#boot.id, wasSynced: this.#boot.wasSynced };
  }

  /** True also before the first frame waits. */
  get isHolding(): boolean {
    return this.#boot?.waits ?? false;
  }
  get heldFrames(): number {
    return this.#hold.frames;
  }
  get heldConfig(): PipelineConfig | undefined {
    return this.#hold.config;
  }

  /** Steady ms at which a tick ends the hold. */
  get holdEndMs(): number {
    return this.#steady.at(this.#boot?.sinceMs ?? 0) + (this.#maxHoldMs ?? 0);
  }

  steadyMs(monotonicMs: number): number {
    return this.#steady.at(monotonicMs);
  }

  /**
   * How late it is at most: by the wall clock, or by where that would be had it not stepped since the boot.
   * One of the two may be wrong, and then a reading's own time must not count as future for it.
   */
  latestMs(wallMs: number): number {
    return Math.max(wallMs, this.#steady.unsteppedMs(this.#nowMs));
  }

  take(entry: TimedEntry | ClockEntry, stages: TimedStages): void {
    // A configuration in a journal of a version that held nothing may lack the section.
    if (entry.type === "configuration")
      this.#maxHoldMs = (entry.config.clock as PipelineConfig["clock"] | undefined)?.maxHoldMs ?? 0;
    if (entry.type === "clock") this.#clock(entry, stages);
    else if (this.isHolding) this.#wait(entry, stages);
    else {
      this.#see(entry, stages);
      this.#process(entry, stages);
    }
  }

  snapshot(): TimekeeperSnapshot {
    const steady = this.#steady.snapshot();
    const held = this.#hold.snapshot();
    return {
      timeQuality: this.#timeQuality,
      nowMs: this.#nowMs,
      ...this.#stamp,
      ...(steady ? { steady } : {}),
      ...(this.#boot ? { boot: { ...this.#boot } } : {}),
      ...(held === undefined ? {} : { held }),
    };
  }

  /** `config`: the one in force at the snapshot. */
  restore(snapshot: TimekeeperSnapshot, config: PipelineConfig | undefined): void {
    const { timeQuality, nowMs, monotonicMs, wallMs = nowMs, steady, boot, held } = snapshot;
    this.#timeQuality = timeQuality;
    this.#nowMs = nowMs;
    this.#stamp = { wallMs, monotonicMs };
    if (steady) this.#steady.restore(steady);
    // Where it is absent, wall time was what steady time is now.
    else if (nowMs > 0) this.#steady.begin(this.#stamp);
    this.#boot = boot && { ...boot };
    this.#hold.restore(held);
    const last = this.#hold.config ?? config;
    this.#maxHoldMs = last && ((last.clock as PipelineConfig["clock"] | undefined)?.maxHoldMs ?? 0);
  }

  #clock(entry: ClockEntry, stages: TimedStages): void {
    const { bootId: id, wallMs, monotonicMs, quality } = entry;
    if (this.#isNewBoot(entry)) {
      // What an earlier boot left waiting is told by the clock of that boot: there is none better any more.
      if (this.isHolding) this.#endHold(stages);
      this.#boot = { id, sinceMs: monotonicMs, waits: true, wasSynced: false };
    }
    this.#boot ??= { id, sinceMs: monotonicMs, waits: false, wasSynced: false };
    if (this.#boot.waits) this.#stamp = { wallMs, monotonicMs };
    else {
      this.#see(entry, stages);
      this.#nowMs = this.#steady.at(monotonicMs);
    }
    this.#timeQuality = quality;
    if (quality !== "unsynced") this.#boot.wasSynced = true;
    if (this.#boot.waits && (this.#boot.wasSynced || this.#hasWaitedEnough())) this.#endHold(stages);
  }

  /** A journal of a version that noted no boots goes on in the same one if the two clocks still agree. */
  #isNewBoot({ wallMs, monotonicMs, bootId }: ClockEntry): boolean {
    if (this.#boot) return bootId !== this.#boot.id || monotonicMs < this.#stamp.monotonicMs;
    return !this.#steady.isSet || !this.#steady.agrees({ wallMs, monotonicMs });
  }

  /** What comes in while the clock is not known good yet. */
  #wait(entry: TimedEntry, stages: TimedStages): void {
    const { wallMs, monotonicMs } = entry;
    if (monotonicMs !== undefined) this.#stamp = { wallMs, monotonicMs };
    if (entry.type !== "tick") this.#hold.add(entry);
    if (!this.#hasWaitedEnough()) return;
    this.#endHold(stages);
    if (entry.type === "tick") this.#process(entry, stages);
  }

  #hasWaitedEnough(): boolean {
    if (this.#hold.isFull) return true;
    const waitedMs = this.#stamp.monotonicMs - (this.#boot?.sinceMs ?? 0);
    return this.#maxHoldMs !== undefined && waitedMs >= this.#maxHoldMs;
  }

  /** The clock of this boot counts from here on, known good or not; what was held is processed by it. */
  #endHold(stages: TimedStages): void {
    const boot = this.#boot;
    if (!boot) return;
    boot.waits = false;
    const hasBefore = this.#steady.isSet;
    this.#steady.begin(this.#stamp);
    const isBehind = hasBefore && this.#steady.at(boot.sinceMs) < this.#nowMs;
    if (isBehind) this.#steady.beginAnew(this.#stamp);
    this.#nowMs = this.#steady.at(boot.sinceMs);
    stages.booted(boot.sinceMs, isBehind ? this.#nowMs : undefined);
    for (const entry of this.#hold.take()) this.#process(entry, stages, true);
    this.#nowMs = this.#steady.at(this.#stamp.monotonicMs);
  }

  #see({ wallMs, monotonicMs }: TimedEntry | ClockEntry, stages: TimedStages): void {
    if (monotonicMs === undefined) return;
    this.#stamp = { wallMs, monotonicMs };
    const step = this.#steady.see(this.#stamp);
    if (step) stages.stepped(step);
  }

  #process(entry: TimedEntry, stages: TimedStages, wasHeld = false): void {
    const { wallMs, monotonicMs } = entry;
    this.#nowMs = monotonicMs === undefined ? wallMs - this.#steady.offsetMs : this.#steady.at(monotonicMs);
    stages.process(entry, wasHeld);
  }
}
