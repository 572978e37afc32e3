import { createHash } from "node:crypto";
import type { DedupeConfig, PipelineConfig } from "../config/schema.ts";
import type { Reading } from "../core/reading.ts";

/** Per source, what was received lately, the oldest first; empty texts stand for repeats. */
export type DedupeSnapshot = Readonly<Record<string, readonly string[]>>;

type Sources = Readonly<Record<string, Partial<Pick<PipelineConfig["sources"][string], "dedupe">>>>;
type Remembering = Exclude<DedupeConfig, { by: "none" }>;
interface Memory {
  readonly config: Remembering;
  readonly recent: Recent;
}

/** A longer name is kept as its hash, or a few bytes of field would decide how much memory a source takes. */
const longestKey = 64;

/**
 * Tells repeats from new input, per source, by what the source's configuration says. Pure: what is remembered follows
 * from the frames alone, stands in the snapshot of the pipeline, and a replay rebuilds it.
 */
export class Dedupe {
  readonly #memories = new Map<string, Memory>();

  /**
   * What is remembered stays when only the number of what to remember changes.
   * It is forgotten when something else makes a repeat now, or when the source is gone.
   */
  configure(sources: Sources): void {
    for (const name of this.#memories.keys()) if (!(name in sources)) this.#memories.delete(name);
    for (const [name, { dedupe }] of Object.entries(sources)) {
      // A configuration journaled by an older version has no `dedupe`.
      if (dedupe === undefined || dedupe.by === "none") {
        this.#memories.delete(name);
        continue;
      }
      const before = this.#memories.get(name);
      if (before && criterion(before.config) !== criterion(dedupe)) before.recent.clear();
      const recent = before?.recent ?? new Recent();
      recent.limit(dedupe.remembered);
      this.#memories.set(name, { config: dedupe, recent });
    }
  }

  /** The same bytes from the same place, for a source that goes by them. */
  isRepeatedFrame(source: string, frame: { readonly bytes: Uint8Array; readonly origin: string }): boolean {
    const memory = this.#memories.get(source);
    if (memory?.config.by !== "payload") return false;
    // A topic holds no NUL (MQTT 3.1.1 section 4.7.3), so the two cannot run into each other.
    const hash = createHash("sha256").update(frame.origin).update("\0").update(frame.bytes);
    return memory.recent.isRepeat(short(hash));
  }

  /** A reading that carries nothing to know it by is new. */
  isRepeatedReading(source: string, reading: Reading): boolean {
    const memory = this.#memories.get(source);
    if (!memory) return false;
    const key = keyOf(memory.config, reading);
    return key !== undefined && memory.recent.isRepeat(bounded(key));
  }

  snapshot(): DedupeSnapshot {
    return Object.fromEntries([...this.#memories].map(([name, { recent }]) => [name, recent.list()]));
  }

  /** After `configure` with the configuration of the snapshot. */
  restore(snapshot: DedupeSnapshot): void {
    for (const [name, { recent }] of this.#memories) recent.restore(snapshot[name] ?? []);
  }
}

function keyOf(config: Remembering, { device, timeMs, identity }: Reading): string | undefined {
  switch (config.by) {
    case "payload":
      return undefined;
    case "key":
      return identity;
    case "sequence":
      // Names of devices hold no control characters.
      return identity === undefined ? undefined : `${device}\n${identity}`;
    case "timestamp":
      return `${device}\n${timeMs}`;
    default:
      return config satisfies never;
  }
}

/** Keys of one criterion mean nothing under another. */
function criterion(config: Remembering): string {
  return "field" in config ? `${config.by}\n${config.field}` : config.by;
}

const bounded = (key: string) =>
  key.length <= longestKey ? key : short(createHash("sha256").update(key, "utf8"));

/** 128 bits. No key of its own looks like it by chance: those would have to be the base64 of a hash. */
const short = (hash: ReturnType<typeof createHash>) => hash.digest("base64").slice(0, 22);

/**
 * The keys among the last `limit` that came. A repeat takes a place as well and is not remembered anew: so a key is
 * forgotten after `limit` more, whatever these are, and a device that counts from 0 again and again is heard again.
 */
class Recent {
  readonly #known = new Set<string>();
  /** A ring, the oldest at `#next` once it is full. */
  #ring: string[] = [];
  #next = 0;
  #limit = 1;

  isRepeat(key: string): boolean {
    const isRepeat = this.#known.has(key);
    this.#put(isRepeat ? "" : key);
    return isRepeat;
  }

  /** The oldest first. */
  list(): string[] {
    return [...this.#ring.slice(this.#next), ...this.#ring.slice(0, this.#next)];
  }

  limit(limit: number): void {
    if (limit === this.#limit) return;
    const kept = this.list();
    this.#limit = limit;
    this.restore(kept);
  }

  restore(keys: readonly string[]): void {
    this.clear();
    for (const key of keys.slice(-this.#limit)) this.#put(key);
  }

  clear(): void {
    this.#known.clear();
    this.#ring = [];
    this.#next = 0;
  }

  #put(key: string): void {
    if (key !== "") this.#known.add(key);
    if (this.#ring.length < this.#limit) {
      this.#ring.push(key);
      return;
    }
    const forgotten = this.#ring[this.#next] ?? "";
    // One that was the oldest until now and came again is a repeat all the same, and gone afterwards.
    if (forgotten !== "") this.#known.delete(forgotten);
    this.#ring[this.#next] = key;
    this.#next = (this.#next + 1) % this.#limit;
  }
}
