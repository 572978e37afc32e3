import type { KnownChannel } from "../core/reading.ts";
import type { Config, DecodeConfig, PipelineConfig, SourceConfig } from "./schema.ts";

/** A score is a frame of its source's, with the device and the time of the text, which were judged with the text. */
export const scoreDevice = { field: "device" };
export const ownTimeScoreDecode: DecodeConfig = {
  format: "json",
  time: { field: "time", unit: "ms", maxAheadMs: Number.MAX_SAFE_INTEGER },
  ignore: [],
};
/** The time of one of receipt is known from when the text came. */
export const scoreDecode: DecodeConfig = { format: "json", ignore: ["time"] };
const share: KnownChannel = { min: 0, max: 1 };
export const scoreChannels: Readonly<Record<string, KnownChannel>> = {
  positive: share,
  neutral: share,
  negative: share,
  score: share,
};

type Parts = Pick<PipelineConfig["sources"][string], "texts" | "sentiment">;

/** What a source's texts, or what it has scored, are to the pipeline. */
export function textParts(name: string, source: SourceConfig, { sources, store }: Config): Parts {
  const fields = Object.values(sources).flatMap((other) =>
    other.type === "sentiment" && other.state === "on" && other.from?.source === name
      ? [other.from.field]
      : [],
  );
  const texts = fields.length > 0 ? { texts: [...new Set(fields)] } : {};
  if (source.type !== "sentiment") return texts;
  const { from, device, maxTexts } = source;
  const storeBytes = Math.floor(store.maxBytes / 8);
  const maxBytes = Math.min(source.maxBytes, storeBytes);
  return { ...texts, sentiment: { ...(from ? { from } : {}), device, maxTexts, maxBytes, storeBytes } };
}
