import { type JournalEntry, readBatch } from "../../src/journal/batch.ts";
import { PipelineFault } from "../../src/journal/fault.ts";
import { Pipeline } from "../../src/pipeline.ts";
import type { PipelineOutput } from "../../src/pipeline-contract.ts";

/** The real stages with a bug: they throw at a reading with a field `poison`, and die of one with a field `killer`. */
export class FaultyPipeline extends Pipeline {
  readonly #isFaulty: boolean;

  constructor(storeId: string, isFaulty = true) {
    super(storeId);
    this.#isFaulty = isFaulty;
  }

  override apply(batch: Uint8Array): PipelineOutput {
    let index = 0;
    for (const entry of readBatch(batch)) {
      if (this.#isFaulty && holds(entry, "killer")) process.kill(process.pid, "SIGKILL");
      if (this.#isFaulty && holds(entry, "poison"))
        throw new PipelineFault(index, new Error("stumbled over poison"));
      index++;
    }
    return super.apply(batch);
  }
}

function holds(entry: JournalEntry, field: string): boolean {
  return entry.type === "frame" && Buffer.from(entry.bytes).includes(`"${field}"`);
}
