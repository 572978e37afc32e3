import type { PipelineConfig } from "../config/schema.ts";
import { addAccounts, type Entry } from "../core/entry.ts";
import { canonicalJson, fingerprint } from "../core/json.ts";
import type { Measurement, ReadingDiscard } from "../core/reading.ts";
import type { Step } from "../core/steady-time.ts";
import type { PartialReason } from "../outbox/entry-schema.ts";
import { begunAnew, endAt, relabeled } from "./labels.ts";
import { addTo, type Origin } from "./open-window.ts";
import { matches, placeOf, type RunningDefinition, windowsOf } from "./running-definition.ts";
import { type ToldWindow, toldWindow } from "./told-window.ts";
import { type Definition, type EntryContext, type OpenWindow, windowEntry } from "./window-entry.ts";
import { openWindowOf, type WindowsSnapshot } from "./windows-snapshot.ts";

/** More windows than this at once would be a source that invents device names; their readings are discarded. */
const maxOpenWindows = 100_000;

/** Where a reading went. `discard`: out, with the reason. `notes`: counted side effects, such as `late:hour`. */
export interface Placement {
  readonly discard: ReadingDiscard | undefined;
  readonly notes: readonly string[];
}

/** Which configuration entry brings definitions into force: its number, steady time, and why it came. */
export interface InForce {
  readonly generation: number;
  readonly sinceMs: number;
  readonly reason: Definition["sinceReason"];
  /** Wall time minus steady time. */
  readonly offsetMs: number;
}

/**
 * Tumbling windows per source and device, driven by the source's watermark alone: it reads no clock.
 * Sources stamped on receipt are windowed in steady time, which never steps; what a window tells is wall time.
 * A window closes when the watermark passes its end, and is forgotten when it passes its end by the allowed lateness.
 */
export class Windows {
  #running: RunningDefinition[] = [];
  readonly #watermarks = new Map<string, number>();
  /** Per source, the watermark at which its next window closes or is forgotten; always ahead of the watermark. */
  readonly #due = new Map<string, number>();
  /** How often a source turned from receipt to times of its own, or back. */
  readonly #turns = new Map<string, number>();
  /** Some window that the watermark has passed got a late reading, which the next tick tells. */
  #late = false;
  #openCount = 0;
  readonly #onTold: (told: ToldWindow) => void;

  /** `onTold`: a window was told for the first time. */
  constructor(onTold: (told: ToldWindow) => void = () => undefined) {
    this.#onTold = onTold;
  }

  /**
   * Brings definitions into force. Windows of a definition that changed or went are closed as they stand,
   * `partial: "configuration"`; a definition that did not change keeps its windows.
   */
  configure(config: PipelineConfig["windows"], inForce: InForce, context: EntryContext): Entry[] {
    const old = new Map(this.#running.map((running) => [running.definition.name, running]));
    this.#running = Object.entries(config).map(([name, window]) => {
      const before = old.get(name);
      if (before && canonicalJson(before.definition.config) === canonicalJson(window)) {
        old.delete(name);
        return before;
      }
      const hash = fingerprint([window, inForce.generation]);
      const { sinceMs, reason, offsetMs } = inForce;
      return {
        labels: { now: { offsetMs, epoch: 0, fromMs: sinceMs, reason } },
        definition: { name, config: window, hash, sinceMs, sinceReason: reason },
        open: new Map(),
        since: new Map(),
      };
    });
    const entries: Entry[] = [];
    for (const { definition, open } of old.values()) {
      for (const window of windowsOf(open)) {
        this.#openCount--;
        if (!window.changed) continue;
        if (!window.closed) window.partial = "configuration";
        entries.push(this.#tell(definition, window, context, inForce.sinceMs));
      }
    }
    for (const source of this.#watermarks.keys()) this.#reckonDue(source);
    return entries;
  }

  /** Adds a measurement to every window it matches; the first of them accounts for it, unless it goes by itself. */
  add(source: string, measurement: Measurement, origin: Origin): Placement {
    const notes: string[] = [];
    let route: "none" | "accounted" | ReadingDiscard = origin.isPublished ? "accounted" : "none";
    for (const running of this.#running) {
      const { name, config } = running.definition;
      if (!matches(config, source, measurement.device)) continue;
      const window = this.#windowFor(running, source, measurement, origin);
      if (typeof window === "string") {
        if (route === "none") route = window;
        else notes.push(`${window}:${name}`);
        continue;
      }
      if (window.closesMs <= this.watermark(source)) this.#late = true;
      const ignored = addTo(window, measurement, origin);
      for (let i = 0; i < ignored; i++) notes.push(`tooManyChannels:${name}`);
      if (route === "none") {
        window.accounted++;
        route = "accounted";
      }
    }
    if (route === "none") return { discard: "unrouted", notes };
    return { discard: route === "accounted" ? undefined : route, notes };
  }

  /** The watermark of a source: no reading of it older than this is expected. Never goes back. */
  advance(source: string, watermarkMs: number, nowMs: number, context: EntryContext): Entry[] {
    if (watermarkMs <= this.watermark(source)) return [];
    this.#watermarks.set(source, watermarkMs);
    if (watermarkMs < (this.#due.get(source) ?? Number.POSITIVE_INFINITY)) return [];
    const entries: Entry[] = [];
    for (const { definition, open } of this.#running) {
      const { allowedLatenessMs } = definition.config;
      const ofSource = open.get(source);
      if (!ofSource) continue;
      for (const [device, windows] of ofSource) {
        for (const [closesMs, window] of windows) {
          if (watermarkMs < closesMs) continue;
          if (window.changed) entries.push(this.#tell(definition, window, context, nowMs));
          if (watermarkMs < closesMs + allowedLatenessMs) continue;
          windows.delete(closesMs);
          this.#openCount--;
        }
        if (windows.size === 0) ofSource.delete(device);
      }
      // Or the order of sources would differ from that after a restore.
      if (ofSource.size === 0) open.delete(source);
    }
    this.#reckonDue(source);
    return entries;
  }

  /** A tick: late readings become new revisions, many at a time. */
  revise(nowMs: number, context: EntryContext): Entry[] {
    if (!this.#late) return [];
    this.#late = false;
    const entries: Entry[] = [];
    for (const { definition, open } of this.#running) {
      for (const window of windowsOf(open)) {
        if (this.#isBehind(window)) entries.push(this.#tell(definition, window, context, nowMs));
      }
    }
    return entries;
  }

  /** The wall clock stepped: told times follow it from the end of each window on, without a gap in steady time. */
  relabel({ offsetMs, agreedMs }: Step, hasOwnTime: (source: string) => boolean): void {
    for (const running of this.#running) {
      let begunUntilMs = Number.NEGATIVE_INFINITY;
      for (const window of windowsOf(running.open)) {
        if (!hasOwnTime(window.source)) begunUntilMs = Math.max(begunUntilMs, window.closesMs);
      }
      const { sizeMs } = running.definition.config;
      running.labels = relabeled(running.labels, offsetMs, { agreedMs, begunUntilMs }, sizeMs);
    }
  }

  /**
   * Steady time begins anew at `fromMs`, behind where it was: windows in it are closed as they stand,
   * `partial: "clock"`, and its watermarks are forgotten. Sources with times of their own are left alone.
   */
  beginAnew(fromMs: number, hasOwnTime: (source: string) => boolean, context: EntryContext): Entry[] {
    for (const running of this.#running) running.labels = begunAnew(running.labels, fromMs);
    const sources = [...this.#watermarks.keys()].filter((source) => !hasOwnTime(source));
    return sources.flatMap((source) => this.#forget(source, "clock", fromMs, context));
  }

  /**
   * A source gets times of its own, or has them no longer: its times before and after do not compare.
   * Its windows are closed as they stand, `partial: "configuration"`.
   */
  turn(source: string, toOwnTime: boolean, nowMs: number, context: EntryContext): Entry[] {
    const entries = this.#forget(source, "configuration", nowMs, context);
    this.#turns.set(source, this.#turnOf(source) + 1);
    if (!toOwnTime) for (const { since } of this.#running) since.set(source, nowMs);
    return entries;
  }

  watermark(source: string): number {
    return this.#watermarks.get(source) ?? Number.NEGATIVE_INFINITY;
  }

  /** Sources that have a watermark, also those that are no longer configured. */
  sources(): Iterable<string> {
    return this.#watermarks.keys();
  }

  /** Watermark at which something is due, per source; a source without open windows is not in it. */
  due(): ReadonlyMap<string, number> {
    return this.#due;
  }

  /** Readings accounted here and in no entry yet, per source. */
  held(): Record<string, number> {
    const held: Record<string, number> = {};
    for (const { open } of this.#running) {
      for (const window of windowsOf(open)) addAccounts(held, { [window.source]: window.accounted });
    }
    return held;
  }

  get openCount(): number {
    return this.#openCount;
  }

  snapshot(): WindowsSnapshot {
    return {
      definitions: this.#running.map(({ definition, open, since, labels }) => ({
        definition,
        since: [...since],
        labels,
        windows: [...windowsOf(open)].map((window) => ({ ...window, channels: [...window.channels] })),
      })),
      watermarks: [...this.#watermarks],
      turns: [...this.#turns],
    };
  }

  /** Takes the snapshot over; the caller does not use it afterwards. */
  restore(snapshot: WindowsSnapshot): void {
    this.#openCount = 0;
    this.#running = snapshot.definitions.map(({ definition, since, windows, labels }) => {
      const { sinceMs: fromMs, sinceReason: reason, config } = definition;
      const running: RunningDefinition = {
        definition,
        open: new Map(),
        since: new Map(since),
        labels: labels ?? { now: { offsetMs: 0, epoch: 0, fromMs, reason } },
      };
      for (const plain of windows) this.#put(running, openWindowOf(plain, config));
      return running;
    });
    this.#turns.clear();
    for (const [source, turn] of snapshot.turns ?? []) this.#turns.set(source, turn);
    this.#watermarks.clear();
    for (const [source, watermark] of snapshot.watermarks) {
      this.#watermarks.set(source, watermark);
      this.#reckonDue(source);
    }
    this.#late = this.#running.some(({ open }) =>
      [...windowsOf(open)].some((window) => this.#isBehind(window)),
    );
  }

  /** A part of what the open windows held is lost. */
  markDamaged(): void {
    for (const { open } of this.#running) {
      for (const window of windowsOf(open)) window.partial = "damage";
    }
  }

  #turnOf(source: string): number {
    return this.#turns.get(source) ?? 0;
  }

  /** Closes the windows of a source as they stand, and forgets how far it was. */
  #forget(source: string, partial: PartialReason, nowMs: number, context: EntryContext): Entry[] {
    const entries: Entry[] = [];
    for (const { definition, open, since } of this.#running) {
      for (const windows of open.get(source)?.values() ?? []) {
        for (const window of windows.values()) {
          this.#openCount--;
          if (!window.changed) continue;
          if (!window.closed) window.partial = partial;
          entries.push(this.#tell(definition, window, context, nowMs));
        }
      }
      open.delete(source);
      since.delete(source);
    }
    this.#watermarks.delete(source);
    this.#due.delete(source);
    return entries;
  }

  #isBehind(window: OpenWindow): boolean {
    return window.changed && window.closesMs <= this.watermark(window.source);
  }

  #windowFor(
    running: RunningDefinition,
    source: string,
    { device, timeMs }: Measurement,
    origin: Origin,
  ): OpenWindow | ReadingDiscard {
    const { sizeMs, allowedLatenessMs } = running.definition.config;
    const closesMs = origin.ownTime
      ? (Math.floor(timeMs / sizeMs) + 1) * sizeMs
      : endAt(running.labels, timeMs, sizeMs);
    const existing = running.open.get(source)?.get(device)?.get(closesMs);
    if (existing) return existing;
    // A window that was forgotten must never come back: its revisions would repeat those already sent.
    if (closesMs + allowedLatenessMs <= this.watermark(source)) return "late";
    if (this.#openCount >= maxOpenWindows) return "tooManyWindows";
    const window: OpenWindow = {
      source,
      device,
      closesMs,
      turn: this.#turnOf(source),
      ...placeOf(running, source, timeMs, closesMs, origin),
      revision: 0,
      closed: false,
      changed: false,
      readings: 0,
      accounted: 0,
      bad: 0,
      timeQuality: "synced",
      channels: new Map(),
      configurations: [],
    };
    this.#put(running, window);
    this.#due.set(
      source,
      Math.min(this.#dueOf(running.definition, window), this.#due.get(source) ?? Number.POSITIVE_INFINITY),
    );
    return window;
  }

  /** What the watermark has passed is told by a tick; only being forgotten is still ahead of it. */
  #dueOf({ config }: Definition, { source, closesMs }: OpenWindow): number {
    return closesMs > this.watermark(source) ? closesMs : closesMs + config.allowedLatenessMs;
  }

  /** The entry of a window, after which the window has nothing untold. */
  #tell(definition: Definition, window: OpenWindow, context: EntryContext, nowMs: number): Entry {
    // It is as old as its source's own time says, whatever clock that is.
    const overMs = Math.max(0, this.watermark(window.source) - window.closesMs);
    const entry = windowEntry(definition, window, context, nowMs - overMs);
    if (window.revision === 0) this.#onTold(toldWindow(definition, window));
    window.revision++;
    window.closed = true;
    window.changed = false;
    window.accounted = 0;
    return entry;
  }

  #put({ open }: RunningDefinition, window: OpenWindow): void {
    const ofSource = open.get(window.source) ?? new Map<string, Map<number, OpenWindow>>();
    const ofDevice = ofSource.get(window.device) ?? new Map<number, OpenWindow>();
    ofDevice.set(window.closesMs, window);
    ofSource.set(window.device, ofDevice);
    open.set(window.source, ofSource);
    this.#openCount++;
  }

  #reckonDue(source: string): void {
    let due = Number.POSITIVE_INFINITY;
    for (const { definition, open } of this.#running) {
      for (const windows of open.get(source)?.values() ?? []) {
        for (const window of windows.values()) due = Math.min(due, this.#dueOf(definition, window));
      }
    }
    if (due === Number.POSITIVE_INFINITY) this.#due.delete(source);
    else this.#due.set(source, due);
  }
}
