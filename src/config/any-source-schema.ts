import { z } from "zod";
import { day, deviceName, ms, state } from "./field-schema.ts";

/** What every source has. */
export const anySource = {
  state,
  silentMs: ms(0, day)
    .optional()
    .describe(
      "A device that sends nothing for so long is an alarm (`silent`); 0: never; default: 10 × intervalMs, at least 10,000, without intervalMs never",
    ),
  readings: z
    .enum(["none", "all"])
    .optional()
    .describe("`all`: each reading is published by itself, beside the windows; default: `publish.readings`"),
  priority: z
    .int()
    .min(0)
    .max(9)
    .default(5)
    .describe("When the store is full, entries of a lower number are thinned and evicted first"),
  share: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Part of `store.maxBytes` that other sources cannot take from this one"),
  whenFull: z
    .enum(["evict", "keep"])
    .default("evict")
    .describe(
      "`keep`: its entries are never evicted; when nothing else can go, the store takes no more data until the hub does",
    ),
};

/** What sources have that ask their device. */
export const polledCommon = {
  ...anySource,
  intervalMs: ms(10, day).default(1_000).describe("How often the device is asked"),
  device: deviceName,
};
