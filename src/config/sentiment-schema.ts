import { z } from "zod";
import { anySource } from "./any-source-schema.ts";
import { day, deviceName, entryName, ms, secret, urlOf } from "./field-schema.ts";

/** The container, or the cloud's endpoint, that texts are scored by. */
export const sentiment = z
  .strictObject({
    state: z.enum(["on", "off"]).default("on").describe("`off`: no text is scored, whatever `url` says"),
    url: urlOf(/^https?:\/\/[^@/?#]+(\/[^?#]*)?$/, "must be http:// or https:// and hold no password, ? or #")
      .max(2_048)
      .optional()
      .describe("Where the container listens, such as `http://sentiment:5000`; without it no text is scored"),
    api: z
      .enum(["auto", "analyzeText", "v3.1", "v3.0", "v2.1", "v2.0"])
      .default("auto")
      .describe("What it speaks; `auto`: found by asking, the newest first"),
    language: z
      .string()
      .regex(/^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$/, "must be a language such as en or pt-BR")
      .default("en")
      .describe("Of texts whose caller names none"),
    timeoutMs: ms(100, 600_000).default(30_000).describe("How long one request to the container may take"),
    key: secret.optional().describe("Key of the cloud's endpoint; a container takes none"),
    maxCalls: z
      .int()
      .min(1)
      .max(256)
      .default(16)
      .describe("Callers that may wait for scores at a time; who comes beyond is answered with 503"),
  })
  .prefault({})
  .describe("Scores texts by a container of Azure's Text Analytics or Language service");

/** A source of texts, whose readings are their scores. */
export const sentimentSource = z.strictObject({
  ...anySource,
  type: z.literal("sentiment").describe("Scores of texts, by the container that section `sentiment` names"),
  from: z
    .strictObject({
      source: entryName.describe("A source whose frames bring texts"),
      field: z
        .string()
        .min(1)
        .max(128)
        .describe("Field of its readings that holds the text; it is no channel then"),
    })
    .optional()
    .describe("Whose texts are scored, besides those that `POST /sentiment?source=` brings"),
  device: deviceName.default("texts").describe("Of posted texts that name none"),
  idleMs: ms(100, day)
    .default(10_000)
    .describe(
      "After this time without a text that waits, and without scores, windows are no longer held open",
    ),
  maxTexts: z.int().min(1).max(100_000).default(10_000).describe("Texts that may wait to be scored"),
  maxBytes: z
    .int()
    .min(1_024)
    .max(268_435_456)
    .default(16_777_216)
    .describe(
      "Their bytes; those of all sources take at most an eighth of `store.maxBytes`, and a text beyond is a discard (`queueFull`)",
    ),
});
