import type { Measurement, TimeQuality } from "../core/reading.ts";
import { addValue, emptyAggregate } from "./channel-aggregate.ts";
import type { OpenWindow } from "./window-entry.ts";

/** More channels than this in one window would be a device that invents channel names; the values are counted out. */
const maxChannels = 1_000;

/** What a reading's window has to know of where and when it came in. */
export interface Origin {
  readonly timeQuality: TimeQuality;
  /** Hash of the configuration in force. */
  readonly configuration: string;
  /** The source stamps its readings itself, by a clock of its own. */
  readonly ownTime: boolean;
  /** The reading is published by itself, and accounted for there. */
  readonly isPublished: boolean;
}

/** A window is only as sure of its time as its least sure reading. */
const timeQualityRank: Record<TimeQuality, number> = { synced: 0, holdover: 1, unsynced: 2 };

/** Returns how many values found no room. */
export function addTo(
  window: OpenWindow,
  measurement: Measurement,
  { timeQuality, configuration }: Origin,
): number {
  let bad = false;
  let ignored = 0;
  for (const value of measurement.values) {
    let aggregate = window.channels.get(value.channel);
    if (!aggregate) {
      if (window.channels.size >= maxChannels) {
        ignored++;
        continue;
      }
      aggregate = emptyAggregate();
      window.channels.set(value.channel, aggregate);
    }
    addValue(aggregate, measurement.timeMs, value);
    bad ||= value.quality === "bad";
  }
  window.changed = true;
  window.readings++;
  if (bad) window.bad++;
  if (timeQualityRank[timeQuality] > timeQualityRank[window.timeQuality]) window.timeQuality = timeQuality;
  if (!window.configurations.includes(configuration)) window.configurations.push(configuration);
  return ignored;
}
