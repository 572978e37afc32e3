import type { z as Zod } from "zod";
import { channelNamePattern, isOrdinaryName } from "../core/reading.ts";

/** A map by the names of channels that the configuration chooses, at least one. */
export function byChannel<Entry extends Zod.ZodType>(z: typeof Zod, most: number, entry: Entry) {
  const name = z
    .string()
    .regex(channelNamePattern, "must be 1 to 64 characters without space, control characters, . $ #")
    .refine(isOrdinaryName, "is a word of the language the gateway is written in");
  return z.record(name, entry).refine((entries) => {
    const count = Object.keys(entries).length;
    return count >= 1 && count <= most;
  }, `must have 1 to ${most} entries`);
}
