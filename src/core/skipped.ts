import type { FrameDiscard } from "./reading.ts";

/** A frame that brought no reading, and how it begins. */
export interface Skipped {
  readonly source: string;
  readonly reason: FrameDiscard;
  /** Hex of its first bytes. */
  readonly hex: string;
  /** Of the whole frame. */
  readonly bytes: number;
}

/** As much as tells what it is; a log is no place for more. */
const shownBytes = 64;

export function skipped(source: string, reason: FrameDiscard, frame: Uint8Array): Skipped {
  const { buffer, byteOffset, length } = frame;
  const hex = Buffer.from(buffer, byteOffset, Math.min(length, shownBytes)).toString("hex");
  return { source, reason, hex, bytes: length };
}

/** Of one batch; what comes beyond is counted like all of them. */
const maxNoted = 16;

export function noteSkipped(noted: Skipped[], ...frame: Parameters<typeof skipped>): void {
  if (noted.length < maxNoted) noted.push(skipped(...frame));
}
