import { isObject, type JsonObject } from "../core/json.ts";
import type { DesiredPatch, TwinDocument } from "./hub-client.ts";

/** Both halves of a twin as the hub answers them. */
export function twinDocument(twin: JsonObject): TwinDocument {
  const desired = withoutVersion(isObject(twin.desired) ? twin.desired : {});
  const reported = withoutVersion(isObject(twin.reported) ? twin.reported : {});
  return { desired: desired.rest, desiredVersion: desired.version, reported: reported.rest };
}

export function desiredPatch(patch: JsonObject): DesiredPatch {
  const { rest, version } = withoutVersion(patch);
  return { patch: rest, version };
}

/** Edge hub's empty twin has version 0 or none: both mean unknown. */
function withoutVersion(half: JsonObject): { rest: JsonObject; version: number | undefined } {
  const { $version: version, $metadata: _, ...rest } = half;
  return { rest, version: typeof version === "number" && version > 0 ? version : undefined };
}
