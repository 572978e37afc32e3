import { stepToleranceMs } from "../core/steady-time.ts";
import type { PartialReason } from "../outbox/entry-schema.ts";

/** How steady time becomes the times that a window tells. */
export interface Labels {
  /** Told time minus steady time, ms. */
  readonly offsetMs: number;
  /** Counts the steps that took effect: one backward gives the same times again, to other windows. */
  readonly epoch: number;
  /** Steady ms from which on they hold; a window that would have begun earlier is partial, for this reason. */
  readonly fromMs: number;
  readonly reason: PartialReason;
}

/** Labels in use, and those that follow at the end of a window. Plain data, so that a snapshot is its JSON. */
export interface LabelSchedule {
  readonly now: Labels;
  readonly next?: Labels;
}

export function labelsAt({ now, next }: LabelSchedule, steadyMs: number): Labels {
  return next && steadyMs >= next.fromMs ? next : now;
}

/** Steady ms of the end of the window that `steadyMs` lies in. Its told end is a whole multiple of the size. */
export function endAt(schedule: LabelSchedule, steadyMs: number, sizeMs: number): number {
  const { offsetMs } = labelsAt(schedule, steadyMs);
  return (Math.floor((steadyMs + offsetMs) / sizeMs) + 1) * sizeMs - offsetMs;
}

/**
 * The schedule after a step of the wall clock to `offsetMs`. What was going on at `agreedMs`, before the step,
 * keeps its times to its end, and so does all that began by the old labels and ends at `begunUntilMs` at the latest.
 * A step there and back between two ends changes nothing.
 */
export function relabeled(
  schedule: LabelSchedule,
  offsetMs: number,
  { agreedMs, begunUntilMs }: { readonly agreedMs: number; readonly begunUntilMs: number },
  sizeMs: number,
): LabelSchedule {
  const fromMs = Math.max(begunUntilMs, endAt(schedule, agreedMs, sizeMs));
  const now = schedule.next && fromMs > schedule.next.fromMs ? schedule.next : schedule.now;
  if (Math.abs(offsetMs - now.offsetMs) <= stepToleranceMs) return { now };
  return { now, next: { offsetMs, epoch: now.epoch + 1, fromMs, reason: "clock" } };
}

/** Labels that hold at once, whatever was before. */
export function begunAnew({ now, next }: LabelSchedule, fromMs: number): LabelSchedule {
  return { now: { offsetMs: 0, epoch: (next ?? now).epoch + 1, fromMs, reason: "clock" } };
}
