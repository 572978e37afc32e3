import type { PipelineConfig } from "../config/schema.ts";
import { BatchWriter } from "../journal/batch.ts";

/** A configuration that closes what is open as it stands, for a store that is to end. */
export function closingBatch(config: PipelineConfig, wallMs: number): Uint8Array {
  const writer = new BatchWriter();
  const closing = { ...withoutTexts(config), windows: {}, feeds: {}, clock: { maxHoldMs: 0 } };
  writer.rare({ type: "configuration", wallMs, config: closing });
  return writer.take();
}

/** A configuration in which no text waits: of a file that is to end, they are counted as discarded. */
function withoutTexts(config: PipelineConfig): PipelineConfig {
  const sources = Object.entries(config.sources).filter(([, { sentiment }]) => !sentiment);
  return { ...config, sources: Object.fromEntries(sources) };
}
