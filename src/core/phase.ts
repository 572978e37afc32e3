import { channel } from "node:diagnostics_channel";

/** What a process is in the middle of, when a fault campaign kills it. */
export type Phase =
  | "start"
  | "migration"
  | "salvage"
  | "replay"
  | "commit"
  | "snapshot"
  | "trim"
  | "evict"
  | "publish"
  | "shutdown";

const phases = channel("headgate:phase");

/** Announces a phase on the diagnostics channel `headgate:phase`; without a listener it costs one comparison. */
export function enterPhase(phase: Phase): void {
  if (phases.hasSubscribers) phases.publish(phase);
}
