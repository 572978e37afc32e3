import type { Clock } from "../core/clock.ts";
import { messageOf, PermanentError } from "../core/errors.ts";
import { fingerprint, isObject, type JsonObject, type JsonValue } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";

export interface ReporterSettings {
  readonly intervalMs: number;
  readonly minSpacingMs: number;
}

export interface ReporterOptions {
  /** The reported properties as they should be now; `telling` is the part whose change alone is worth a report. */
  readonly properties: () => { readonly telling: JsonObject; readonly figures: JsonObject };
  readonly connected: (signal: AbortSignal) => Promise<void>;
  readonly report: (patch: JsonObject) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** How often the loop looks whether something changed. */
const lookEveryMs = 1_000;

/**
 * Reports to the twin: at an interval, and sooner when something changed, with a least spacing, because each is billed.
 * Only differences to what the hub holds are sent.
 */
export class Reporter {
  readonly #options: ReporterOptions;
  #settings: ReporterSettings;
  readonly #stop = new AbortController();
  /** What the hub holds; undefined until a connection told. */
  #held: JsonObject | undefined;
  #told = "";
  #lastMs = Number.NEGATIVE_INFINITY;
  #refused: string | undefined;
  #asleep: AbortController | undefined;
  #running: Promise<void> | undefined;

  constructor(options: ReporterOptions, settings: ReporterSettings) {
    this.#options = options;
    this.#settings = settings;
  }

  configure(settings: ReporterSettings): void {
    this.#settings = settings;
  }

  /** What the hub held at the beginning of a connection. */
  synchronize(reported: JsonObject): void {
    this.#held = reported;
    this.#told = "";
  }

  /** Another hub: nothing is reported until its twin was read. */
  forget(): void {
    this.#held = undefined;
  }

  /** Something changed that somebody waits for: looks at once instead of in a while. */
  look(): void {
    this.#asleep?.abort();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("stopped"));
    this.#asleep?.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, connected } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await connected(signal);
        if (this.#due()) await this.#report();
        await this.#sleep();
      } catch (error) {
        if (signal.aborted) return;
        // The link rebuilds the connection, which brings `synchronize`; what is due stays due.
        this.#options.log.debug({ reason: messageOf(error) }, "reporting to the twin failed");
        await clock.sleep(lookEveryMs, signal).catch(() => undefined);
      }
    }
  }

  async #sleep(): Promise<void> {
    this.#asleep = new AbortController();
    if (this.#stop.signal.aborted) return;
    await this.#options.clock.sleep(lookEveryMs, this.#asleep.signal).catch(() => undefined);
  }

  #due(): boolean {
    if (!this.#held) return false;
    const since = this.#options.clock.monotonic() - this.#lastMs;
    if (since < this.#settings.minSpacingMs) return false;
    return (
      since >= this.#settings.intervalMs || fingerprint(this.#options.properties().telling) !== this.#told
    );
  }

  async #report(): Promise<void> {
    const { properties, report, clock, log } = this.#options;
    const { telling, figures } = properties();
    const wanted = { ...telling, ...figures };
    const held = this.#held;
    const patch = difference(held ?? {}, wanted);
    this.#lastMs = clock.monotonic();
    if (Object.keys(patch).length > 0) {
      try {
        await report(patch);
        this.#refused = undefined;
      } catch (error) {
        if (!(error instanceof PermanentError)) throw error;
        if (this.#refused !== error.message) log.error({ reason: error.message }, "the hub refused a report");
        this.#refused = error.message;
        // Not again before something changes or the interval is over: each attempt is billed.
        this.#told = fingerprint(telling);
        return;
      }
    }
    // Another connection may have told meanwhile what its hub holds.
    if (this.#held !== held) return;
    this.#held = wanted;
    this.#told = fingerprint(telling);
  }
}

/** The patch that makes `to` of `from`: changed members, and `null` for those that go. */
export function difference(from: JsonObject, to: JsonObject): JsonObject {
  const patch: [string, JsonValue][] = [];
  for (const [key, value] of Object.entries(to)) {
    const before = Object.hasOwn(from, key) ? from[key] : undefined;
    if (isObject(value) && isObject(before)) {
      const below = difference(before, value);
      if (Object.keys(below).length > 0) patch.push([key, below]);
    } else if (fingerprint(value) !== fingerprint(before ?? null) || before === undefined)
      patch.push([key, value]);
  }
  for (const key of Object.keys(from)) if (!Object.hasOwn(to, key)) patch.push([key, null]);
  return Object.fromEntries(patch);
}
