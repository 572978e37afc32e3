import { z } from "zod";
import { anySource } from "./any-source-schema.ts";
import { aggregateNames, channelName, day, deviceName, entryName, ms } from "./field-schema.ts";

const fedFrom = {
  source: entryName.describe("Whose readings: the name of a source"),
  device: deviceName.optional().describe("Of these alone; default: each device of the source by itself"),
};

const feature = z
  .string()
  .regex(
    new RegExp(`^[^\\p{C}\\s.$#]{1,64}\\.(${aggregateNames.join("|")})$`, "u"),
    `must be a channel and one of ${aggregateNames.join(", ")}, such as temperature.mean`,
  );

const fromWindow = z
  .strictObject({
    ...fedFrom,
    from: z.literal("window"),
    window: entryName.describe("Entry of `windows`; a run when it closes"),
    features: z
      .array(feature)
      .min(1)
      .max(1_024)
      .describe("A channel and an aggregate of it each, in the order of the model"),
  })
  .describe("Features of a window");

const fromValues = z
  .strictObject({
    ...fedFrom,
    from: z.literal("values"),
    channels: z
      .array(channelName)
      .min(1)
      .max(64)
      .refine((names) => new Set(names).size === names.length, "must not name a channel twice")
      .describe("In the order of the model"),
    last: z.int().min(1).max(16_384).describe("How many readings, the last of the device"),
    every: z.int().min(1).max(1_000_000).default(1).describe("A run after every so many new ones"),
  })
  .describe("The last readings");

const output = z
  .strictObject({
    output: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe("Name of the model's output; may be left out where it has one"),
    index: z
      .int()
      .min(0)
      .max(16_777_215)
      .default(0)
      .describe("Which element of it, in row-major order, from 0"),
    unit: z.string().max(32).optional(),
    min: z.number().optional(),
    max: z.number().optional().describe("Outside of `min` and `max` the value is `bad`, which is an alarm"),
  })
  .refine(({ min, max }) => min === undefined || max === undefined || min <= max, "min must not exceed max");

/** A source that asks nothing of the outside: results of a model over what other sources bring. */
export const modelSource = z
  .strictObject({
    ...anySource,
    type: z.literal("model"),
    model: entryName.describe("Entry of `models`"),
    inputs: z.discriminatedUnion("from", [fromWindow, fromValues]).describe("What the model is fed with"),
    device: deviceName
      .optional()
      .describe("Device of the results; default: the one whose readings the model is fed with"),
    input: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .describe("Name of the model's input; may be left out, because the model has one alone"),
    shape: z
      .array(z.int().min(1).max(16_384))
      .min(1)
      .max(8)
      .optional()
      .describe(
        "Of the tensor; default: `[1, features]`, `[1, channels, last]`, or by `layout` `[1, last, channels]`",
      ),
    layout: z
      .enum(["channelsFirst", "channelsLast"])
      .default("channelsFirst")
      .describe("Of the last readings: all values of one channel after the other, or reading by reading"),
    normalisation: z
      .strictObject({ mean: z.array(z.number()), deviation: z.array(z.number().positive()) })
      .optional()
      .describe("Per feature or channel: (value − mean) / deviation; without it values go as they are"),
    missing: z
      .union([z.literal("skip"), z.number()])
      .default("skip")
      .describe(
        "`skip`: where a feature or value is missing or bad, no run (`missingFeature`); a number: it stands for that, ahead of `normalisation`",
      ),
    outputs: z
      .record(channelName, output)
      .refine((outputs) => Object.keys(outputs).length > 0, "must not be empty")
      .describe("Channels of the results, and which element of an output each is"),
    idleMs: ms(100, day)
      .default(30_000)
      .describe("How long windows of results stay open when no feed waits any more"),
  })
  .describe("Results of a model over readings of another source");
