import { z } from "zod";
import { channelNamePattern, isOrdinaryName, isPlainName } from "../core/reading.ts";

export const ms = (min: number, max: number) => z.int().min(min).max(max);
export const day = 86_400_000;

export const entryName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 of A-Z a-z 0-9 _ -")
  .refine(isOrdinaryName, "is a word of the language the gateway is written in")
  .describe("Name of an entry");

export const state = z
  .enum(["on", "off"])
  .default("on")
  .describe("`off` hides the entry, also one of a lower layer");
export const deviceName = z
  .string()
  .refine(isPlainName, "must be 1 to 128 characters without control characters")
  .describe("Name of a field device");
export const channelName = z
  .string()
  .regex(channelNamePattern, "must be 1 to 64 characters without space, control characters, . $ #")
  .refine(isOrdinaryName, "is a word of the language the gateway is written in")
  .describe("Name of a channel, one quantity of one device");

export const aggregateNames = ["mean", "min", "max", "sum", "count", "stddev", "first", "last"] as const;

export const secret = z
  .union([
    z.strictObject({
      env: z.string().min(1).describe("Name of the environment variable that holds the value"),
    }),
    z.strictObject({
      file: z.string().min(1).describe("File that holds the value; a trailing newline is ignored"),
    }),
  ])
  .describe("Reference to a secret; the value itself never stands in a configuration");

export const endianness = z
  .enum(["big", "little"])
  .default("big")
  .describe("`big`: the most significant byte first");

/** One of that pattern that is a URL as well: whoever opens it relies on that, and `new URL` throws. */
export const urlOf = (pattern: RegExp, error: string) =>
  z
    .string()
    .regex(pattern, { error, abort: true })
    .refine((url) => URL.canParse(url), "is no URL");
export const brokerUrl = urlOf(
  /^(mqtts?|wss?):\/\/[^@/?]+(\/[^?]*)?$/,
  "must be mqtt://, mqtts://, ws:// or wss:// and hold no password",
);
export const caFile = z.string().min(1).optional().describe("PEM file of the authorities to trust");
/** How a client says to a broker who it is, and knows whom it speaks to. */
export const brokerLogin = {
  username: z.string().optional(),
  password: secret.optional(),
  caFile,
  certFile: z.string().min(1).optional(),
  keyFile: z.string().min(1).optional(),
};
