import type { Entry } from "../core/entry.ts";
import type { Measurement, TimeQuality } from "../core/reading.ts";
import type { ReadingEntryBody } from "./entry-schema.ts";

/** What a reading's entry says beside the values. */
export interface ReadingOrigin {
  readonly gateway: string;
  readonly source: string;
  readonly unitOf: (source: string, channel: string) => string | undefined;
  readonly timeQuality: TimeQuality;
  /** The reading's time as it is told: the device's own, or wall time. */
  readonly timeMs: number;
  /** Steady. */
  readonly readyMs: number;
  /** Hash of the configuration in force. */
  readonly configuration: string;
}

/** More channels than this would make an entry that no hub takes. */
export const maxChannels = 1_000;

/** A reading as the hub is told, beside the windows it is part of; it accounts for itself. */
export function readingEntry(id: string, { device, values }: Measurement, origin: ReadingOrigin): Entry {
  const { gateway, source, unitOf, timeQuality, timeMs, readyMs, configuration } = origin;
  const channels = values.slice(0, maxChannels).map(({ channel, value, quality, reason }) => {
    const unit = unitOf(source, channel);
    const told = {
      ...(unit === undefined ? {} : { unit }),
      ...(Number.isFinite(value) ? { value } : {}),
      quality,
      ...(reason ? { reason } : {}),
    };
    return [channel, told] as const;
  });
  const body: ReadingEntryBody = {
    id,
    revision: 0,
    kind: "reading",
    gateway,
    source,
    device,
    time: new Date(timeMs).toISOString(),
    timeQuality,
    channels: Object.fromEntries(channels),
    configuration,
  };
  return {
    id,
    revision: 0,
    kind: "reading",
    source,
    body: JSON.stringify(body),
    readyMs,
    accounts: { [source]: 1 },
  };
}
