import type { JsonObject } from "../core/json.ts";
import type { TimeQuality } from "../core/reading.ts";
import type { SourceStatus } from "../sources/source.ts";
import type { DesiredStatus } from "./desired.ts";

/** What the reported properties are made of. */
export interface BoxState {
  readonly version: string;
  readonly configHash: string;
  readonly lastDesiredVersion: number | undefined;
  readonly lastDesiredStatus: DesiredStatus | undefined;
  readonly sources: Readonly<Record<string, SourceStatus>>;
  readonly clockQuality: TimeQuality;
  readonly store: { readonly state: "ok" | "failing"; readonly reason: string | undefined };
  readonly freeRam: number;
  readonly load: { readonly one: number; readonly five: number; readonly fifteen: number };
  readonly freeDisk: number | undefined;
  readonly outbox: {
    readonly entries: number;
    readonly messages: number;
    readonly bytes: number;
    readonly oldestAgeMs: number;
  };
}

/** Twin strings end at 4 KB; a reason needs far less. */
const reasonLength = 300;

/**
 * The reported properties. `telling` holds states and answers, `figures` the numbers that change all the time.
 * Answers to desired configurations are reported even when reporting is off: someone waits for them.
 */
export function reportedProperties(
  box: BoxState,
  report: { readonly state: "on" | "off"; readonly freeRam: "on" | "off" },
): { telling: JsonObject; figures: JsonObject } {
  const answers: JsonObject = { version: box.version, configuration: { hash: box.configHash } };
  if (box.lastDesiredVersion !== undefined) answers.lastDesiredVersion = box.lastDesiredVersion;
  if (box.lastDesiredStatus) answers.lastDesiredStatus = { ...box.lastDesiredStatus };
  if (report.state === "off") return { telling: answers, figures: {} };
  const sources = Object.entries(box.sources).map(([name, status]) => [name, withReason(status)] as const);
  const telling: JsonObject = {
    ...answers,
    sources: Object.fromEntries(sources),
    clock: { quality: box.clockQuality },
    store: withReason(box.store),
  };
  const figures: JsonObject = {
    load: { ...box.load },
    outbox: { ...box.outbox },
    ...(box.freeDisk === undefined ? {} : { disk: { freeBytes: box.freeDisk } }),
    ...(report.freeRam === "on" ? { freeRam: box.freeRam } : {}),
  };
  return { telling, figures };
}

function withReason({ state, reason }: { state: string; reason: string | undefined }): JsonObject {
  return reason === undefined ? { state } : { state, reason: reason.slice(0, reasonLength) };
}
