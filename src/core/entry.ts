import { createHash } from "node:crypto";

/**
 * What one stage of the flow hands to the outbox: an entry, finished and final.
 * Receivers drop repeated `(id, revision)`.
 */
export interface Entry {
  readonly id: string;
  readonly revision: number;
  readonly kind: EntryKind;
  /** Source that it comes from or tells about. */
  readonly source: string;
  /** JSON text of the entry as it will stand in a message. */
  readonly body: string;
  /** When the entry was finished, steady ms: its window's end, or earlier when it was cut short. */
  readonly readyMs: number;
  /** Readings that this entry accounts for, per source: what leaves `held` when the entry does. */
  readonly accounts: Accounts;
}
/** An alarm overtakes everything else on its way out. */
export type EntryKind = "window" | "gap" | "reading" | "alarm";
export type Accounts = Readonly<Record<string, number>>;

export function addAccounts(target: Record<string, number>, more: Accounts): void {
  for (const [source, count] of Object.entries(more)) target[source] = (target[source] ?? 0) + count;
}

/** Names a series of numbered entries: the first 80 bits of SHA-256, as 20 hex digits. */
export function seriesOf(...parts: readonly (string | number)[]): string {
  return createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 20);
}

/** The id of an entry of a series, 32 hex digits. No hash of its own: of readings there may be thousands a second. */
export function idInSeries(series: string, number: number): string {
  return series + number.toString(16).padStart(12, "0");
}
