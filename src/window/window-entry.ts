import { createHash } from "node:crypto";
import type { WindowConfig } from "../config/schema.ts";
import type { Entry } from "../core/entry.ts";
import type { Quality, TimeQuality } from "../core/reading.ts";
import type { ChannelBody, PartialReason, WindowEntryBody } from "../outbox/entry-schema.ts";
import { aggregateNumbers, type ChannelAggregate } from "./channel-aggregate.ts";

/** A window definition in force, from one configuration entry to the next that changes it. */
export interface Definition {
  readonly name: string;
  readonly config: WindowConfig;
  /** Fingerprint of the definition and of when it came into force: the same definition set again is a new one. */
  readonly hash: string;
  /** Steady ms at which it came into force. A window that began earlier is partial. */
  readonly sinceMs: number;
  readonly sinceReason: "start" | "configuration";
}

/** One window of one device of one source. */
export interface OpenWindow {
  readonly source: string;
  readonly device: string;
  /** As it is told: wall time, or the device's own. */
  readonly startMs: number;
  /** Its end as the watermark of its source counts: steady time, or the device's own. */
  readonly closesMs: number;
  /** Of the labels that gave `startMs`; 0 with times of the device's own. */
  readonly epoch: number;
  /** How often its source had turned between times of receipt and its own. */
  readonly turn: number;
  /** Revision of the next entry. */
  revision: number;
  /** Closed once: revision 0 is out, and only late readings bring another. */
  closed: boolean;
  /** Holds readings that no entry has told yet. */
  changed: boolean;
  partial: PartialReason | undefined;
  readings: number;
  /** Readings accounted here and not yet in an entry. */
  accounted: number;
  /** Readings with at least one bad value. */
  bad: number;
  timeQuality: TimeQuality;
  /** A map, because channel names come from devices and `constructor` is one. */
  readonly channels: Map<string, ChannelAggregate>;
  /** Configuration hashes it saw, in order. */
  readonly configurations: string[];
}

export interface EntryContext {
  readonly storeId: string;
  readonly gateway: string;
  /** Of a channel of a source. */
  readonly unitOf: (source: string, channel: string) => string | undefined;
  /** How often a source sends, where it is configured. */
  readonly intervalMs: ReadonlyMap<string, number>;
}

/** The entry of a window as it stands, and what it accounts for. `readyMs`: steady. */
export function windowEntry(
  definition: Definition,
  window: OpenWindow,
  context: EntryContext,
  readyMs: number,
): Entry {
  const endMs = window.startMs + definition.config.sizeMs;
  const intervalMs = context.intervalMs.get(window.source);
  const id = entryId(context.storeId, definition, window);
  const body: WindowEntryBody = {
    id,
    revision: window.revision,
    kind: "window",
    window: definition.name,
    gateway: context.gateway,
    source: window.source,
    device: window.device,
    windowStart: new Date(window.startMs).toISOString(),
    windowEnd: new Date(endMs).toISOString(),
    timeQuality: window.timeQuality,
    quality: qualityOf(window),
    count: window.readings,
    ...(intervalMs === undefined ? {} : { expected: Math.floor(definition.config.sizeMs / intervalMs) }),
    bad: window.bad,
    ...(window.partial ? { partial: window.partial } : {}),
    channels: Object.fromEntries(
      [...window.channels].map(([channel, aggregate]) => [
        channel,
        channelBody(aggregate, definition, context.unitOf(window.source, channel)),
      ]),
    ),
    configurations: window.configurations,
  };
  return {
    id,
    revision: window.revision,
    kind: "window",
    source: window.source,
    body: JSON.stringify(body),
    readyMs,
    accounts: window.accounted > 0 ? { [window.source]: window.accounted } : {},
  };
}

function channelBody(
  aggregate: ChannelAggregate,
  definition: Definition,
  unit: string | undefined,
): ChannelBody {
  return {
    ...(unit === undefined ? {} : { unit }),
    ...aggregateNumbers(aggregate, definition.config.aggregates),
    bad: aggregate.bad,
    ...(aggregate.bad > 0 ? { reasons: aggregate.reasons } : {}),
  };
}

/** Good when every value is, bad when none is, else uncertain. */
function qualityOf(window: OpenWindow): Quality {
  let good = 0;
  let bad = 0;
  for (const channel of window.channels.values()) {
    good += channel.count;
    bad += channel.bad;
  }
  return bad === 0 ? "good" : good === 0 ? "bad" : "uncertain";
}

/** First 128 bits of SHA-256, as 32 hex digits. */
function entryId(
  storeId: string,
  { name, hash }: Definition,
  { source, device, startMs, epoch, turn }: OpenWindow,
): string {
  const parts = [storeId, name, hash, source, device, startMs];
  // Only where something happened, so that ids of stores that saw nothing of it stay what they were.
  if (epoch > 0) parts.push(`clock ${epoch}`);
  if (turn > 0) parts.push(`turn ${turn}`);
  const text = parts.join("\n");
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
