import type { EmbeddedHub, ReceivedMessage } from "../../../src/embedded-hub/embedded-hub.ts";
import { windowName } from "./soak-config.ts";

/** What is read of an entry. */
interface ArrivedEntry {
  readonly id: string;
  readonly revision: number;
  readonly kind: "window" | "gap" | "alarm";
  readonly window?: string;
  readonly count: number | "unknown";
  readonly reason?: string;
  readonly thinned?: number;
}

export interface ArrivalCounts {
  readonly messages: number;
  readonly windows: number;
  /** Readings in the windows that account for them, the last revision of each. */
  readonly readings: number;
  /** Windows that stand for several, and how many those are. */
  readonly thinned: number;
  readonly thinnedFrom: number;
  readonly gaps: number;
  /** Readings told as evicted. */
  readonly evicted: number;
  /** Entries that came again. */
  readonly repeats: number;
  readonly problems: readonly string[];
}

/**
 * A message that seemed to end connections is repeated up to half an hour after it first came; so many entries come in
 * an hour and more. Not all of them, because the harness must not grow either.
 */
const remembered = 200_000;
const shownProblems = 20;

/** Counts what arrives at a hub and forgets it. */
export class Arrivals {
  readonly #known = new Map<string, { readonly revision: number; readonly count: number }>();
  #counts = {
    messages: 0,
    windows: 0,
    readings: 0,
    thinned: 0,
    thinnedFrom: 0,
    gaps: 0,
    evicted: 0,
    repeats: 0,
  };
  readonly #problems: string[] = [];

  constructor(hub: EmbeddedHub) {
    hub.on("message", (message) => this.#take(message));
  }

  get counts(): ArrivalCounts {
    return { ...this.#counts, problems: this.#problems };
  }

  #take({ body }: ReceivedMessage): void {
    this.#counts.messages++;
    for (const entry of JSON.parse(body.toString("utf8")) as ArrivedEntry[]) this.#entry(entry);
  }

  #entry({ id, revision, kind, window, count, reason, thinned }: ArrivedEntry): void {
    const before = this.#known.get(id);
    if (before && before.revision >= revision) {
      this.#counts.repeats++;
      if (before.revision === revision && before.count !== count)
        this.#problem(`${id} came with count ${before.count} and with ${count}`);
      return;
    }
    if (count === "unknown") {
      this.#problem(`a gap of unknown size came (${reason})`);
      return;
    }
    this.#known.set(id, { revision, count });
    if (this.#known.size > remembered) this.#known.delete(this.#known.keys().next().value ?? "");
    if (kind === "alarm") return;
    if (kind === "gap") {
      this.#counts.gaps++;
      if (reason === "evicted") this.#counts.evicted += count;
      else this.#problem(`a gap of ${count} came (${reason})`);
      return;
    }
    if (!before) this.#counts.windows++;
    if (window === windowName) this.#counts.readings += count - (before?.count ?? 0);
    if (thinned !== undefined) {
      this.#counts.thinned++;
      this.#counts.thinnedFrom += thinned;
    }
  }

  #problem(text: string): void {
    if (this.#problems.length < shownProblems) this.#problems.push(text);
  }
}
