import { crc32 } from "node:zlib";
import type { Database, Statement } from "../core/database.ts";
import { BatchWriter, readBatch } from "../journal/batch.ts";
import { corrupt } from "../outbox/checksum.ts";
import type { TakenText, TextChanges, TextStage } from "../sentiment/text-stage.ts";

export interface TextRow {
  readonly number: number;
  readonly source: string;
  readonly device: string;
  readonly time: number;
  readonly language: string | null;
  readonly body: string;
  readonly checksum: number;
}

/** What is handed out at a time, and of which size at most, beyond the first. */
const mostTexts = 10;
const mostBytes = 1_000_000;

/** Texts that wait for their scores: which ones do, the pipeline knows; what they say stands here. */
export class Texts {
  readonly #insert: Statement<[number, string, string, number, string | null, string, number]>;
  readonly #delete: Statement<[number]>;
  readonly #after: Statement<[number, number], TextRow>;
  readonly #numbers: Statement<[], number>;

  static readonly schema = `
    CREATE TABLE text (number INTEGER PRIMARY KEY, source TEXT NOT NULL, device TEXT NOT NULL, time REAL NOT NULL,
      language TEXT, body TEXT NOT NULL, checksum INTEGER NOT NULL)`;

  constructor(database: Database) {
    this.#insert = database.prepare("REPLACE INTO text VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#delete = database.prepare("DELETE FROM text WHERE number = ?");
    this.#after = database.prepare("SELECT * FROM text WHERE number > ? ORDER BY number LIMIT ?");
    this.#numbers = database.prepare<[], number>("SELECT number FROM text ORDER BY number").pluck();
  }

  add(text: TakenText): void {
    const { number, source, device, timeMs, language = null, text: body } = text;
    this.#insert.run(number, source, device, timeMs, language, body, checksumOf(text));
  }

  /** What a commit makes of them. */
  change({ taken, settled }: TextChanges): void {
    for (const text of taken) this.add(text);
    for (const number of settled) this.#delete.run(number);
  }

  /** The next ones behind a number, in order. @throws PermanentError STORE_CORRUPT */
  after(number: number): TakenText[] {
    const found: TakenText[] = [];
    let bytes = 0;
    for (const row of this.#after.iterate(number, mostTexts)) {
      bytes += Buffer.byteLength(row.body);
      if (found.length > 0 && bytes > mostBytes) break;
      const text = textOf(row);
      if (!text) throw corrupt(`text ${row.number} does not match its checksum`);
      found.push(text);
    }
    return found;
  }

  numbers(): number[] {
    return this.#numbers.all();
  }
}

/** undefined when it does not match its checksum. */
export function textOf({
  number,
  source,
  device,
  time,
  language,
  body,
  checksum,
}: TextRow): TakenText | undefined {
  const text = { number, source, device, timeMs: time, language: language ?? undefined, text: body };
  return checksumOf(text) === checksum ? text : undefined;
}

const checksumOf = ({ number, source, device, timeMs, language, text }: TakenText): number =>
  crc32(JSON.stringify([number, source, device, timeMs, language ?? null, text]));

/** What says of texts that wait, and are not there, that they are lost; undefined when there are none. */
export function lossOf(
  waiting: readonly (readonly [number, string])[],
  texts: Texts,
): Uint8Array | undefined {
  if (waiting.length === 0) return undefined;
  const there = new Set(texts.numbers());
  const lost = waiting.filter(([number]) => !there.has(number));
  if (lost.length === 0) return undefined;
  const writer = new BatchWriter();
  writer.rare({ type: "lostTexts", lost });
  return writer.take();
}

/** Whether a batch may take texts out of the store, or the source that brings them. */
export function isRelief(batch: Uint8Array, texts: Pick<TextStage, "isOutcome">): boolean {
  for (const entry of readBatch(batch)) {
    if (entry.type === "configuration" || entry.type === "lostTexts") return true;
    if (entry.type === "frame" && texts.isOutcome(entry)) return true;
  }
  return false;
}
