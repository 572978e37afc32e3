import { createHash } from "node:crypto";
import type { Entry } from "../core/entry.ts";
import type { GapEntryBody } from "./entry-schema.ts";

/** What is missing, as far as anyone can know. */
export interface Gap {
  readonly gateway: string;
  readonly source: string;
  /** Wall ms between which it was received or would have been. */
  readonly fromMs: number;
  readonly toMs: number;
  readonly count: number | "unknown";
  readonly reason: GapEntryBody["reason"];
}

/** A gap as the hub is told. `key` tells it from the others of its store, and is the same after a restart. */
export function gapEntry(storeId: string, key: string, gap: Gap): Entry {
  const { gateway, source, fromMs, toMs, count, reason } = gap;
  const id = createHash("sha256").update([storeId, "gap", reason, key].join("\n")).digest("hex").slice(0, 32);
  const body: GapEntryBody = {
    id,
    revision: 0,
    kind: "gap",
    gateway,
    source,
    from: isoOf(fromMs),
    to: isoOf(toMs),
    count,
    unit: reason === "overrun" ? "frames" : "readings",
    reason,
  };
  return { id, revision: 0, kind: "gap", source, body: JSON.stringify(body), readyMs: toMs, accounts: {} };
}

/** Wall times come from clocks that may be far off; what is no date is the nearest one. */
function isoOf(ms: number): string {
  return new Date(Math.max(-8.64e15, Math.min(8.64e15, ms))).toISOString();
}
