import type { WindowConfig } from "../config/schema.ts";
import { type LabelSchedule, labelsAt } from "./labels.ts";
import type { Origin } from "./open-window.ts";
import type { Definition, OpenWindow } from "./window-entry.ts";

/** A definition in force, with its open windows. */
export interface RunningDefinition {
  readonly definition: Definition;
  /**
   * First time of each source with times of its own; of others the steady time at which they turned to that of receipt.
   */
  readonly since: Map<string, number>;
  /** Of windows in steady time, those of sources stamped on receipt. */
  labels: LabelSchedule;
  /** Windows by source, device and end as the watermark counts: told times repeat when the clock steps back. */
  readonly open: Map<string, Map<string, Map<number, OpenWindow>>>;
}

/**
 * What a window tells of its place, and whether it is whole. A source stamped on receipt shares the clock of the
 * definition; one with times of its own may be hours off, so there its first reading says where its windows begin.
 */
export function placeOf(
  { definition, since, labels }: RunningDefinition,
  source: string,
  timeMs: number,
  closesMs: number,
  { ownTime }: Origin,
): Pick<OpenWindow, "startMs" | "epoch" | "partial"> {
  const beginsMs = closesMs - definition.config.sizeMs;
  if (ownTime) {
    const sinceMs = since.get(source) ?? timeMs;
    since.set(source, sinceMs);
    return {
      startMs: beginsMs,
      epoch: 0,
      partial: beginsMs < sinceMs ? definition.sinceReason : undefined,
    };
  }
  const { offsetMs, epoch, fromMs, reason } = labelsAt(labels, timeMs);
  const turnedMs = since.get(source) ?? Number.NEGATIVE_INFINITY;
  const partial = beginsMs < fromMs ? reason : beginsMs < turnedMs ? "configuration" : undefined;
  return { startMs: beginsMs + offsetMs, epoch, partial };
}

export function matches({ sources, devices }: WindowConfig, source: string, device: string): boolean {
  return (!sources || sources.includes(source)) && (!devices || devices.includes(device));
}

export function* windowsOf(open: RunningDefinition["open"]): Iterable<OpenWindow> {
  for (const ofSource of open.values()) for (const ofDevice of ofSource.values()) yield* ofDevice.values();
}
