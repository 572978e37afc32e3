import type { WindowConfig } from "../config/schema.ts";
import type { ChannelAggregate } from "./channel-aggregate.ts";
import type { LabelSchedule } from "./labels.ts";
import type { Definition, OpenWindow } from "./window-entry.ts";

type PlainWindow = Omit<OpenWindow, "channels" | "closesMs" | "epoch" | "turn"> & {
  channels: [string, unknown][];
  /** These, too, are absent there. */
  closesMs?: number;
  epoch?: number;
  turn?: number;
};

export interface WindowsSnapshot {
  readonly definitions: readonly {
    readonly definition: Definition;
    readonly since: readonly (readonly [source: string, timeMs: number])[];
    /** Absent in snapshots of versions that knew no steps. */
    readonly labels?: LabelSchedule;
    readonly windows: readonly PlainWindow[];
  }[];
  readonly watermarks: readonly (readonly [source: string, watermarkMs: number])[];
  /** Absent in older snapshots. */
  readonly turns?: readonly (readonly [source: string, turn: number])[];
}

/** A window as it was when the snapshot was taken. */
export function openWindowOf(plain: PlainWindow, { sizeMs }: WindowConfig): OpenWindow {
  const channels = new Map(plain.channels.map(([name, aggregate]) => [name, revived(aggregate)]));
  const { closesMs = plain.startMs + sizeMs, epoch = 0, turn = 0 } = plain;
  return { ...plain, closesMs, epoch, turn, channels };
}

/** JSON has no Infinity and no NaN; a number that overflowed never becomes finite again. */
function revived(plain: unknown): ChannelAggregate {
  const aggregate = plain as ChannelAggregate;
  return {
    ...aggregate,
    sum: aggregate.sum ?? Number.NaN,
    runningMean: aggregate.runningMean ?? Number.NaN,
    squares: aggregate.squares ?? Number.NaN,
  };
}
