import type { PipelineConfig } from "../config/schema.ts";
import { isObject } from "../core/json.ts";
import { type FrameDiscard, isPlainName, type Reading } from "../core/reading.ts";
import { nothing, type TextBounds, TextQueue, type WaitingInStore } from "./text-queue.ts";

/** A text that waits for its score from here on. */
export interface TakenText {
  readonly number: number;
  /** Of type `sentiment`. */
  readonly source: string;
  readonly device: string;
  /** Steady ms, or the device's own time. */
  readonly timeMs: number;
  /** Without it the configured one. */
  readonly language: string | undefined;
  readonly text: string;
}

/** What became of texts in a batch: those to be kept, and the numbers of those that wait no more. */
export interface TextChanges {
  readonly taken: TakenText[];
  readonly settled: number[];
}

type Sources = PipelineConfig["sources"];
type Sentiment = NonNullable<Sources[string]["sentiment"]>;
/** `textMs`: scores of a text of that time, to be read like any reading. */
type Arrived = "taken" | { readonly discard: FrameDiscard } | { readonly textMs: number | undefined };
type Arrival = Omit<TakenText, "number" | "source">;

/** How a frame says which text it brings the scores of, or that there are none. */
export const scoredOrigin = (number: number): string => String(number);
export const unscoredOrigin = (number: number): string => `${number} unscored`;
const originPattern = /^(\d{1,15})( unscored)?$/;

/** Takes texts out of readings and requests, and knows those that wait when their scores come. Pure. */
export class TextStage {
  readonly #queue = new TextQueue();
  #own = new Map<string, Sentiment>();
  /** Sources of any type. */
  #known: ReadonlySet<string> = new Set();
  /** By the source that brings the texts. */
  #takers = new Map<
    string,
    { readonly field: string; readonly source: string; readonly bounds: TextBounds }[]
  >();

  /** Returns the texts of sources that are no more, which nobody would ever ask for. */
  configure(sources: Sources, { settled }: TextChanges): string[] {
    this.use(sources);
    const dropped: string[] = [];
    for (const [number, source] of this.#queue.entries()) {
      if (this.#own.has(source)) continue;
      this.#queue.settle(number, source);
      settled.push(number);
      dropped.push(source);
    }
    return dropped;
  }

  use(sources: Sources): void {
    this.#own = new Map();
    this.#known = new Set(Object.keys(sources));
    this.#takers = new Map();
    for (const [source, { sentiment }] of Object.entries(sources)) {
      if (!sentiment) continue;
      this.#own.set(source, sentiment);
      if (!sentiment.from) continue;
      const { source: from, field } = sentiment.from;
      this.#takers.set(from, [...(this.#takers.get(from) ?? []), { field, source, bounds: sentiment }]);
    }
  }

  /**
   * A frame of a source of type `sentiment`: a text, or what became of one. `taken` is all there is to it; undefined is
   * another source. `timeMs`: of a text that comes.
   */
  arrive(
    {
      source,
      origin,
      bytes,
    }: { readonly source: string; readonly origin: string; readonly bytes: Uint8Array },
    timeMs: number,
    changes: TextChanges,
  ): Arrived | undefined {
    const [, digits, unscored] = originPattern.exec(origin) ?? [];
    const number = Number(digits);
    const sentiment = this.#own.get(source);
    // The text was counted when its source was taken away; that is not one more that is lost.
    if (!sentiment)
      return !this.#known.has(source) && this.#queue.wasGiven(number) ? { discard: "duplicate" } : undefined;
    if (origin === "") {
      const arrival = readPosted(bytes, sentiment.device, timeMs);
      if (typeof arrival === "string") return { discard: arrival };
      return this.#take(source, arrival, sentiment, changes) ? "taken" : { discard: "queueFull" };
    }
    const settled = this.#queue.settle(number, source);
    // Also of one that nobody waits for no row may stay: it would be scored again and again.
    if (!this.#queue.has(number)) changes.settled.push(number);
    if (!settled) return { discard: "duplicate" };
    return unscored === undefined ? { textMs: settled.timeMs } : { discard: "unscored" };
  }

  /** Texts that are not there; returns the sources of those that waited. */
  lose(texts: readonly (readonly [number: number, source: string])[]): string[] {
    return texts.flatMap(([number, source]) => (this.#queue.settle(number, source) ? [source] : []));
  }

  /** The texts that a reading brings; returns the sources that had no room for one. */
  take(from: string, { device, timeMs, texts }: Reading, changes: TextChanges): string[] {
    if (!texts) return [];
    const full: string[] = [];
    for (const { field, source, bounds } of this.#takers.get(from) ?? []) {
      for (const [name, text] of texts) {
        if (name !== field) continue;
        const arrival = { device, timeMs, language: undefined, text };
        if (!this.#take(source, arrival, bounds, changes)) full.push(source);
      }
    }
    return full;
  }

  /** Per source that has texts scored. */
  get waiting(): Readonly<Record<string, WaitingInStore>> {
    const { waiting } = this.#queue;
    return Object.fromEntries([...this.#own.keys()].map((name) => [name, waiting[name] ?? nothing]));
  }

  /** Whether a frame brings what became of a text, which then waits no more. */
  isOutcome({ source, origin }: { readonly source: string; readonly origin: string }): boolean {
    return this.#own.has(source) && origin !== "";
  }

  isWaitingFor(source: string): boolean {
    return this.#queue.isWaitingFor(source);
  }

  get queue(): Pick<TextQueue, "snapshot" | "restore" | "entries"> {
    return this.#queue;
  }

  #take(source: string, arrival: Arrival, bounds: TextBounds, { taken }: TextChanges): boolean {
    // Half of a surrogate pair has no UTF-8: it would come back from the store as another text.
    const text = arrival.text.toWellFormed();
    const bytes = Buffer.byteLength(text);
    const number = this.#queue.take({ source, bytes, timeMs: arrival.timeMs }, bounds);
    if (number === undefined) return false;
    taken.push({ number, source, ...arrival, text, language: arrival.language?.toWellFormed() });
    return true;
  }
}

/** What the API makes of a text that a caller brings. */
export function postedText(
  text: string,
  device: string | undefined,
  language: string | undefined,
): Uint8Array {
  return Buffer.from(JSON.stringify({ text, device, language }));
}

function readPosted(bytes: Uint8Array, device: string, timeMs: number): Arrival | FrameDiscard {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  } catch {
    return "malformed";
  }
  if (!isObject(value) || typeof value.text !== "string") return "malformed";
  const { text, language, device: named = device } = value;
  if (typeof named !== "string" || !isPlainName(named)) return "badDevice";
  return { device: named, timeMs, language: typeof language === "string" ? language : undefined, text };
}
