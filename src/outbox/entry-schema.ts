import { z } from "zod";

const number = z.number();
const timeQuality = z.enum(["synced", "holdover", "unsynced"]);
const quality = z.enum(["good", "uncertain", "bad"]);
const reason = z.enum(["belowMin", "aboveMax", "notFinite"]);
const channelBody = z
  .strictObject({
    unit: z.string().optional(),
    mean: number.optional(),
    min: number.optional(),
    max: number.optional(),
    sum: number.optional(),
    count: z.int().min(0).optional().describe("Values of quality good, the only ones in the numbers"),
    stddev: number.optional().describe("Of the sample, n − 1; from two values on"),
    first: number.optional().describe("By the readings' own time"),
    last: number.optional(),
    bad: z.int().min(0).describe("Values of quality bad; they are in none of the numbers"),
    reasons: z
      .partialRecord(reason, z.int().min(1))
      .optional()
      .describe("Bad values by reason; only where there are any"),
  })
  .describe("Aggregates of one channel, as configured; without a good value there is no mean, min, max …");

const backfill = z
  .literal(true)
  .optional()
  .describe(
    "It waited for the hub for longer than `publish.backfill.afterMs`; says how it came, not what it is",
  );

/**
 * The body of an entry as receivers see it. The type is what the code builds, the JSON Schema in
 * `config/message.schema.json` is generated from it, and tests hold real messages against it.
 */
export const windowEntryBody = z
  .strictObject({
    id: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .describe("The same for every revision and every repeat"),
    revision: z
      .int()
      .min(0)
      .describe("From 0; a later one replaces the earlier. Drop repeated (id, revision)"),
    kind: z.literal("window"),
    window: z.string().describe("Name of the window in the configuration"),
    gateway: z.string(),
    source: z.string().describe("Name of the source in the configuration"),
    device: z.string(),
    windowStart: z.iso.datetime().describe("First instant that belongs to the window, UTC"),
    windowEnd: z.iso.datetime().describe("First instant that does not"),
    timeQuality: timeQuality.describe(
      "The least sure clock under which a reading of the window was received",
    ),
    quality: quality.describe("uncertain: some values were bad; bad: all were"),
    count: z.int().min(1).describe("Readings, good and bad"),
    expected: z
      .int()
      .min(0)
      .optional()
      .describe("Readings a full window would have; where the source says its interval"),
    bad: z.int().min(0).describe("Readings with at least one bad value"),
    partial: z
      .enum(["start", "configuration", "clock", "damage"])
      .optional()
      .describe(
        "The window did not run from end to end: the store began in it, a configuration cut it, the clock stepped, or a damaged store lost a part of it",
      ),
    thinned: z
      .int()
      .min(2)
      .optional()
      .describe("It stands for this many windows of the full store, merged into one; none of them was sent"),
    channels: z.record(z.string(), channelBody),
    configurations: z.array(z.string()).describe("Hashes of the configurations its readings passed through"),
    backfill,
  })
  .describe("One window of one device of one source");

/** What is missing from the data, told as data. */
export const gapEntryBody = z
  .strictObject({
    id: z.string().regex(/^[0-9a-f]{32}$/),
    revision: z.literal(0),
    kind: z.literal("gap"),
    gateway: z.string(),
    source: z.string(),
    from: z.iso.datetime().describe("What is missing was received, or would have been, between these two"),
    to: z.iso.datetime(),
    count: z.union([z.int().min(0), z.literal("unknown")]),
    unit: z.enum(["frames", "readings"]).describe("What was counted"),
    reason: z
      .enum(["uncleanStop", "overrun", "damage", "evicted", "budget"])
      .describe(
        "The process was killed; more came than could be stored; the store was damaged; the full store gave it up; the day's budget had no block for it",
      ),
    backfill,
  })
  .describe("Something is missing, as far as anyone can know");

/** One reading as it came, calibrated and judged. */
export const readingEntryBody = z
  .strictObject({
    id: z.string().regex(/^[0-9a-f]{32}$/),
    revision: z.literal(0),
    kind: z.literal("reading"),
    gateway: z.string(),
    source: z.string(),
    device: z.string(),
    time: z.iso.datetime().describe("The device's own, else that of the receipt"),
    timeQuality,
    channels: z.record(
      z.string(),
      z.strictObject({
        unit: z.string().optional(),
        value: number.optional().describe("Calibrated; absent where that gave no finite number"),
        quality,
        reason: reason.optional(),
      }),
    ),
    configuration: z.string().describe("Hash of the configuration it passed through"),
    backfill,
  })
  .describe("One reading of one device of one source");

const conditionState = z.enum(["good", "bad", "silent"]);
/** Something changed that somebody may have to act on. */
export const alarmEntryBody = z
  .strictObject({
    id: z.string().regex(/^[0-9a-f]{32}$/),
    revision: z.literal(0),
    kind: z.literal("alarm"),
    gateway: z.string(),
    source: z.string(),
    device: z.string(),
    channel: z.string().optional().describe("Absent where it is about the device: whether it is heard"),
    time: z.iso.datetime().describe("Of the reading that changed it, or when the silence was noticed"),
    timeQuality,
    from: conditionState
      .optional()
      .describe("As the alarm before told it, or good; absent when the first value of a channel is bad"),
    to: conditionState.describe("bad: raised; silent: raised; good: cleared, or heard again"),
    reason: reason.optional().describe("Why the value is bad"),
    value: number.optional().describe("Calibrated; absent where that gave no finite number"),
    unit: z.string().optional(),
    lastHeard: z.iso.datetime().optional().describe("Before the silence, by the gateway's clock"),
    suppressed: z
      .int()
      .min(1)
      .optional()
      .describe("So many changes since the alarm before came too soon after it, and were not told"),
  })
  .describe("The quality of a channel changed, or a device fell silent or is heard again");

export type AlarmEntryBody = z.output<typeof alarmEntryBody>;
export type ReadingEntryBody = z.output<typeof readingEntryBody>;
export type GapEntryBody = z.output<typeof gapEntryBody>;
export type WindowEntryBody = z.output<typeof windowEntryBody>;
export type PartialReason = NonNullable<WindowEntryBody["partial"]>;
export type ChannelBody = z.output<typeof channelBody>;

/** A message's body. */
export const messageBody = z
  .array(z.discriminatedUnion("kind", [windowEntryBody, gapEntryBody, readingEntryBody, alarmEntryBody]))
  .min(1)
  .describe("Entries in the order of their making");
export type EntryBody = z.output<typeof messageBody>[number];
