import { BatchWriter, type JournalEntry } from "../../src/journal/batch.ts";

export function batchOf(entries: Iterable<JournalEntry>): Uint8Array<ArrayBuffer> {
  const writer = new BatchWriter();
  for (const entry of entries) {
    if (entry.type === "frame")
      writer.frame(entry.source, entry.wallMs, entry.monotonicMs, entry.bytes, entry.origin);
    else if (entry.type === "tick") writer.tick(entry.wallMs, entry.monotonicMs);
    else writer.rare(entry);
  }
  return writer.take();
}

export function frame(source: string, wallMs: number, text: string, origin = ""): JournalEntry {
  return { type: "frame", source, wallMs, monotonicMs: wallMs, bytes: Buffer.from(text), origin };
}

export function tick(wallMs: number): JournalEntry {
  return { type: "tick", wallMs, monotonicMs: wallMs };
}
