import type { Logger } from "../../src/core/logger.ts";

export interface Line {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly object: object;
  readonly message: string;
}

/** A logger that keeps its lines. */
export function recordingLog(): Logger & { readonly lines: Line[] } {
  const lines: Line[] = [];
  const at = (level: Line["level"]) => (object: object, message: string) => {
    lines.push({ level, object, message });
  };
  const log = {
    lines,
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: () => log,
  };
  return log;
}
