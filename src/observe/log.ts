import pino from "pino";
import type { Logger } from "../core/logger.ts";

/** Keys whose values never belong in a log line, wherever they stand. */
const secretKeys = [
  "connectionString",
  "password",
  "sharedAccessKey",
  "SharedAccessKey",
  "sas",
  "token",
  "apiKey",
];

export interface LogOptions {
  readonly level: string;
  /** Lines for people; JSON otherwise. */
  readonly pretty: boolean;
}

/** Logs on stderr, so that stdout stays machine-readable. */
export async function createLog({ level, pretty }: LogOptions): Promise<Logger> {
  const redact = {
    paths: secretKeys.flatMap((key) => [key, `*.${key}`, `*.*.${key}`]),
    censor: "[redacted]",
  };
  const options: pino.LoggerOptions = {
    level,
    redact,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  if (!pretty) return pino(options, pino.destination({ dest: 2, sync: true }));
  const { default: prettyStream } = await import("pino-pretty");
  const stream = prettyStream({
    destination: 2,
    sync: true,
    translateTime: "SYS:HH:MM:ss",
    ignore: "pid,hostname",
  });
  return pino(options, stream);
}
