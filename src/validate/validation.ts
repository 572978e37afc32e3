import type { PipelineConfig } from "../config/schema.ts";
import type { Measurement, QualityReason, Reading } from "../core/reading.ts";

/** Judges each value against its range; the value stays as it is. Pure. */
export type Validate = (reading: Reading) => Measurement;

interface Range {
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/** An entry with a device replaces, channel by channel, those for every device. Later entries win over earlier ones. */
export function compileValidation(entries: PipelineConfig["validate"]): Validate {
  const general = new Map<string, Range>();
  const special = new Map<string, Map<string, Range>>();
  for (const { device, channels } of Object.values(entries)) {
    const target = device === undefined ? general : (special.get(device) ?? new Map<string, Range>());
    if (device !== undefined) special.set(device, target);
    for (const [channel, range] of Object.entries(channels)) target.set(channel, range);
  }
  return ({ device, timeMs, values }) => {
    const own = special.get(device);
    return {
      device,
      timeMs,
      values: values.map(({ channel, value }) => {
        const reason = judge(value, own?.get(channel) ?? general.get(channel));
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
