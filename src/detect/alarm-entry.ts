import { createHash } from "node:crypto";
import type { Entry } from "../core/entry.ts";
import type { QualityReason, TimeQuality } from "../core/reading.ts";
import type { AlarmEntryBody } from "../outbox/entry-schema.ts";
import type { EntryContext } from "../window/window-entry.ts";

export type ConditionState = AlarmEntryBody["to"];

/** What is known of a change of state. Times are wall ms, or the device's own. */
export interface Change {
  readonly timeMs: number;
  readonly timeQuality: TimeQuality;
  readonly value?: number;
  readonly reason?: QualityReason;
  readonly lastHeardMs?: number;
}

/**
 * What alarms are about (OPC UA Part 9 calls it a condition): the quality of a channel, or, without a channel, whether
 * its device is heard. Plain data, so that a snapshot is its JSON.
 */
export interface Condition {
  readonly source: string;
  readonly device: string;
  readonly channel?: string;
  now: ConditionState;
  /** As receivers know it; absent while they were told nothing and need not know. */
  told?: ConditionState;
  /** Monotonic ms from which on another alarm may be told. */
  nextMs: number;
  /** Changes since the last alarm. */
  untold: number;
  /** Of the readings that were judged, in the source's time: an older one changes nothing. */
  newestMs: number;
  /** Monotonic ms since when only older ones have come. */
  olderSinceMs?: number;
  /** How it came to be as it is now; absent before the first change. */
  change?: Change;
}

/** The last change of a condition, as the hub is told; it accounts for no reading. `number`: of the store's alarms. */
export function alarmEntry(
  { source, device, channel, now, told, untold }: Condition,
  { timeMs, timeQuality, value, reason, lastHeardMs }: Change,
  number: number,
  { storeId, gateway, unitOf }: EntryContext,
  readyMs: number,
): Entry {
  const time = new Date(timeMs).toISOString();
  const id = createHash("sha256")
    .update([storeId, "alarm", source, device, channel ?? "", time, number].join("\n"))
    .digest("hex")
    .slice(0, 32);
  const unit = channel === undefined ? undefined : unitOf(source, channel);
  const body: AlarmEntryBody = {
    id,
    revision: 0,
    kind: "alarm",
    gateway,
    source,
    device,
    ...(channel === undefined ? {} : { channel }),
    time,
    timeQuality,
    ...(told ? { from: told } : {}),
    to: now,
    ...(reason ? { reason } : {}),
    ...(value === undefined ? {} : { value }),
    ...(unit === undefined || value === undefined ? {} : { unit }),
    ...(lastHeardMs === undefined ? {} : { lastHeard: new Date(lastHeardMs).toISOString() }),
    ...(untold > 1 ? { suppressed: untold - 1 } : {}),
  };
  return { id, revision: 0, kind: "alarm", source, body: JSON.stringify(body), readyMs, accounts: {} };
}
