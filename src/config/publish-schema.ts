import { z } from "zod";
import { day, ms } from "./field-schema.ts";

/** What is sent, when, and what it may cost. */
export const publish = z
  .strictObject({
    maxDelayMs: ms(0, 3_600_000).default(5_000).describe("How long a finished entry may wait for company"),
    maxMessageBytes: z
      .int()
      .min(1024)
      .max(258_048)
      .default(65_536)
      .describe(
        "Whole blocks of it are filled; with its topic a message stays below the 262,144 bytes of hubs",
      ),
    blockBytes: z
      .int()
      .min(1)
      .max(65_536)
      .default(4_096)
      .describe("What the hub bills by: 4,096; 512 on the free tier of IoT Hub"),
    dailyBlocks: z
      .int()
      .min(24)
      .max(1_000_000_000)
      .optional()
      .describe(
        "Blocks that may be billed in a day, UTC. When it runs short, raw readings are left out, then windows merged, then what is left waits; alarms always go",
      ),
    maxInFlight: z
      .int()
      .min(1)
      .max(256)
      .default(16)
      .describe("Messages handed over and not yet confirmed; 1 waits for each"),
    format: z
      .enum(["array", "lines", "object"])
      .default("array")
      .describe("Body of a message: a JSON array of entries, an entry per line, or a single entry"),
    compression: z
      .enum(["none", "gzip"])
      .default("none")
      .describe("`gzip` makes messages smaller, and routing by the body impossible"),
    backfill: z
      .strictObject({
        afterMs: ms(1_000, day)
          .default(30_000)
          .describe("An entry that waited longer for the hub is backlog, which goes behind what is new"),
        messagesPerSecond: z.number().min(0.01).max(10_000).default(10).describe("Of the backlog, at most"),
        bytesPerSecond: z
          .int()
          .min(1_024)
          .max(1_000_000_000)
          .default(1_000_000)
          .describe("Of the backlog, at most"),
      })
      .prefault({})
      .describe("What waited during an outage is marked `backfill`, and goes out at this rate"),
    output: z
      .string()
      .regex(/^[A-Za-z0-9_-]{1,64}$/)
      .default("readings")
      .describe("Output name, for routes"),
    readings: z
      .enum(["none", "all"])
      .default("none")
      .describe("`all`: each reading is published by itself, beside the windows; a source may differ"),
  })
  .prefault({});
