import { constants, crc32, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { Database, Statement } from "../core/database.ts";
import { PermanentError } from "../core/errors.ts";

/** Bound for a batch read back: far above what one commit can hold, and a stop for a corrupt length. */
const maxBatchBytes = 512 * 1024 * 1024;

/**
 * The journal: one row per commit, holding the batch as received, compressed with zstd level 1
 * (RFC 8878), with a CRC-32 over the stored bytes.
 */
export class Journal {
  readonly #append: Statement<[number, number, Uint8Array]>;
  readonly #read: Statement<[number], { position: number; checksum: number; batch: Buffer }>;
  readonly #sizes: Statement<[number], { position: number; size: number }>;
  readonly #trim: Statement<[number]>;
  readonly #replace: Statement<[number, Uint8Array, number]>;

  static readonly schema =
    "CREATE TABLE journal (position INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, batch BLOB NOT NULL)";

  constructor(database: Database) {
    this.#append = database.prepare("INSERT INTO journal VALUES (?, ?, ?)");
    this.#read = database.prepare(
      "SELECT position, checksum, batch FROM journal WHERE position > ? ORDER BY position LIMIT 1",
    );
    this.#sizes = database.prepare(
      "SELECT position, length(batch) AS size FROM journal WHERE position <= ? ORDER BY position DESC",
    );
    this.#replace = database.prepare("UPDATE journal SET checksum = ?, batch = ? WHERE position = ?");
    this.#trim = database.prepare("DELETE FROM journal WHERE position <= ?");
  }

  append(position: number, batch: Uint8Array): void {
    const { bytes, checksum } = pack(batch);
    this.#append.run(position, checksum, bytes);
  }

  /** The batch at a position; undefined without one. @throws PermanentError STORE_CORRUPT */
  at(position: number): Uint8Array | undefined {
    for (const row of this.readAfter(position - 1)) return row.position === position ? row.batch : undefined;
    return undefined;
  }

  /** Puts another batch in the place of one that the pipeline cannot take. */
  replace(position: number, batch: Uint8Array): void {
    const { bytes, checksum } = pack(batch);
    this.#replace.run(checksum, bytes, position);
  }

  /** @throws PermanentError STORE_CORRUPT when a checksum does not match. */
  *readAfter(position: number): Generator<{ position: number; batch: Uint8Array }> {
    // Row by row: while a statement iterates, the driver lets the caller write nothing.
    for (let row = this.#read.get(position); row; row = this.#read.get(row.position)) {
      yield {
        position: row.position,
        batch: unpack(row.batch, row.checksum, `journal position ${row.position}`),
      };
    }
  }

  /** Forgets what is at or below `position`, but for the newest `keepBytes` of it. */
  trim(position: number, keepBytes: number): void {
    let kept = 0;
    for (const row of this.#sizes.iterate(position)) {
      kept += row.size;
      if (kept <= keepBytes) continue;
      position = row.position;
      break;
    }
    if (kept > keepBytes) this.#trim.run(position);
  }
}

const level1 = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

export function pack(plain: Uint8Array): { bytes: Buffer; checksum: number } {
  const bytes = zstdCompressSync(plain, level1);
  return { bytes, checksum: crc32(bytes) };
}

/** @throws PermanentError STORE_CORRUPT */
export function unpack(bytes: Uint8Array, checksum: number, what: string): Uint8Array {
  if (crc32(bytes) !== checksum)
    throw new PermanentError("STORE_CORRUPT", `${what}: the checksum does not match`);
  return zstdDecompressSync(bytes, { maxOutputLength: maxBatchBytes });
}
