import { isUtf8 } from "node:buffer";
import type { SourceConfig } from "../config/schema.ts";
import { isObject, type JsonObject } from "../core/json.ts";
import type { FrameDiscard } from "../core/reading.ts";

/**
 * A capture is what came of one source, as JSON Lines: a header, then a line for each frame and for each discard that
 * its framing made. `t` counts ms from the start; the bytes are a text where they are UTF-8, else base64.
 */
export type CaptureLine = CapturedFrame | CapturedDiscard;
export interface CapturedFrame {
  readonly t: number;
  readonly bytes: Uint8Array;
  readonly origin?: string | undefined;
}
export interface CapturedDiscard {
  readonly t: number;
  readonly discard: FrameDiscard;
  /** How many. */
  readonly bytes: number;
}

export interface CaptureHeader {
  /** The program's version. */
  readonly by: string;
  readonly source: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly config: SourceConfig;
}

/** Of the format; another number is one that this program does not know. */
const format = 1;
/** A source's configuration refers to secrets by these, and names who it logs in as. */
const confidential = ["username", "password", "caFile", "certFile", "keyFile"];
/** Ten years; what lies beyond is damage, which a replay must not wait for. */
const longestMs = 10 * 366 * 86_400_000;

export function formatHeader({ by, source, startedAt, config }: CaptureHeader): string {
  const told = Object.entries(config).filter(([key]) => !confidential.includes(key));
  return JSON.stringify({ headgateCapture: format, by, source, startedAt, config: Object.fromEntries(told) });
}

export function formatLine(line: CaptureLine): string {
  const t = Math.round(line.t * 1_000) / 1_000;
  if ("discard" in line) return JSON.stringify({ t, discard: line.discard, bytes: line.bytes });
  const bytes = Buffer.from(line.bytes.buffer, line.bytes.byteOffset, line.bytes.length);
  const content = isUtf8(bytes) ? { text: bytes.toString("utf8") } : { base64: bytes.toString("base64") };
  return JSON.stringify({ t, ...content, origin: line.origin });
}

/** Whether this is the first line of a capture that can be read. */
export function isHeader(text: string): boolean {
  return parse(text)?.headgateCapture === format;
}

/** Undefined for a damaged line. */
export function parseLine(text: string): CaptureLine | undefined {
  const { t, text: plain, base64, origin, discard, bytes } = parse(text) ?? {};
  if (typeof t !== "number" || !(t >= 0 && t <= longestMs)) return undefined;
  if (discard !== undefined) {
    // A reason that a newer version has is counted as well: reasons are names and nothing else.
    if (typeof discard !== "string" || !/^[A-Za-z]{1,64}$/.test(discard)) return undefined;
    if (!Number.isSafeInteger(bytes) || Number(bytes) < 0) return undefined;
    return { t, discard: discard as FrameDiscard, bytes: Number(bytes) };
  }
  if (origin !== undefined && typeof origin !== "string") return undefined;
  if (plain !== undefined && base64 !== undefined) return undefined;
  const content = plain === undefined ? fromBase64(base64) : fromText(plain);
  return content && { t, bytes: content, origin };
}

function parse(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    // Damage is what the caller asks about.
    return undefined;
  }
}

const fromText = (text: unknown) =>
  typeof text === "string" && text.isWellFormed() ? Buffer.from(text, "utf8") : undefined;

/** Node reads what it can of it; what it would not write again is damaged. */
function fromBase64(text: unknown): Buffer | undefined {
  if (typeof text !== "string") return undefined;
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}
