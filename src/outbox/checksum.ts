import { crc32 } from "node:zlib";
import { PermanentError } from "../core/errors.ts";

export interface EntryRow {
  readonly entry: number;
  /** Wall ms. */
  readonly ready: number;
  /** JSON of `Accounts`. */
  readonly accounts: string;
  readonly body: string;
  /** Null in rows of schema 1, as is the checksum. */
  readonly source: string | null;
  readonly checksum: number | null;
}
export interface MessageRow {
  readonly sequence: number;
  readonly id: string;
  readonly output: string;
  readonly first: number;
  readonly last: number;
  /** How many entries stand in it; null in rows of schema 1, as is the checksum. */
  readonly count: number | null;
  readonly checksum: number | null;
  /** JSON of the spans of entries, and of the form; null in rows of schemas 1 and 2. */
  readonly spans: string | null;
  readonly form: string | null;
  /** Where it is compressed. */
  readonly body: Uint8Array | null;
}

/** CRC-32 over everything a row says, so that no flipped bit of it goes out as data. */
export function entryChecksum(row: Omit<EntryRow, "checksum">): number {
  return crc32(row.body, crc32(`${row.entry}\n${row.ready}\n${row.accounts}\n${row.source ?? ""}\n`));
}

export function messageChecksum(row: Omit<MessageRow, "checksum">): number {
  const { sequence, id, output, first, last, count, spans, form, body } = row;
  const former = crc32(`${sequence}\n${id}\n${output}\n${first}\n${last}\n${count ?? ""}`);
  if (spans === null && form === null) return former;
  const all = crc32(`\n${spans ?? ""}\n${form ?? ""}\n`, former);
  return body ? crc32(body, all) : all;
}

/** Numbers below which rows were written by schema 1, without a checksum. */
export interface Unchecked {
  readonly entriesBelow: number;
  readonly messagesBelow: number;
}

export const isSoundEntry = (row: EntryRow, { entriesBelow }: Unchecked): boolean =>
  row.checksum === null ? row.entry < entriesBelow : row.checksum === entryChecksum(row);

export const isSoundMessage = (row: MessageRow, { messagesBelow }: Unchecked): boolean =>
  row.checksum === null ? row.sequence < messagesBelow : row.checksum === messageChecksum(row);

/** @throws PermanentError STORE_CORRUPT */
export function soundEntry(row: EntryRow, unchecked: Unchecked): EntryRow {
  if (!isSoundEntry(row, unchecked))
    throw corrupt(`entry ${row.entry} of the outbox does not match its checksum`);
  return row;
}

/** @throws PermanentError STORE_CORRUPT */
export function soundMessage(row: MessageRow, unchecked: Unchecked): MessageRow {
  if (!isSoundMessage(row, unchecked)) throw corrupt(`message ${row.sequence} does not match its checksum`);
  return row;
}

export const corrupt = (what: string): PermanentError => new PermanentError("STORE_CORRUPT", what);
