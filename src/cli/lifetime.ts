import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { exitCode } from "./exit-code.ts";

/** Docker kills ten seconds after SIGTERM; this leaves two for the process to end. */
const stopDeadlineMs = 8_000;

/**
 * Runs until a signal or `ends` resolves, then stops within the deadline and exits the process.
 * A second signal, or the deadline, ends it at once.
 */
export async function untilStopped(
  stop: (deadline: AbortSignal) => Promise<void>,
  log: Logger,
  ends?: Promise<unknown>,
): Promise<never> {
  let signals = 0;
  const signal = new Promise<string>((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) {
      process.on(name, () => {
        if (++signals > 1) process.exit(exitCode.crashed);
        resolve(name);
      });
    }
  });
  await (ends ? Promise.race([signal, ends]) : signal);
  const deadline = AbortSignal.timeout(stopDeadlineMs);
  const overdue = setTimeout(() => {
    log.error({ deadlineMs: stopDeadlineMs }, "did not stop in time; what was committed is safe");
    process.exit(exitCode.crashed);
  }, stopDeadlineMs + 500);
  try {
    await stop(deadline);
  } catch (error) {
    log.error({ reason: messageOf(error) }, "stopping failed");
    process.exit(exitCode.crashed);
  }
  clearTimeout(overdue);
  process.exit(exitCode.stopped);
}

/** What cannot be mended ends the process; the supervisor starts it again from its store. */
export function fatal(log: Logger): (error: unknown) => void {
  let once = false;
  return (error) => {
    if (once) return;
    once = true;
    log.error(
      { reason: messageOf(error), stack: error instanceof Error ? error.stack : undefined },
      "crashed",
    );
    process.exit(exitCode.crashed);
  };
}

/** `30s`, `2m`, `500ms`, `1h`; a bare number is seconds. Undefined when it is none of these. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  if (!match) return undefined;
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] as "ms" | "s" | "m" | "h"] ?? 1_000;
  return Math.round(Number(match[1]) * unit);
}
