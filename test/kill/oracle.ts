/**
 * What must have arrived, recomputed from the bytes in the journal alone.
 * It shares no code with the gateway: formats are read here from their description in `docs/delivery.md`.
 */
import { DatabaseSync } from "node:sqlite";
import { zstdDecompressSync } from "node:zlib";

export interface CommittedReading {
  readonly device: string;
  readonly timeMs: number;
  readonly seq: number;
  readonly temperature: number;
}

/** Every frame in the journal behind `position`, in order, and the last position. */
export function readJournal(path: string, position: number): { lines: string[]; position: number } {
  // Not read-only: a write-ahead log that a kill left behind has to be replayed to be seen.
  const database = new DatabaseSync(path);
  try {
    const tables = database.prepare("SELECT count(*) AS n FROM sqlite_master").get() as { n: number };
    // Killed while it made its first store.
    if (tables.n === 0 && position === 0) return { lines: [], position };
    const rows = database
      .prepare("SELECT position, batch FROM journal WHERE position > ? ORDER BY position")
      .all(position) as { position: number; batch: Uint8Array }[];
    const lines: string[] = [];
    for (const row of rows) {
      if (row.position !== position + 1) throw new Error(`journal position ${position + 1} is missing`);
      position = row.position;
      lines.push(...framesOf(zstdDecompressSync(row.batch)));
    }
    return { lines, position };
  } finally {
    database.close();
  }
}

export function framesOf(batch: Buffer): string[] {
  const lines: string[] = [];
  for (let at = 0; at < batch.length; ) {
    const type = batch[at];
    if (type === 1) {
      const length = batch.readUInt32LE(at + 21);
      lines.push(batch.toString("utf8", at + 25, at + 25 + length));
      at += 25 + length;
    } else if (type === 2) at += 17;
    else if (type === 3 || type === 4) at += 5 + batch.readUInt32LE(at + 1);
    else if (type === 5) at += 9 + batch.readUInt32LE(at + 5);
    else throw new Error(`unknown record ${type} at ${at}`);
  }
  return lines;
}

export interface ExpectedWindow {
  /** Of good values, like the numbers. */
  count: number;
  sum: number;
  min: number;
  max: number;
  seqs: number[];
}

export interface Expectation {
  readonly frames: number;
  readonly readings: number;
  readonly garbled: number;
  readonly late: number;
  /** By `device windowStartMs`. */
  readonly windows: Map<string, ExpectedWindow>;
}

/**
 * Final content of every window that the watermark has passed, by the rules of tumbling windows with lateness.
 * A value above `maxGood` is bad, and in none of the numbers.
 */
export function expect(
  lines: readonly string[],
  sizeMs: number,
  latenessMs: number,
  maxGood = Number.POSITIVE_INFINITY,
): Expectation {
  const windows = new Map<string, ExpectedWindow>();
  let watermark = Number.NEGATIVE_INFINITY;
  let readings = 0;
  let garbled = 0;
  let late = 0;
  for (const line of lines) {
    const reading = parse(line);
    if (!reading) {
      garbled++;
      continue;
    }
    readings++;
    const start = Math.floor(reading.timeMs / sizeMs) * sizeMs;
    if (start + sizeMs + latenessMs <= watermark) {
      late++;
      continue;
    }
    const key = `${reading.device} ${start}`;
    const value = reading.temperature;
    const window = windows.get(key) ?? {
      count: 0,
      sum: 0,
      min: Number.POSITIVE_INFINITY,
      max: Number.NEGATIVE_INFINITY,
      seqs: [],
    };
    if (value <= maxGood) {
      window.count++;
      window.sum += value;
      window.min = Math.min(window.min, value);
      window.max = Math.max(window.max, value);
    }
    window.seqs.push(reading.seq);
    windows.set(key, window);
    watermark = Math.max(watermark, reading.timeMs);
  }
  return { frames: lines.length, readings, garbled, late, windows };
}

/** A line that is a whole reading; without a time of its own it stands at 0. */
export function parse(line: string): CommittedReading | undefined {
  try {
    const { id, t = 0, seq, temperature } = JSON.parse(line) as Record<string, unknown>;
    if (typeof id !== "string" || typeof t !== "number" || typeof seq !== "number") return undefined;
    return typeof temperature === "number" ? { device: id, timeMs: t, seq, temperature } : undefined;
  } catch {
    return undefined;
  }
}
