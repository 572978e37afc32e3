import type { PipelineConfig, WindowConfig } from "../config/schema.ts";
import { addAccounts, type Entry } from "../core/entry.ts";
import { canonicalJson, fingerprint } from "../core/json.ts";
import type { Measurement, ReadingDiscard, TimeQuality } from "../core/reading.ts";
import { addValue, type ChannelAggregate, emptyAggregate } from "./channel-aggregate.ts";
import { type Definition, type EntryContext, type OpenWindow, windowEntry } from "./window-entry.ts";

/** More windows than this at once would be a source that invents device names; their readings are discarded. */
const maxOpenWindows = 100_000;
/** More channels than this in one window would be a device that invents channel names; the values are counted out. */
const maxChannels = 1_000;

/** Where a reading went. `discard`: out, with the reason. `notes`: counted side effects, such as `late:hour`. */
export interface Placement {
  readonly discard: ReadingDiscard | undefined;
  readonly notes: readonly string[];
}

export interface WindowsSnapshot {
  readonly definitions: readonly {
    readonly definition: Definition;
    readonly since: readonly (readonly [source: string, timeMs: number])[];
    readonly windows: readonly (Omit<OpenWindow, "channels"> & { channels: [string, unknown][] })[];
  }[];
  readonly watermarks: readonly (readonly [source: string, watermarkMs: number])[];
}

/** Which configuration entry brings definitions into force: its number, wall time, and why it came. */
export interface InForce {
  readonly generation: number;
  readonly sinceMs: number;
  readonly reason: Definition["sinceReason"];
}

/** What a reading's window has to know of where and when it came in. */
export interface Origin {
  readonly timeQuality: TimeQuality;
  /** Hash of the configuration in force. */
  readonly configuration: string;
  /** The source stamps its readings itself, by a clock of its own. */
  readonly ownTime: boolean;
}

interface Running {
  readonly definition: Definition;
  /** First time of each source with times of its own. */
  readonly since: Map<string, number>;
  /** Windows by source, device and start. */
  readonly open: Map<string, Map<string, Map<number, OpenWindow>>>;
}

/**
 * Tumbling windows per source and device, driven by the source's watermark alone: it reads no clock.
 * A window closes when the watermark passes its end, and is forgotten when it passes its end by the allowed lateness.
 */
export class Windows {
  #running: Running[] = [];
  readonly #watermarks = new Map<string, number>();
  /** Per source, the watermark at which its next window closes or is forgotten; always ahead of the watermark. */
  readonly #due = new Map<string, number>();
  /** Some window that the watermark has passed got a late reading, which the next tick tells. */
  #late = false;
  #openCount = 0;

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
      const { sinceMs, reason } = inForce;
      return {
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
        entries.push(tell(definition, window, context, inForce.sinceMs));
      }
    }
    for (const source of this.#watermarks.keys()) this.#reckonDue(source);
    return entries;
  }

  /** Adds a measurement to every window it matches; the first of them accounts for it. */
  add(source: string, measurement: Measurement, origin: Origin): Placement {
    const notes: string[] = [];
    let route: "none" | "accounted" | ReadingDiscard = "none";
    for (const running of this.#running) {
      const { name, config } = running.definition;
      if (!matches(config, source, measurement.device)) continue;
      const window = this.#windowFor(running, source, measurement, origin);
      if (typeof window === "string") {
        if (route === "none") route = window;
        else notes.push(`${window}:${name}`);
        continue;
      }
      if (window.startMs + config.sizeMs <= this.watermark(source)) this.#late = true;
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
      const { sizeMs, allowedLatenessMs } = definition.config;
      const ofSource = open.get(source);
      if (!ofSource) continue;
      for (const [device, windows] of ofSource) {
        for (const [startMs, window] of windows) {
          if (watermarkMs < startMs + sizeMs) continue;
          if (window.changed) entries.push(tell(definition, window, context, nowMs));
          if (watermarkMs < startMs + sizeMs + allowedLatenessMs) continue;
          windows.delete(startMs);
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
        if (this.#isBehind(definition, window)) entries.push(tell(definition, window, context, nowMs));
      }
    }
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
      definitions: this.#running.map(({ definition, open, since }) => ({
        definition,
        since: [...since],
        windows: [...windowsOf(open)].map((window) => ({ ...window, channels: [...window.channels] })),
      })),
      watermarks: [...this.#watermarks],
    };
  }

  /** Takes the snapshot over; the caller does not use it afterwards. */
  restore(snapshot: WindowsSnapshot): void {
    this.#openCount = 0;
    this.#running = snapshot.definitions.map(({ definition, since, windows }) => {
      const running: Running = { definition, open: new Map(), since: new Map(since) };
      for (const plain of windows) {
        const channels = new Map(plain.channels.map(([name, aggregate]) => [name, revived(aggregate)]));
        const window = { ...plain, channels } as OpenWindow;
        this.#put(running, window);
      }
      return running;
    });
    this.#watermarks.clear();
    for (const [source, watermark] of snapshot.watermarks) {
      this.#watermarks.set(source, watermark);
      this.#reckonDue(source);
    }
    this.#late = this.#running.some(({ definition, open }) =>
      [...windowsOf(open)].some((window) => this.#isBehind(definition, window)),
    );
  }

  /** A part of what the open windows held is lost. */
  markDamaged(): void {
    for (const { open } of this.#running) {
      for (const window of windowsOf(open)) window.partial = "damage";
    }
  }

  #isBehind({ config }: Definition, window: OpenWindow): boolean {
    return window.changed && window.startMs + config.sizeMs <= this.watermark(window.source);
  }

  #windowFor(
    running: Running,
    source: string,
    { device, timeMs }: Measurement,
    origin: Origin,
  ): OpenWindow | ReadingDiscard {
    const { sizeMs, allowedLatenessMs } = running.definition.config;
    const startMs = Math.floor(timeMs / sizeMs) * sizeMs;
    const existing = running.open.get(source)?.get(device)?.get(startMs);
    if (existing) return existing;
    // A window that was forgotten must never come back: its revisions would repeat those already sent.
    if (startMs + sizeMs + allowedLatenessMs <= this.watermark(source)) return "late";
    if (this.#openCount >= maxOpenWindows) return "tooManyWindows";
    const { sinceReason } = running.definition;
    const window: OpenWindow = {
      source,
      device,
      startMs,
      revision: 0,
      closed: false,
      changed: false,
      partial: startMs < sinceOf(running, source, timeMs, origin) ? sinceReason : undefined,
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
  #dueOf({ config }: Definition, { source, startMs }: OpenWindow): number {
    const endMs = startMs + config.sizeMs;
    return endMs > this.watermark(source) ? endMs : endMs + config.allowedLatenessMs;
  }

  #put({ open }: Running, window: OpenWindow): void {
    const ofSource = open.get(window.source) ?? new Map<string, Map<number, OpenWindow>>();
    const ofDevice = ofSource.get(window.device) ?? new Map<number, OpenWindow>();
    ofDevice.set(window.startMs, window);
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

/**
 * From when on a source's windows are whole. A source stamped on receipt shares the wall clock of the definition;
 * one with times of its own may be hours off, so there its first reading counts.
 */
function sinceOf(
  { definition, since }: Running,
  source: string,
  timeMs: number,
  { ownTime }: Origin,
): number {
  if (!ownTime) return definition.sinceMs;
  const known = since.get(source) ?? timeMs;
  since.set(source, known);
  return known;
}

/** JSON has no Infinity and no NaN; a number that overflowed never becomes finite again. */
function revived(plain: unknown): ChannelAggregate {
  const aggregate = plain as ChannelAggregate;
  return {
    ...aggregate,
    sum: aggregate.sum ?? Number.NaN,
    runningMean: aggregate.runningMean ?? Number.NaN,
    squares: aggregate.squares ?? Number.NaN,
  };
}

function matches({ sources, devices }: WindowConfig, source: string, device: string): boolean {
  return (!sources || sources.includes(source)) && (!devices || devices.includes(device));
}

function* windowsOf(open: Running["open"]): Iterable<OpenWindow> {
  for (const ofSource of open.values()) for (const ofDevice of ofSource.values()) yield* ofDevice.values();
}

/** The entry of a window, after which the window has nothing untold. */
function tell(definition: Definition, window: OpenWindow, context: EntryContext, nowMs: number): Entry {
  const entry = windowEntry(definition, window, context, nowMs);
  window.revision++;
  window.closed = true;
  window.changed = false;
  window.accounted = 0;
  return entry;
}

/** A window is only as sure of its time as its least sure reading. */
const timeQualityRank: Record<TimeQuality, number> = { synced: 0, holdover: 1, unsynced: 2 };

/** Returns how many values found no room. */
function addTo(window: OpenWindow, measurement: Measurement, { timeQuality, configuration }: Origin): number {
  let bad = false;
  let ignored = 0;
  for (const value of measurement.values) {
    let aggregate = window.channels.get(value.channel);
    if (!aggregate) {
      if (window.channels.size >= maxChannels) {
        ignored++;
        continue;
      }
      aggregate = emptyAggregate();
      window.channels.set(value.channel, aggregate);
    }
    addValue(aggregate, measurement.timeMs, value);
    bad ||= value.quality === "bad";
  }
  window.changed = true;
  window.readings++;
  if (bad) window.bad++;
  if (timeQualityRank[timeQuality] > timeQualityRank[window.timeQuality]) window.timeQuality = timeQuality;
  if (!window.configurations.includes(configuration)) window.configurations.push(configuration);
  return ignored;
}
