import type { Database, Statement } from "../core/database.ts";
import { corrupt, type MessageRow, messageChecksum, soundMessage, type Unchecked } from "./checksum.ts";
import type { MessageClass, MessageForm } from "./message-body.ts";

/** First and last number of entries that stand together. */
export type Span = readonly [first: number, last: number];

/** A message as it is remembered; its entries are in the table. */
export interface Composed {
  readonly sequence: number;
  readonly class: MessageClass;
  readonly spans: readonly Span[];
}

/** A message as it is written. */
export interface MessageRecord {
  readonly sequence: number;
  readonly id: string;
  readonly output: string;
  readonly spans: readonly Span[];
  readonly count: number;
  readonly form: MessageForm;
  /** As it was compressed, because another version of the library might do it otherwise; of others, undefined. */
  readonly body: Uint8Array<ArrayBuffer> | undefined;
}

/** Messages of schemas without forms. */
const formerly: MessageForm = { class: "live", format: "array" };

/** The messages that wait for the hub. They are few, so what they hold is known without asking the table. */
export class ComposedMessages {
  readonly #unchecked: Unchecked;
  readonly #insert: Statement<(number | string | Uint8Array | null)[]>;
  readonly #get: Statement<[number], MessageRow>;
  readonly #delete: Statement<[number]>;
  readonly #list: Composed[];

  static readonly schema = `
    CREATE TABLE message (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, output TEXT NOT NULL,
      first INTEGER NOT NULL, last INTEGER NOT NULL, count INTEGER, checksum INTEGER,
      spans TEXT, form TEXT, body BLOB)`;

  constructor(database: Database, unchecked: Unchecked) {
    this.#unchecked = unchecked;
    this.#insert = database.prepare("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    this.#get = database.prepare("SELECT * FROM message WHERE sequence = ?");
    this.#delete = database.prepare("DELETE FROM message WHERE sequence = ?");
    const rows = database.prepare<[], MessageRow>(
      "SELECT sequence, first, last, spans, form FROM message ORDER BY sequence",
    );
    // What a damaged row says is looked at again, with its checksum, before anything is sent.
    this.#list = rows.all().map((row) => ({
      sequence: row.sequence,
      class: formOf(row).class,
      spans: spansOf(row),
    }));
  }

  countOf(of: MessageClass): number {
    return this.#list.reduce((sum, message) => sum + (message.class === of ? 1 : 0), 0);
  }

  /** The span of a message that an entry stands in. */
  spanAt(entry: number): Span | undefined {
    for (const { spans } of this.#list) {
      for (const span of spans) if (span[0] <= entry && entry <= span[1]) return span;
    }
    return undefined;
  }

  isAnyBetween(entry: number, other: number): boolean {
    return this.#list.some(({ spans }) => spans.some(([first]) => entry < first && first < other));
  }

  /** The first message of a class behind `sequence`. */
  next(of: MessageClass, sequence: number): number | undefined {
    return this.#list.find((message) => message.class === of && message.sequence > sequence)?.sequence;
  }

  from(of: MessageClass, sequence: number): number[] {
    return this.#list
      .filter((each) => each.class === of && each.sequence >= sequence)
      .map((each) => each.sequence);
  }

  /** The last message of a class before `sequence`, or 0. */
  previous(of: MessageClass, sequence: number): number {
    const before = (message: Composed) => message.class === of && message.sequence < sequence;
    return this.#list.findLast(before)?.sequence ?? 0;
  }

  add({ sequence, id, output, spans, count, form, body }: MessageRecord): void {
    const [first, last] = spans[0] ?? [0, 0];
    const row = {
      sequence,
      id,
      output,
      first,
      last,
      count,
      spans: JSON.stringify(spans),
      form: JSON.stringify(form),
      body: body ?? null,
    };
    const checksum = messageChecksum(row);
    this.#insert.run(sequence, id, output, first, last, count, checksum, row.spans, row.form, row.body);
    this.#list.push({ sequence, class: form.class, spans });
  }

  /** @throws PermanentError STORE_CORRUPT when it is not what was written */
  read(sequence: number): (Omit<MessageRecord, "count"> & { readonly count: number | null }) | undefined {
    const row = this.#get.get(sequence);
    if (!row) return undefined;
    const { id, output, count } = soundMessage(row, this.#unchecked);
    const body = row.body ? new Uint8Array(row.body) : undefined;
    return { sequence, id, output, count, spans: spansOf(row), form: formOf(row), body };
  }

  forget(sequence: number): void {
    this.#delete.run(sequence);
    const at = this.#list.findIndex((message) => message.sequence === sequence);
    if (at >= 0) this.#list.splice(at, 1);
  }
}

/** @throws PermanentError STORE_CORRUPT */
export function spansOf({ sequence, first, last, spans }: MessageRow): readonly Span[] {
  if (spans === null) return [[first, last]];
  return parsed<readonly Span[]>(spans, sequence, Array.isArray);
}

function formOf({ sequence, form }: MessageRow): MessageForm {
  if (form === null) return formerly;
  return parsed<MessageForm>(form, sequence, (value) => typeof value === "object" && value !== null);
}

function parsed<T>(text: string, sequence: number, isIt: (value: unknown) => boolean): T {
  try {
    const value: unknown = JSON.parse(text);
    if (isIt(value)) return value as T;
  } catch {
    // Said below: whether it is no JSON or another value makes no difference.
  }
  throw corrupt(`message ${sequence} does not say what it holds`);
}
