import { isObject } from "../core/json.ts";
import type { FrameFields } from "./reading-reader.ts";

/**
 * What a source of type `model` tells of one feed, as JSON: `{"device", "time", "values": {channel: number}}`, or
 * `{"discard": "modelFailed", "reason"}`. No name of a channel holds a `$`, as the names of the other fields do.
 * `withTime`: the time is the device's own; one of receipt is known from what the model was fed with.
 */
export function splitModelResult(text: string, withTime: boolean): FrameFields {
  let result: unknown;
  try {
    result = JSON.parse(text);
  } catch {
    return { discard: "malformed" };
  }
  if (!isObject(result)) return { discard: "malformed" };
  if (result.discard === "modelFailed") return { discard: "modelFailed" };
  const { device, time, values } = result;
  if (!isObject(values)) return { discard: "malformed" };
  return [[["$device", device], ...(withTime ? [["$time", time] as const] : []), ...Object.entries(values)]];
}
