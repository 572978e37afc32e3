import { aggregateNames } from "../config/field-schema.ts";
import type { PartialReason } from "../outbox/entry-schema.ts";
import { aggregateNumbers } from "./channel-aggregate.ts";
import type { Definition, OpenWindow } from "./window-entry.ts";

/** A window that is told for the first time, for those who go by its numbers. */
export interface ToldWindow {
  readonly name: string;
  readonly source: string;
  readonly device: string;
  /** As the watermark of its source counts: steady time, or the device's own. */
  readonly endMs: number;
  readonly partial: PartialReason | undefined;
  /** Of a channel and one of its aggregates, such as `temperature.mean`; undefined where there is none. */
  number(feature: string): number | undefined;
}

export function toldWindow({ name }: Definition, window: OpenWindow): ToldWindow {
  const { source, device, closesMs, partial, channels } = window;
  return {
    name,
    source,
    device,
    endMs: closesMs,
    partial,
    number: (feature) => {
      // Names of channels that a configuration knows hold no dot.
      const [channel = "", aggregate = ""] = feature.split(".");
      const numbers = channels.get(channel);
      return numbers && aggregateNumbers(numbers, aggregateNames)[aggregate];
    },
  };
}
