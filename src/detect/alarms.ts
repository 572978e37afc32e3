import type { PipelineConfig } from "../config/schema.ts";
import type { Entry } from "../core/entry.ts";
import type { MeasuredValue, Measurement, TimeQuality } from "../core/reading.ts";
import type { EntryContext } from "../window/window-entry.ts";
import { alarmEntry, type Change, type Condition, type ConditionState } from "./alarm-entry.ts";

/** More than this would be a source that invents names; the conditions it takes are never given back to others. */
const maxConditions = 100_000;

/** A device of which only older times have come for so long has had its clock put back. */
const putBackMs = 60_000;

/** When something comes in or is noticed. */
export interface Moment {
  /** Silence and spacing are reckoned in it, so no step of the wall clock is one. */
  readonly monotonicMs: number;
  readonly steadyMs: number;
  /** Wall time minus steady time. */
  readonly offsetMs: number;
  readonly timeQuality: TimeQuality;
}

interface Heard {
  /** Monotonic; begins anew where nobody listened in between. */
  sinceMs: number;
  /** Wall time. */
  readonly lastMs: number;
}

/** Of one device. */
interface Conditions {
  /** Whether it is heard. */
  device?: Condition;
  readonly channels: Map<string, Condition>;
}

export interface AlarmsSnapshot {
  readonly count: number;
  /** Those with something untold first, in the order in which it is going to be told. */
  readonly conditions: readonly Condition[];
  readonly heard: readonly (readonly [source: string, devices: readonly (readonly [string, Heard])[]])[];
}

/**
 * Tells when the quality of a channel changes, when a device falls silent, and when it is heard again. An alarm judges
 * what arrives, in order of arrival. What a condition does within `alarms.minSpacingMs` after an alarm is told at the
 * end of that, as it is then. Pure: times are those of the journal, and silence is found by ticks.
 */
export class Alarms {
  #config: PipelineConfig | undefined;
  #context: EntryContext | undefined;
  /** By source and device. */
  readonly #conditions = new Map<string, Map<string, Conditions>>();
  #size = 0;
  /** What is not as it was told, and waits for its time. */
  readonly #untold = new Set<Condition>();
  /** Per source with `silentMs`, the devices that are not silent, the one that was not heard for longest first. */
  readonly #heard = new Map<string, Map<string, Heard>>();
  /** Alarms told so far, for their ids. */
  #count = 0;

  /** What is no longer watched is forgotten without an alarm; a changed calibration or range forgets nothing. */
  configure(config: PipelineConfig, context: EntryContext): void {
    const before = this.#config;
    this.#config = config;
    this.#context = context;
    for (const [source, devices] of this.#conditions) {
      const now = config.sources[source];
      const isWatched = config.alarms !== undefined && now !== undefined;
      // Times of receipt and the device's own do not compare.
      const hasTurned = isOwnTime(before, source) !== isOwnTime(config, source);
      for (const conditions of devices.values()) {
        if (conditions.device && !(isWatched && now.silentMs)) {
          this.#forget(conditions.device);
          delete conditions.device;
        }
        for (const condition of conditions.channels.values()) {
          if (!isWatched) this.#forget(condition);
          if (hasTurned) condition.newestMs = 0;
        }
      }
      if (!isWatched) this.#conditions.delete(source);
      if (!(isWatched && now.silentMs)) this.#heard.delete(source);
    }
  }

  /** Judges a reading that came in. Returns how many conditions of it found no room. */
  judge(source: string, { device, timeMs, values }: Measurement, at: Moment, entries: Entry[]): number {
    if (!this.#config?.alarms) return 0;
    const isHeard = this.#config.sources[source]?.silentMs ? 1 : 0;
    const conditions = this.#of(source, device);
    if (!conditions) return values.length + isHeard;
    let ignored = 0;
    if (isHeard) ignored += this.#hear(conditions, source, device, at, entries);
    const toldMs = isOwnTime(this.#config, source) ? timeMs : timeMs + at.offsetMs;
    for (const value of values) {
      const { channel } = value;
      const state = stateOf(value);
      // It begins as good, and known to be, unless its first value is bad.
      const condition =
        conditions.channels.get(channel) ??
        this.#made({ source, device, channel, ...(state === "good" ? { told: state } : {}) });
      if (!condition) ignored++;
      else if (timeMs >= condition.newestMs || isPutBack(condition, at)) {
        condition.newestMs = timeMs;
        delete condition.olderSinceMs;
        if (state !== condition.now) this.#change(condition, state, changeOf(value, toldMs, at), at, entries);
      }
    }
    return ignored;
  }

  /** Finds out who is silent, and tells what waited for its time. */
  tick(at: Moment, entries: Entry[]): void {
    const nowMs = at.steadyMs + at.offsetMs;
    for (const [source, devices] of this.#heard) {
      for (const [device, { sinceMs, lastMs }] of devices) {
        if (at.monotonicMs < this.#silentAtMs(source, sinceMs)) break;
        devices.delete(device);
        const condition = this.#conditions.get(source)?.get(device)?.device;
        const change = { timeMs: nowMs, timeQuality: at.timeQuality, lastHeardMs: lastMs };
        if (condition) this.#change(condition, "silent", change, at, entries);
      }
    }
    for (const condition of this.#untold) {
      if (at.monotonicMs >= condition.nextMs) this.#tell(condition, at, entries);
    }
  }

  /** Monotonic ms at which a tick would find or tell something, if nothing else comes; undefined if none would. */
  dueMs(): number | undefined {
    let due = Number.POSITIVE_INFINITY;
    for (const { nextMs } of this.#untold) due = Math.min(due, nextMs);
    for (const [source, devices] of this.#heard) {
      for (const { sinceMs } of devices.values()) {
        due = Math.min(due, this.#silentAtMs(source, sinceMs));
        break;
      }
    }
    return due === Number.POSITIVE_INFINITY ? undefined : due;
  }

  /** Before that nobody listened, or it was another boot: what was not heard then is no silence. */
  listenFrom(monotonicMs: number): void {
    for (const devices of this.#heard.values()) {
      for (const heard of devices.values()) heard.sinceMs = monotonicMs;
    }
  }

  /** `isAnew`: steady time goes on behind where it was. */
  booted(monotonicMs: number, isAnew: boolean): void {
    for (const condition of this.#all()) {
      condition.nextMs = monotonicMs;
      delete condition.olderSinceMs;
      if (isAnew && !isOwnTime(this.#config, condition.source)) condition.newestMs = 0;
    }
  }

  /** To be turned into text before anything else happens. */
  snapshot(): AlarmsSnapshot {
    const told = [...this.#all()].filter((condition) => !this.#untold.has(condition));
    return {
      count: this.#count,
      conditions: [...this.#untold, ...told],
      heard: [...this.#heard].map(([source, devices]) => [source, [...devices]]),
    };
  }

  /** Takes the snapshot over, with the configuration that was in force. */
  restore(snapshot: AlarmsSnapshot | undefined, config: PipelineConfig, context: EntryContext): void {
    this.#config = config;
    this.#context = context;
    if (!snapshot) return;
    this.#count = snapshot.count;
    for (const condition of snapshot.conditions) {
      this.#add(condition);
      if (condition.now !== condition.told) this.#untold.add(condition);
    }
    for (const [source, devices] of snapshot.heard) this.#heard.set(source, new Map(devices));
  }

  #hear(conditions: Conditions, source: string, device: string, at: Moment, entries: Entry[]): number {
    const condition = conditions.device ?? this.#made({ source, device, told: "good" });
    if (!condition) return 1;
    const devices = this.#heard.get(source) ?? new Map<string, Heard>();
    this.#heard.set(source, devices);
    // Behind the others, which were heard earlier.
    devices.delete(device);
    const heardMs = at.steadyMs + at.offsetMs;
    devices.set(device, { sinceMs: at.monotonicMs, lastMs: heardMs });
    if (condition.now === "silent") {
      const change = { ...condition.change, timeMs: heardMs, timeQuality: at.timeQuality };
      this.#change(condition, "good", change, at, entries);
    }
    return 0;
  }

  #change(condition: Condition, to: ConditionState, change: Change, at: Moment, entries: Entry[]): void {
    condition.now = to;
    condition.change = change;
    condition.untold++;
    if (to === condition.told) this.#untold.delete(condition);
    else if (at.monotonicMs < condition.nextMs) this.#untold.add(condition);
    else this.#tell(condition, at, entries);
  }

  #tell(condition: Condition, { monotonicMs, steadyMs }: Moment, entries: Entry[]): void {
    this.#untold.delete(condition);
    if (!this.#context || !condition.change) return;
    entries.push(alarmEntry(condition, condition.change, this.#count++, this.#context, steadyMs));
    condition.told = condition.now;
    condition.untold = 0;
    condition.nextMs = monotonicMs + (this.#config?.alarms?.minSpacingMs ?? 0);
  }

  #silentAtMs(source: string, sinceMs: number): number {
    return sinceMs + (this.#config?.sources[source]?.silentMs ?? 0);
  }

  /** Undefined when it is a new device, and there is no room. */
  #of(source: string, device: string): Conditions | undefined {
    const devices = this.#conditions.get(source) ?? new Map<string, Conditions>();
    const known = devices.get(device);
    if (known || this.#size >= maxConditions) return known;
    const made: Conditions = { channels: new Map() };
    this.#conditions.set(source, devices.set(device, made));
    return made;
  }

  /** Undefined when there is no room. */
  #made(of: Pick<Condition, "source" | "device" | "channel" | "told">): Condition | undefined {
    if (this.#size >= maxConditions) return undefined;
    const condition: Condition = { ...of, now: "good", nextMs: 0, untold: 0, newestMs: 0 };
    this.#add(condition);
    return condition;
  }

  #add(condition: Condition): void {
    const conditions = this.#of(condition.source, condition.device);
    if (!conditions) return;
    if (condition.channel === undefined) conditions.device = condition;
    else conditions.channels.set(condition.channel, condition);
    this.#size++;
  }

  #forget(condition: Condition): void {
    this.#size--;
    this.#untold.delete(condition);
  }

  *#all(): Iterable<Condition> {
    for (const devices of this.#conditions.values()) {
      for (const { device, channels } of devices.values()) {
        if (device) yield device;
        yield* channels.values();
      }
    }
  }
}

function isPutBack(condition: Condition, { monotonicMs }: Moment): boolean {
  condition.olderSinceMs ??= monotonicMs;
  return monotonicMs - condition.olderSinceMs >= putBackMs;
}

const stateOf = ({ quality }: MeasuredValue): "good" | "bad" => (quality === "bad" ? "bad" : "good");

function changeOf({ value, reason }: MeasuredValue, timeMs: number, { timeQuality }: Moment): Change {
  return {
    timeMs,
    timeQuality,
    ...(Number.isFinite(value) ? { value } : {}),
    ...(reason ? { reason } : {}),
  };
}

function isOwnTime(config: PipelineConfig | undefined, source: string): boolean {
  return config?.sources[source]?.decode.time !== undefined;
}
