import { existsSync, readFileSync } from "node:fs";

const headerBytes = 32;
const frameHeaderBytes = 24;
const magic = 0x377f0682;

/**
 * Says what is wrong with a write-ahead log, or undefined when nothing is.
 *
 * SQLite reads a log up to the first frame whose checksum does not match and drops the rest without a word
 * (https://www.sqlite.org/fileformat2.html#the_write_ahead_log section 4.3). That is right for a power cut, which can
 * leave only the last transaction unfinished, because each one is synced before the next begins. Two or more commits
 * behind a bad frame, or a bad header, are data that was there and is not any more.
 */
export function walDamage(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const log = readFileSync(path);
  if (log.length <= headerBytes || isZero(log)) return undefined;
  const first = log.readUInt32BE(0);
  if (first !== magic && first !== magic + 1) return "the header of the write-ahead log is damaged";
  const littleEndian = first === magic;
  let sum = checksum(log, 0, 24, [0, 0], littleEndian);
  if (sum[0] !== log.readUInt32BE(24) || sum[1] !== log.readUInt32BE(28))
    return "the header of the write-ahead log does not match its checksum";
  const pageBytes = log.readUInt32BE(8);
  const frameBytes = frameHeaderBytes + pageBytes;
  const salts = log.subarray(16, 24);
  let broken: number | undefined;
  let commits = 0;
  for (let at = headerBytes, frame = 1; at + frameBytes <= log.length; at += frameBytes, frame++) {
    // Frames of another salt are what an earlier round left in the file.
    const isOfThisRound = log.compare(salts, 0, 8, at + 8, at + 16) === 0;
    if (broken === undefined) {
      sum = checksum(log, at, at + 8, sum, littleEndian);
      sum = checksum(log, at + frameHeaderBytes, at + frameBytes, sum, littleEndian);
      const isSound =
        isOfThisRound && sum[0] === log.readUInt32BE(at + 16) && sum[1] === log.readUInt32BE(at + 20);
      if (!isSound) broken = frame;
    }
    if (broken !== undefined && isOfThisRound && log.readUInt32BE(at + 4) !== 0) commits++;
  }
  return commits >= 2
    ? `the write-ahead log is damaged at frame ${broken}, with ${commits} commits behind it`
    : undefined;
}

/** The log's own checksum over 8-byte steps (section 4.2 there). */
function checksum(
  log: Buffer,
  from: number,
  to: number,
  [a, b]: readonly [number, number],
  littleEndian: boolean,
): [number, number] {
  for (let at = from; at < to; at += 8) {
    a = (a + (littleEndian ? log.readUInt32LE(at) : log.readUInt32BE(at)) + b) >>> 0;
    b = (b + (littleEndian ? log.readUInt32LE(at + 4) : log.readUInt32BE(at + 4)) + a) >>> 0;
  }
  return [a, b];
}

const isZero = (log: Buffer): boolean => log.every((byte) => byte === 0);
