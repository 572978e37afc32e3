import { pageBytes } from "../../../src/core/database.ts";
import type { DiskOperation } from "./op-log.ts";

/** A frame of a write-ahead log has a header before its page (https://www.sqlite.org/fileformat2.html section 4.1). */
const walHeaderBytes = 32;
const frameHeaderBytes = 24;

export interface CommitOnDisk {
  /** Index of the operation that wrote the last byte of the commit. */
  readonly writtenAt: number;
  /**
   * Index of the operation at which the process surely took the commit for done: a sync of the log has ended
   * since, or the next transaction has begun.
   */
  readonly doneAt: number;
}

/** The commits of a database in write-ahead mode, told from its writes alone. */
export function commitsIn(operations: readonly DiskOperation[]): CommitOnDisk[] {
  const commits: CommitOnDisk[] = [];
  const files = new Set<number>();
  let written: number | undefined;
  let lastFrame = false;
  const done = (index: number) => {
    if (written !== undefined) commits.push({ writtenAt: written, doneAt: index });
    written = undefined;
  };
  operations.forEach((operation, index) => {
    if (operation.kind === "open" && operation.path.endsWith("/headgate.db-wal")) files.add(operation.file);
    if (operation.kind === "syncEnd" && files.has(operation.file)) done(index);
    if (operation.kind !== "write" || !files.has(operation.file)) return;
    const { offset, data } = operation;
    const inFrame = (offset - walHeaderBytes) % (frameHeaderBytes + pageBytes);
    if (offset >= walHeaderBytes && inFrame === 0 && data.length >= frameHeaderBytes) {
      done(index);
      // The size of the database in pages stands in a commit's last frame; in others it is 0.
      lastFrame = data.readUInt32BE(4) !== 0;
    }
    if (lastFrame && (inFrame + data.length) % (frameHeaderBytes + pageBytes) === 0) written = index;
  });
  return commits;
}
