import type { DecodeConfig } from "../config/schema.ts";
import type { KnownChannel } from "../core/reading.ts";
import { binaryChannels } from "./binary.ts";
import { dsmrChannels } from "./dsmr.ts";

/** What a format itself says of its channels. */
export function knownChannels(decode: DecodeConfig): Readonly<Record<string, KnownChannel>> {
  if (decode.format === "binary") return binaryChannels(decode);
  return decode.format === "dsmr" ? dsmrChannels : {};
}
