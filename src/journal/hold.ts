import type { PipelineConfig } from "../config/schema.ts";
import { BatchWriter, type JournalEntry, readBatch } from "./batch.ts";

/** What waits in order; ticks do not, because the one that ends the hold says the same. */
export type HeldEntry = Extract<JournalEntry, { type: "frame" | "configuration" }>;

/** More memory than this is not spent on waiting for a clock. */
const maxBytes = 64 * 1_048_576;
/** What an entry takes beside its bytes, roughly. */
const entryBytes = 200;

/** Journal entries that wait for the clock to be known good. They are durable already: they stand in the journal. */
export class Hold {
  #entries: HeldEntry[] = [];
  #bytes = 0;
  #frames = 0;
  #config: PipelineConfig | undefined;

  get frames(): number {
    return this.#frames;
  }
  get isFull(): boolean {
    return this.#bytes > maxBytes;
  }
  /** The last configuration that waits. */
  get config(): PipelineConfig | undefined {
    return this.#config;
  }

  add(entry: HeldEntry): void {
    this.#entries.push(entry);
    this.#bytes += entryBytes;
    if (entry.type === "configuration") this.#config = entry.config;
    else {
      this.#frames++;
      this.#bytes += entry.bytes.length;
    }
  }

  take(): readonly HeldEntry[] {
    const entries = this.#entries;
    this.#entries = [];
    this.#bytes = 0;
    this.#frames = 0;
    this.#config = undefined;
    return entries;
  }

  /** A batch, base64; undefined when nothing waits. */
  snapshot(): string | undefined {
    if (this.#entries.length === 0) return undefined;
    const writer = new BatchWriter();
    for (const entry of this.#entries) {
      if (entry.type === "configuration") writer.rare(entry);
      else writer.frame(entry.source, entry.wallMs, entry.monotonicMs, entry.bytes, entry.origin);
    }
    return Buffer.from(writer.take()).toString("base64");
  }

  restore(snapshot: string | undefined): void {
    this.take();
    if (snapshot === undefined) return;
    for (const entry of readBatch(Buffer.from(snapshot, "base64"))) this.add(entry as HeldEntry);
  }
}
