import { z } from "zod";
import { anySource } from "./any-source-schema.ts";
import { caFile, channelName, day, deviceName, entryName, ms, secret, urlOf } from "./field-schema.ts";

const path = z.string().min(1).max(4_096);
const mostLabels = 64;

/** What sources have whose pictures a model scores. */
const imageCommon = {
  ...anySource,
  device: deviceName,
  model: entryName.describe("Entry of `models` that scores the pictures"),
  top: z
    .int()
    .min(0)
    .max(20)
    .default(1)
    .describe("So many of the most probable labels of a picture are channels of its reading"),
  minProbability: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Of these, the less probable ones are left out"),
  labels: z
    .array(channelName)
    .max(mostLabels)
    .default([])
    .describe(
      "Labels that are channels of every reading, however probable, so that windows and rules can watch them",
    ),
  maxBytes: z
    .int()
    .min(1_024)
    .max(268_435_456)
    .default(16_777_216)
    .describe("A larger picture is a discard (`overlong`)"),
  keep: z
    .strictObject({
      which: z
        .enum(["all", "above", "below"])
        .default("all")
        .describe("Compared with `probability` is the most probable of the labels that are told"),
      probability: z.number().min(0).max(1).default(0.5),
      maxFiles: z.int().min(1).max(10_000).default(100),
      maxBytes: z.int().min(1_024).max(100_000_000_000).default(100_000_000),
    })
    .optional()
    .describe(
      "Keeps scored pictures in `pictures` in the store's folder, beside `store.maxBytes`; the oldest go first. Without it none is kept",
    ),
  upload: z
    .strictObject({
      hosts: z
        .array(
          z
            .string()
            .regex(
              /^([a-z0-9.-]+|\[[0-9a-f:]+\])(:\d{1,5})?$/,
              "must be a host in lower case, with a port unless it is the usual one",
            ),
        )
        .min(1)
        .max(16)
        .describe("Such as `account.blob.core.windows.net`"),
    })
    .optional()
    .describe(
      "Lets the direct method `uploadPicture` put kept pictures to URLs of these hosts; without it nowhere. Not in a twin",
    ),
};

export const imageFolderSource = z
  .strictObject({
    ...imageCommon,
    type: z.literal("imageFolder"),
    folder: path.describe("Where a camera puts its pictures; what is scored goes from there"),
    extensions: z
      .array(z.string().regex(/^[A-Za-z0-9]{1,16}$/, "must be letters and digits, without a dot"))
      .min(1)
      .max(16)
      .default(["jpg", "jpeg", "png", "webp"])
      .describe("How names of pictures end, in upper or lower case; other files are left alone"),
    lookMs: ms(50, 3_600_000).default(1_000).describe("How often the folder is looked into"),
    settleMs: ms(0, 3_600_000)
      .default(1_000)
      .describe("A file whose size and time stay the same for so long is whole; 0 for a camera that renames"),
    afterwards: z
      .enum(["delete", "move"])
      .default("delete")
      .describe("What becomes of a picture when its reading is durable"),
    moveTo: path
      .optional()
      .describe("Folder of the same file system for `move`; what gathers there is for others to bound"),
    rejected: z
      .strictObject({
        maxFiles: z.int().min(0).max(10_000).default(100).describe("0: they are deleted"),
        maxBytes: z.int().min(0).max(1_000_000_000_000).default(100_000_000),
      })
      .prefault({})
      .describe("How much of what cannot be scored is kept in `rejected` in the folder; the oldest go first"),
    intervalMs: ms(1, day)
      .optional()
      .describe("How often a picture comes; gives a window its `expected` count"),
  })
  .describe("Pictures that a camera puts into a folder, scored by a model");

export const imageUrlSource = z
  .strictObject({
    ...imageCommon,
    type: z.literal("imageUrl"),
    url: urlOf(/^https?:\/\/[^@/?#]+(\/.*)?$/, "must be http:// or https:// and hold no password")
      .max(2_048)
      .describe("Where a camera answers with a picture; a redirect is not followed"),
    username: z.string().min(1).max(256).optional().describe("Of HTTP's basic authentication"),
    password: secret.optional(),
    caFile,
    intervalMs: ms(100, day)
      .optional()
      .describe("How often a picture is taken; without it only as `when` says, and when `takePicture` asks"),
    when: z
      .strictObject({
        device: deviceName.optional(),
        source: entryName.optional(),
        channel: channelName.optional(),
        alarm: z.enum(["any", "bad", "silent"]).default("any").describe("What its alarm turns to"),
      })
      .optional()
      .describe("A picture is taken when an alarm begins that is about all that is named here"),
    minSpacingMs: ms(0, day)
      .default(5_000)
      .describe("Least time from the last picture to one out of turn; what asks meanwhile waits for its end"),
    timeoutMs: ms(100, 120_000).default(10_000).describe("Until the whole picture must have come"),
  })
  .describe("Pictures that a camera gives when it is asked over HTTP, scored by a model");

/** Most bytes that the frame of a picture has: JSON writes a character of a label as six bytes at most. */
export function imageFrameBytes({
  top,
  labels,
}: {
  readonly top: number;
  readonly labels: readonly string[];
}): number {
  return 2_048 + (top + labels.length) * (6 * 64 + 32);
}
