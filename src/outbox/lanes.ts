import type { EntryKind } from "../core/entry.ts";

/**
 * An entry's number is its lane and its place among all entries. So the entries of one lane stand together in the
 * table, in the order of their making, and each lane can be read, thinned and sent by itself, without an index that
 * every commit would have to write.
 */
const laneSpan = 2 ** 44;
export const defaultPriority = 5;
/** The default priority has lane 0, because the entries of schemas without lanes stand there. */
const defaultLane = 0;
export const alarmLane = 1;
const firstPriorityLane = 2;

export function laneFor(kind: EntryKind, priority: number): number {
  if (kind === "alarm") return alarmLane;
  return priority === defaultPriority ? defaultLane : firstPriorityLane + priority;
}

/** Lanes of everything but alarms, those that go out first before the others. */
export const priorityLanes: readonly number[] = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((priority) =>
  laneFor("window", priority),
);
export const allLanes: readonly number[] = [alarmLane, ...priorityLanes];

/** `place`: from 1, unique over all lanes. */
export const numberIn = (lane: number, place: number): number => lane * laneSpan + place;
export const laneOf = (entry: number): number => Math.floor(entry / laneSpan);
export const placeOf = (entry: number): number => entry % laneSpan;
