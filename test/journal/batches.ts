import { BatchWriter, type JournalEntry } from "../../src/journal/batch.ts";

export function batchOf(entries: Iterable<JournalEntry>): Uint8Array<ArrayBuffer> {
  const writer = new BatchWriter();
  for (const entry of entries) writer.entry(entry);
  return writer.take();
}

export function frame(source: string, wallMs: number, text: string, origin = ""): JournalEntry {
  return { type: "frame", source, wallMs, monotonicMs: wallMs, bytes: Buffer.from(text), origin };
}

export function tick(wallMs: number): JournalEntry {
  return { type: "tick", wallMs, monotonicMs: wallMs };
}
