/** An entry that waits, as packing sees it. */
export interface Waiting {
  /** Bytes it takes in a message. */
  readonly bytes: number;
  /** When it has to leave. */
  readonly dueMs: number;
}

/**
 * Which of the entries that wait leave now, when together they do not fill a message: all that are due, and as many
 * more as fill whole metering blocks. So a block is left unfilled only when everything that waits is due within it,
 * and what would open another block waits for its own time.
 * `lanes`: entries in the order in which they go, first lane first; `fixedBytes`: what the message takes without any.
 * Returns how many of each lane; undefined when none is due.
 */
export function dueNow(
  lanes: readonly (readonly Waiting[])[],
  nowMs: number,
  fixedBytes: number,
  blockBytes: number,
): readonly number[] | undefined {
  const due = lanes.map((lane) => lane.findLastIndex(({ dueMs }) => dueMs <= nowMs) + 1);
  if (due.every((count) => count === 0)) return undefined;
  const sum = (entries: readonly Waiting[]) => entries.reduce((bytes, entry) => bytes + entry.bytes, 0);
  const needed = fixedBytes + lanes.reduce((bytes, lane, i) => bytes + sum(lane.slice(0, due[i])), 0);
  const all = fixedBytes + lanes.reduce((bytes, lane) => bytes + sum(lane), 0);
  const blocks = Math.max(Math.ceil(needed / blockBytes), Math.floor(all / blockBytes));
  let room = blocks * blockBytes - needed;
  return lanes.map((lane, i) => {
    let count = due[i] ?? 0;
    for (; count < lane.length; count++) {
      const bytes = lane[count]?.bytes ?? 0;
      if (bytes > room) break;
      room -= bytes;
    }
    return count;
  });
}
