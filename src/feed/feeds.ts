import { mostNumbers } from "../config/feed-numbers.ts";
import type { FeedConfig, PipelineConfig } from "../config/schema.ts";
import { canonicalJson } from "../core/json.ts";
import type { FrameDiscard, Measurement } from "../core/reading.ts";
import type { ToldWindow } from "../window/told-window.ts";
import { type Feed, type FeedNews, Pending } from "./pending.ts";
import { ReadingRings, type RingSnapshot } from "./reading-rings.ts";

export interface FeedsSnapshot {
  readonly lastId: number;
  readonly sources: readonly {
    readonly source: string;
    readonly pending: readonly Feed[];
    readonly rings: readonly RingSnapshot[];
  }[];
}

/** What has to go into the books of a source: a feed that is no frame any more, or what moves none. */
export type FeedNote =
  | { readonly source: string; readonly discard: FrameDiscard }
  | { readonly source: string; readonly note: "forgottenDevice" };

/** One source of type `model`. */
interface Fed {
  readonly source: string;
  readonly config: FeedConfig;
  /** Undefined where windows are its input. */
  readonly rings: ReadingRings | undefined;
  readonly pending: Pending;
}

/**
 * Makes the feeds of models, of windows and of readings behind validation, and keeps each until its result comes back
 * as a frame. Pure: feeds follow from the journal, stand in the snapshot, and a replay brings them forth again; so one
 * whose result was not committed is computed again, and no result counts twice.
 */
export class Feeds {
  readonly #fed = new Map<string, Fed>();
  /** Those that are fed with readings, by the source that these come from; and those fed with windows. */
  #byReadings = new Map<string, Fed[]>();
  #byWindows: Fed[] = [];
  #lastId = 0;
  #notes: FeedNote[] = [];

  /** A source whose inputs changed begins anew; nobody waits for what its feeds would have given. */
  configure(config: PipelineConfig["feeds"] = {}): void {
    for (const [source, fed] of this.#fed) {
      const next = config[source];
      if (next && whatIsFed(next) === whatIsFed(fed.config)) continue;
      for (const _ of fed.pending.list()) this.#discard(source, "notScored");
      this.#fed.delete(source);
    }
    this.#byReadings = new Map();
    this.#byWindows = [];
    for (const [source, next] of Object.entries(config)) {
      const fed = { ...(this.#fed.get(source) ?? fedBy(source, next)), config: next };
      this.#fed.set(source, fed);
      const { maxNumbers = mostNumbers } = next;
      const ofPending = Math.floor(maxNumbers / 5);
      fed.pending.bound(ofPending);
      this.#forgotten(source, fed.rings?.bound(maxNumbers - ofPending));
      const { inputs } = next;
      if (!fed.rings) this.#byWindows.push(fed);
      else this.#byReadings.set(inputs.source, [...(this.#byReadings.get(inputs.source) ?? []), fed]);
    }
  }

  /** `nowMs`: steady. */
  reading(source: string, measurement: Measurement, nowMs: number): void {
    const all = this.#byReadings.get(source);
    if (!all) return;
    for (const fed of all) {
      const { inputs } = fed.config;
      if (inputs.device !== undefined && inputs.device !== measurement.device) continue;
      const { due, forgotten } = fed.rings?.add(measurement) ?? {};
      this.#forgotten(fed.source, forgotten);
      if (due) this.#feed(fed, measurement.device, measurement.timeMs, due, nowMs);
    }
  }

  /** A window closed; what late readings change of it later is not fed again. */
  window(window: ToldWindow, nowMs: number): void {
    for (const fed of this.#byWindows) {
      const { inputs } = fed.config;
      if (inputs.from !== "window" || inputs.window !== window.name || inputs.source !== window.source)
        continue;
      if (inputs.device !== undefined && inputs.device !== window.device) continue;
      if (window.partial) this.#discard(fed.source, "partialWindow");
      else {
        const values = inputs.features.map((feature) => window.number(feature) ?? Number.NaN);
        this.#feed(fed, window.device, window.endMs, values, nowMs);
      }
    }
  }

  /**
   * A frame came from this source: what it is the result of, and nobody waits for another. False when nobody waited for
   * it, undefined when it is of no model.
   */
  settle(source: string, origin: string): Feed | false | undefined {
    return this.#fed.get(source)?.pending.settle(Number(origin));
  }

  /** The time of the earliest feed of a source that waits for its result; without one, of no end. */
  firstMs(source: string): number {
    return this.#fed.get(source)?.pending.firstMs ?? Number.POSITIVE_INFINITY;
  }

  /** Feeds that were not told yet. */
  takeNews(): FeedNews[] {
    const news: FeedNews[] = [];
    for (const { source, pending } of this.#fed.values()) {
      const told = pending.takeNews(source);
      if (told) news.push(told);
    }
    return news;
  }

  takeNotes(): FeedNote[] {
    return this.#notes.splice(0);
  }

  snapshot(): FeedsSnapshot {
    const sources = [...this.#fed.values()].map(({ source, pending, rings }) => ({
      source,
      pending: pending.list(),
      rings: rings?.snapshot() ?? [],
    }));
    return { lastId: this.#lastId, sources };
  }

  /** `config`: the one in force at the snapshot, which versions that fed no models wrote without. */
  restore(snapshot: FeedsSnapshot | undefined, config: PipelineConfig["feeds"]): void {
    this.configure(config);
    const { lastId, sources } = snapshot ?? { lastId: 0, sources: [] };
    this.#lastId = lastId;
    for (const { source, pending, rings } of sources) {
      const fed = this.#fed.get(source);
      fed?.pending.restore(pending);
      fed?.rings?.restore(rings);
    }
  }

  #feed({ source, config, pending }: Fed, device: string, timeMs: number, found: number[], nowMs: number) {
    const { missing } = config;
    if (missing === "skip" && found.some(Number.isNaN)) {
      this.#discard(source, "missingFeature");
      return;
    }
    const values = found.map((value) => (Number.isNaN(value) ? Number(missing) : value));
    this.#lastId = Math.max(this.#lastId + 1, Math.floor(nowMs));
    const dropped = pending.add({ id: this.#lastId, device, timeMs, values });
    for (let i = 0; i < dropped; i++) this.#discard(source, "notScored");
  }

  #forgotten(source: string, devices = 0): void {
    for (let i = 0; i < devices; i++) this.#notes.push({ source, note: "forgottenDevice" });
  }

  #discard(source: string, discard: FrameDiscard): void {
    this.#notes.push({ source, discard });
  }
}

function fedBy(source: string, config: FeedConfig): Fed {
  const { inputs } = config;
  const rings = inputs.from === "values" ? new ReadingRings(inputs) : undefined;
  return { source, config, pending: new Pending(), rings };
}

/** Without the bounds, which follow from the store and the other sources. */
function whatIsFed({ maxNumbers: _, ...config }: FeedConfig): string {
  return canonicalJson(config);
}
