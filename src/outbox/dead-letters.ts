import { gunzipSync } from "node:zlib";
import type { Database, Statement } from "../core/database.ts";
import type { OutboxMessage } from "./outbox.ts";

/** A message that the hub refused for good, as it is shown to whoever looks. */
export interface DeadLetter {
  readonly id: string;
  readonly reason: string;
  /** ISO 8601, UTC. */
  readonly rejectedAt: string;
  /** As it was sent, decompressed: entries in the format of the message. Absent where it is too large, or damaged. */
  readonly body?: string;
}

interface Row {
  readonly id: string;
  readonly reason: string;
  readonly rejected_ms: number;
  readonly encoding: string;
  readonly body: Buffer;
}

const mostLetters = 100;
const longestReason = 500;
/** Bodies of one answer, decompressed; the last ones are shown. */
const longestList = 8 * 1024 * 1024;

/** The last messages that the hub refused for good, kept for people; the books count all of them. */
export class DeadLetters {
  readonly #insert: Statement<[number, string, string, number, string, Uint8Array]>;
  readonly #sizes: Statement<[], { sequence: number; size: number }>;
  readonly #delete: Statement<[number]>;
  readonly #list: Statement<[], Row>;

  static readonly schema = `
    CREATE TABLE dead_letter (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL, reason TEXT NOT NULL,
      rejected_ms INTEGER NOT NULL, encoding TEXT NOT NULL, body BLOB NOT NULL)`;

  constructor(database: Database) {
    this.#insert = database.prepare("INSERT OR REPLACE INTO dead_letter VALUES (?, ?, ?, ?, ?, ?)");
    this.#sizes = database.prepare(
      "SELECT sequence, length(body) AS size FROM dead_letter ORDER BY sequence DESC",
    );
    this.#delete = database.prepare("DELETE FROM dead_letter WHERE sequence <= ?");
    this.#list = database.prepare("SELECT * FROM dead_letter ORDER BY sequence DESC");
  }

  /**
   * The oldest go when there are too many, or when they take more than `maxBytes`; of one that takes more than that
   * itself only the reason is kept. `wallMs`: now.
   */
  add(message: OutboxMessage, reason: string, wallMs: number, maxBytes: number): void {
    const { sequence, id, contentEncoding } = message;
    const body = message.body.length > maxBytes ? new Uint8Array() : message.body;
    this.#insert.run(sequence, id, reason.slice(0, longestReason), Math.round(wallMs), contentEncoding, body);
    let bytes = 0;
    for (const [index, letter] of this.#sizes.all().entries()) {
      bytes += letter.size;
      if (index < mostLetters && bytes <= maxBytes) continue;
      this.#delete.run(letter.sequence);
      return;
    }
  }

  /** The oldest first. */
  list(): DeadLetter[] {
    let left = longestList;
    const shown = ({ encoding, body }: Row): string | undefined => {
      if (body.length === 0) return undefined;
      const plain = encoding === "gzip" ? gunzipWithin(body, left) : body;
      if (!plain || plain.length > left) return undefined;
      left -= plain.length;
      return plain.toString("utf8");
    };
    return this.#list
      .all()
      .map((row) => {
        const body = shown(row);
        const rejectedAt = new Date(row.rejected_ms).toISOString();
        return { id: row.id, reason: row.reason, rejectedAt, ...(body === undefined ? {} : { body }) };
      })
      .reverse();
  }
}

/** Undefined when it is longer, or damaged. */
function gunzipWithin(body: Buffer, maxOutputLength: number): Buffer | undefined {
  if (maxOutputLength === 0) return undefined;
  try {
    return gunzipSync(body, { maxOutputLength });
  } catch {
    return undefined;
  }
}
