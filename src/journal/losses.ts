import type { FrameDiscard } from "../core/reading.ts";
import type { BatchWriter, JournalEntry } from "./batch.ts";

/** What never became a frame of the batch that is being collected, counted until that batch tells of it. */
export class Losses {
  readonly #overruns = new Map<string, { fromMs: number; toMs: number; count: number }>();
  readonly #discards = new Map<string, Extract<JournalEntry, { type: "discard" }>>();

  /** A frame found no room. */
  overrun(source: string, wallMs: number): void {
    const gap = this.#overruns.get(source);
    if (gap) {
      gap.toMs = wallMs;
      gap.count++;
    } else this.#overruns.set(source, { fromMs: wallMs, toMs: wallMs, count: 1 });
  }

  discard(source: string, reason: FrameDiscard, bytes: number): void {
    const key = `${source} ${reason}`;
    const before = this.#discards.get(key);
    const count = (before?.count ?? 0) + 1;
    this.#discards.set(key, { type: "discard", source, reason, count, bytes: (before?.bytes ?? 0) + bytes });
  }

  /** Tells all of it, and begins anew. */
  writeTo(writer: BatchWriter): void {
    for (const discard of this.#discards.values()) writer.rare(discard);
    this.#discards.clear();
    for (const [source, gap] of this.#overruns)
      writer.rare({ type: "gap", source, ...gap, reason: "overrun" });
    this.#overruns.clear();
  }
}
