import type { PipelineConfig } from "../config/schema.ts";
import type { KnownChannel, Measurement, QualityReason, Reading } from "../core/reading.ts";

/** Judges each value of a source's reading against its range; the value stays as it is. Pure. */
export type Validate = (reading: Reading, source: string) => Measurement;

/** What is known of the channels of a source, under their names in readings. */
export type KnownChannels = ReadonlyMap<string, ReadonlyMap<string, KnownChannel>>;

interface Range {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/**
 * The narrower wins, channel by channel: an entry with a device, then the range that is `known` of the source's
 * channel, then entries for every device. Later entries win over earlier ones.
 */
export function compileValidation(
  entries: PipelineConfig["validate"],
  known: KnownChannels = new Map(),
): Validate {
  const general = new Map<string, Range>();
  const special = new Map<string, Map<string, Range>>();
  for (const { device, channels } of Object.values(entries)) {
    const target = device === undefined ? general : (special.get(device) ?? new Map<string, Range>());
    if (device !== undefined) special.set(device, target);
    for (const [channel, range] of Object.entries(channels)) target.set(channel, range);
  }
  return ({ device, timeMs, values }, source) => {
    const own = special.get(device);
    const ofSource = known.get(source);
    // A channel of which only the unit is known has no range of its own.
    const told = (channel: string) => {
      const range = ofSource?.get(channel);
      return range?.min === undefined && range?.max === undefined ? undefined : range;
    };
    return {
      device,
      timeMs,
      values: values.map(({ channel, value }) => {
        const reason = judge(value, own?.get(channel) ?? told(channel) ?? general.get(channel));
        return { channel, value, quality: reason ? "bad" : "good", reason };
      }),
    };
  };
}

function judge(value: number, range: Range | undefined): QualityReason | undefined {
  // A slope can push a number out of double precision; an aggregate must never become Infinity or NaN.
  if (!Number.isFinite(value)) return "notFinite";
  if (range?.min !== undefined && value < range.min) return "belowMin";
  if (range?.max !== undefined && value > range.max) return "aboveMax";
  return undefined;
}
