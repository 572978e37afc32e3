import { setImmediate as nextTurn } from "node:timers/promises";
import type { DecodeConfig } from "../config/schema.ts";
import type { FrameDiscard } from "../core/reading.ts";
import type { Decode } from "../decode/decoder.ts";
import { ApiError } from "./api-error.ts";

/** `whole`: the body is one frame. `lines`: each line that is not blank is one. */
export type BodyForm = "whole" | "lines";

const lineTypes = ["application/x-ndjson", "application/jsonl", "text/plain"];

/** What a body may be called in whole, for formats that know no lines. */
const wholeTypes: Partial<Record<DecodeConfig["format"], string>> = {
  json: "application/json",
  cbor: "application/cbor",
  binary: "application/octet-stream",
  dsmr: "text/plain",
};

/**
 * How a body is cut into frames: JSON may be the whole body or lines, other texts are lines.
 * @throws ApiError 415
 */
export function formOf(contentType: string | undefined, format: DecodeConfig["format"]): BodyForm {
  const type = contentType?.split(";")[0]?.trim().toLowerCase() ?? "";
  const whole = wholeTypes[format];
  if (whole === undefined) {
    if (["", "text/plain", "text/csv"].includes(type)) return "lines";
    throw new ApiError(415, "unsupportedMediaType", `the source takes lines of ${format}: send text/plain`);
  }
  if (format === "json" && lineTypes.includes(type)) return "lines";
  if (type === "" || type === whole) return "whole";
  const lines = format === "json" ? `, or ${lineTypes.join(", ")} for one reading per line` : "";
  throw new ApiError(415, "unsupportedMediaType", `${type} is not taken; send ${whole}${lines}`);
}

export interface Frame {
  readonly bytes: Uint8Array;
  /** Number of its line from 1; undefined when the frame is the body. */
  readonly line: number | undefined;
}

const newline = 0x0a;

/** The frames of a body, pointing into it. */
export function framesOf(body: Uint8Array, form: BodyForm): Frame[] {
  if (form === "whole") return [{ bytes: body, line: undefined }];
  const frames: Frame[] = [];
  let line = 0;
  for (let from = 0; from < body.length; ) {
    line++;
    const end = body.indexOf(newline, from);
    const bytes = trimmed(body.subarray(from, end < 0 ? body.length : end));
    if (bytes.length > 0) frames.push({ bytes, line });
    from = end < 0 ? body.length : end + 1;
  }
  return frames;
}

/** Without spaces, tabs and carriage returns at the end; a line of nothing else is blank. */
function trimmed(line: Uint8Array): Uint8Array {
  let end = line.length;
  while (end > 0 && [0x20, 0x09, 0x0d].includes(line[end - 1] ?? 0)) end--;
  return line.subarray(0, end);
}

/** A megabyte of lines takes 70 ms to decode on a PC, and several times that on a small box. */
const bytesPerTurn = 32_768;

/**
 * How many readings the frames hold, decoded as the pipeline will decode them.
 * In between it lets the thread do other work: serial ports have to be read meanwhile.
 * @throws ApiError 400 that names the first bad one and says why
 */
export async function checkFrames(
  frames: readonly Frame[],
  { decode, takesArrays }: { readonly decode: Decode; readonly takesArrays: boolean },
  receivedMs: number,
): Promise<number> {
  let readings = 0;
  let bytesInTurn = 0;
  for (const { bytes, line } of frames) {
    bytesInTurn += bytes.length;
    if (bytesInTurn > bytesPerTurn) {
      await nextTurn();
      bytesInTurn = bytes.length;
    }
    const decoded = decode(bytes, receivedMs);
    if ("discard" in decoded) {
      const index = takesArrays ? badElement(bytes, decode, receivedMs) : undefined;
      const path = `${line === undefined ? "" : `line ${line}`}${index === undefined ? "" : `[${index}]`}`;
      throw refusal(decoded.discard, path);
    }
    readings += decoded.readings.length;
  }
  if (readings === 0) throw refusal("empty", "");
  return readings;
}

function refusal(reason: FrameDiscard, path: string): ApiError {
  const message = `${path === "" ? "the body" : path}: ${explanations[reason]}; nothing of the request was taken`;
  return new ApiError(400, reason, message, { path: path === "" ? undefined : path });
}

/** Which element of an array is the bad one; undefined when the frame is no array, or bad as such. */
function badElement(bytes: Uint8Array, decode: Decode, receivedMs: number): number | undefined {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!Array.isArray(value)) return undefined;
  // Alone in an array: an element that is one itself would be taken for several readings.
  const at = value.findIndex((element) => "discard" in decode(textOf([element]), receivedMs));
  return at < 0 ? undefined : at;
}

/** What is nested too deep to be written again is no reading: empty bytes, which are none either. */
function textOf(value: unknown[]): Uint8Array {
  try {
    return Buffer.from(JSON.stringify(value));
  } catch (error) {
    if (error instanceof RangeError) return new Uint8Array();
    throw error;
  }
}

const explanations: Record<FrameDiscard, string> = {
  overlong: "is too long",
  unframed: "belongs to no frame",
  truncated: "is cut off",
  empty: "holds no reading",
  nul: "holds a NUL byte",
  invalidUtf8: "is not UTF-8",
  malformed: "is not of the source's format",
  columnCount: "has another number of columns than `decode.columns`",
  badChecksum: "has another checksum than its bytes",
  noAnswer: "did not come",
  powerOnValue: "holds what the chip says before it has measured",
  deviceException: "is refused by the device",
  stray: "belongs to no question",
  otherSentence: "is of a kind that is not read",
  noDevice: "the field that names the device is missing",
  badDevice: "the device's name is not a text of 1 to 128 characters without control characters",
  noTime: "the field that holds the time is missing, not of its unit, or before the year 2000",
  future: "the time is further ahead than `decode.time.maxAheadMs`",
  noChannels: "holds no number that a channel could take",
  unknownSource: "the source is not configured",
  duplicate: "was taken before",
  otherTopic: "is of another topic",
  unreadable: "may not be read",
  badImage: "is no image that can be read",
  imageTooLarge: "is an image of too many pixels",
  missingFeature: "lacks what a model needs",
  partialWindow: "is of a window that is not whole",
  notScored: "was not scored",
  modelFailed: "was not scored, because the model failed",
  pipelineFault: "cannot be processed",
  queueFull: "finds as many texts waiting as may",
  unscored: "was not scored, because what scores it failed at it or could not be asked",
  damaged: "was lost with a damaged store",
};
