/** OPC UA's three, Part 8 section 6.3 (StatusCode severity). */
export type Quality = "good" | "uncertain" | "bad";

/**
 * Whether the wall clock that stamped a reading was known good: `synced` when the kernel says so, `holdover` when it
 * said so earlier in this boot.
 */
export type TimeQuality = "synced" | "holdover" | "unsynced";

/** Decoded values of one device at one time, in the device's own units. */
export interface Reading {
  readonly device: string;
  /** ms since 1970 UTC: the device's own time if its protocol carries one, else the steady time of receipt. */
  readonly timeMs: number;
  readonly values: readonly RawValue[];
  /** What its source's `dedupe` names it by, where that is a field of the frame. */
  readonly identity?: string;
  /** What its fields say that hold texts; a reading may have nothing else. */
  readonly texts?: readonly (readonly [field: string, text: string])[];
}
export interface RawValue {
  readonly channel: string;
  readonly value: number;
}

/** What is known of a channel before its first value: its unit, and the physical range of its sensor. */
export interface KnownChannel {
  readonly unit?: string | undefined;
  readonly min?: number | undefined;
  readonly max?: number | undefined;
}

/** Calibrated values of one device at one time, each with its quality. */
export interface Measurement {
  readonly device: string;
  readonly timeMs: number;
  readonly values: readonly MeasuredValue[];
}
export interface MeasuredValue {
  readonly channel: string;
  /** Kept even when bad: quality says whether to believe it, nobody has to guess what it was. */
  readonly value: number;
  readonly quality: Quality;
  readonly reason: QualityReason | undefined;
}
export type QualityReason = "belowMin" | "aboveMax" | "notFinite";

/** Why a frame was not decoded. */
export type FrameDiscard =
  | "overlong"
  | "unframed"
  | "truncated"
  | "empty"
  | "nul"
  | "invalidUtf8"
  | "malformed"
  | "columnCount"
  | "badChecksum"
  | "noAnswer"
  | "powerOnValue"
  | "deviceException"
  | "stray"
  | "otherSentence"
  | "noDevice"
  | "badDevice"
  | "noTime"
  | "future"
  | "noChannels"
  | "unknownSource"
  | "otherTopic"
  | "duplicate"
  /** What a model is fed with: not whole, of a window that is not, of no use any more; and a run that gave nothing. */
  | "missingFeature"
  | "partialWindow"
  | "notScored"
  | "modelFailed"
  | "unreadable"
  | "badImage"
  | "imageTooLarge"
  | "queueFull"
  | "unscored"
  | "damaged"
  | "pipelineFault";

/** Why a decoded reading left otherwise than in a message. */
export type ReadingDiscard =
  | "unrouted"
  | "late"
  | "tooManyWindows"
  | "rejected"
  | "duplicate"
  | "evicted"
  | "budget"
  | "damaged"
  | "unaccounted"
  | "pipelineFault";

/** Most characters of a name from the field; IoT Hub's own limit for identifiers. */
export const maxNameLength = 128;

/** A channel that the configuration names becomes the key of a plain object, and a word in messages and paths. */
export const channelNamePattern = /^[^\p{C}\s.$#]{1,64}$/u;

/** Those that every object inherits (`constructor`, `__proto__`) would clash. */
export const isOrdinaryName = (name: string): boolean => !(name in Object.prototype);

/** Names that devices give are values, not keys: any text of 1 to 128 characters without control characters. */
export function isPlainName(text: string): boolean {
  if (text.length === 0 || text.length > maxNameLength || !text.isWellFormed()) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  }
  return true;
}
