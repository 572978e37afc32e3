import type { Problem } from "../core/errors.ts";
import { topicChannel } from "../core/topic-template.ts";
import type { DecodeConfig, LinkedSource } from "./schema.ts";

/** What the frames are to be read by, and nothing in them or around them has. */
export function decodeContradictions(source: LinkedSource, path: string): Problem[] {
  return [...missingTime(source, path), ...missingNames(source, path)];
}

function missingTime({ decode, dedupe }: LinkedSource, path: string): Problem[] {
  const { time }: DecodeConfig = decode;
  if (dedupe.by !== "timestamp" || time) return [];
  const message = "its readings have no time of their own, only that of their receipt";
  return [{ path: `${path}.dedupe.by`, message, hint: "set decode.time, or choose another criterion" }];
}

function missingNames({ decode, device }: LinkedSource, path: string): Problem[] {
  const problems: Problem[] = [];
  const isChannelNamed =
    typeof device === "object" && "template" in device && device.template.includes(topicChannel);
  const hint = `name it in device.template as ${topicChannel}`;
  if (decode.format === "value" && decode.channel === undefined && !isChannelNamed)
    problems.push({ path: `${path}.decode.channel`, message: "nothing names the channel", hint });
  if (decode.format !== "json" || !decode.fields) return problems;
  const { fields, time } = decode;
  if (topicChannel in fields && !isChannelNamed) {
    const message = "the topic names no channel";
    problems.push({ path: `${path}.decode.fields.${topicChannel}`, message, hint });
  }
  const needed = { "decode.time.field": time?.field, "device.field": fieldOf(device) };
  for (const [place, field] of Object.entries(needed)) {
    if (field === undefined || field in fields) continue;
    problems.push({
      path: `${path}.${place}`,
      message: `decode.fields has no ${field}, so it would never be there`,
      hint: `add it to decode.fields with its path`,
    });
  }
  return problems;
}

function fieldOf(device: LinkedSource["device"]): string | undefined {
  return typeof device === "object" && "field" in device ? device.field : undefined;
}
