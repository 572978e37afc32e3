import { z } from "zod";
import { ms, secret } from "./field-schema.ts";

/** The container, or the cloud's endpoint, that texts are scored by. */
export const sentiment = z
  .strictObject({
    state: z.enum(["on", "off"]).default("on").describe("`off`: no text is scored, whatever `url` says"),
    url: z
      .string()
      .regex(/^https?:\/\/[^@/?#]+(\/[^?#]*)?$/, "must be http:// or https:// and hold no password, ? or #")
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
