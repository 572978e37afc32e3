import { type Calibrate, compileCalibration } from "./calibrate/calibration.ts";
import type { PipelineConfig } from "./config/schema.ts";
import { seriesOf } from "./core/entry.ts";
import { ChannelNames } from "./decode/channel-names.ts";
import { compileDecoder, type Decode } from "./decode/decoder.ts";
import { knownChannels } from "./decode/known-channels.ts";
import { compileValidation, type Validate } from "./validate/validation.ts";
import type { EntryContext } from "./window/window-entry.ts";

/** The stages as one configuration has them. */
export interface CompiledStages {
  readonly config: PipelineConfig;
  readonly decoders: ReadonlyMap<string, Decode>;
  readonly calibrate: Calibrate;
  readonly validate: Validate;
  readonly context: EntryContext;
  /** Of the readings that are published by themselves. */
  readonly series: string;
}

/** `generation`: how many configurations came so far, this one too. */
export function compileStages(storeId: string, config: PipelineConfig, generation: number): CompiledStages {
  const names = new ChannelNames(config.channels);
  const sources = Object.entries(config.sources);
  const known = new Map(
    sources.map(([name, { decode, channels = knownChannels(decode) }]) => [
      name,
      new Map(Object.entries(channels).map(([spelling, channel]) => [names.canonical(spelling), channel])),
    ]),
  );
  return {
    config,
    decoders: new Map(sources.map(([name, source]) => [name, compileDecoder(source, names)])),
    calibrate: compileCalibration(config.calibrate),
    validate: compileValidation(config.validate, known),
    context: {
      storeId,
      gateway: config.gateway,
      // What a source says of its channel is true of it alone; a unit for all channels of a name may be of another device.
      unitOf: (source, channel) => known.get(source)?.get(channel)?.unit ?? config.channels[channel]?.unit,
      intervalMs: new Map(
        sources.flatMap(([name, { intervalMs }]) => (intervalMs === undefined ? [] : [[name, intervalMs]])),
      ),
    },
    series: seriesOf(storeId, "reading", generation),
  };
}
