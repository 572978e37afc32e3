import { messageOf } from "../core/errors.ts";
import { BatchWriter, type JournalEntry, readBatch } from "./batch.ts";

/** A stage of the pipeline threw at one entry of a batch: a bug of ours that must cost this entry and not the box. */
export class PipelineFault extends Error {
  /** Number of the entry in its batch, from 0. */
  readonly index: number;
  constructor(index: number, cause: unknown) {
    super(`entry ${index} of the batch: ${messageOf(cause)}`, { cause });
    this.name = "PipelineFault";
    this.index = index;
  }
}

/** Of the bytes that a bug stumbled over, what is kept in the journal for whoever mends it. */
const keptBytes = 4_096;
const keptOrigin = 200;
/** What cannot be laid at the door of a source. */
export const noSource = "(tick)";

/**
 * The batch with entries taken out and a record of each in its place, so that a replay does not stumble again.
 * Only frames and ticks can be taken out; undefined when the entry is of another kind.
 */
export function withoutEntries(
  batch: Uint8Array,
  isFaulty: (entry: JournalEntry, index: number) => boolean,
  error: string,
): Uint8Array<ArrayBuffer> | undefined {
  const writer = new BatchWriter();
  let index = 0;
  for (const entry of readBatch(batch)) {
    if (isFaulty(entry, index++)) {
      if (entry.type !== "frame" && entry.type !== "tick") return undefined;
      writer.rare(faultOf(entry, error));
    } else writer.entry(entry);
  }
  return writer.take();
}

function faultOf(entry: Extract<JournalEntry, { type: "frame" | "tick" }>, error: string) {
  const tick = { source: noSource, origin: "", bytes: new Uint8Array() };
  const { source, origin, bytes } = entry.type === "frame" ? entry : tick;
  return {
    type: "fault" as const,
    source,
    origin: origin.slice(0, keptOrigin),
    error: error.slice(0, 500),
    bytes: Buffer.from(bytes.subarray(0, keptBytes)).toString("base64"),
  };
}
