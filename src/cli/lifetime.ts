import { endAtOnce } from "../core/end-process.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { exitCode } from "./exit-code.ts";

/** Docker kills ten seconds after SIGTERM; this leaves two for the process to end. */
const stopDeadlineMs = 8_000;

/**
 * Resolves at the first signal that asks to stop; a second one, or the deadline, ends the process.
 * To be called before anything starts: a signal during a start, even one that hangs, must not be lost.
 */
export function stopSignal(): Promise<string> {
  let signals = 0;
  return new Promise((resolve) => {
    for (const name of ["SIGTERM", "SIGINT"] as const) {
      process.on(name, () => {
        if (++signals > 1) endAtOnce(exitCode.crashed);
        endWhenOverdue();
        resolve(name);
      });
    }
  });
}

/**
 * SIGHUP, which would end the process otherwise. Gives the function that says what it is to do; one that came before,
 * during the start, is made up for then.
 */
export function hangup(): (action: () => Promise<void>) => void {
  let isDue = false;
  let act = async (): Promise<void> => {
    isDue = true;
  };
  process.on("SIGHUP", () => void act());
  return (action) => {
    act = action;
    if (isDue) void action();
  };
}

function endWhenOverdue(): void {
  const overdue = setTimeout(() => {
    process.stderr.write("headgate: did not stop in time; what was committed is safe\n");
    endAtOnce(exitCode.crashed);
  }, stopDeadlineMs + 500);
  overdue.unref();
}

/** Resolves when nobody reads stdout any more, as behind `| head -1`; without a listener that would be a crash. */
export function stdoutClosed(): Promise<void> {
  return new Promise((resolve) => process.stdout.on("error", () => resolve()));
}

/**
 * Waits for one of the reasons to stop, stops within the deadline, and ends the process: what is to stay is safe then,
 * and whatever still hangs has been given up.
 */
export async function untilStopped(
  reasons: readonly Promise<unknown>[],
  stop: (deadline: AbortSignal) => Promise<void>,
  log: Logger,
): Promise<never> {
  await Promise.race(reasons);
  const deadline = AbortSignal.timeout(stopDeadlineMs);
  endWhenOverdue();
  try {
    await stop(deadline);
  } catch (error) {
    log.error({ reason: messageOf(error) }, "stopping failed");
    endAtOnce(exitCode.crashed);
  }
  endAtOnce(exitCode.stopped);
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
    endAtOnce(exitCode.crashed);
  };
}

/** Timers hold 32 bits; a longer one would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/** `30s`, `2m`, `500ms`, `1h`; a bare number is seconds. Undefined when it is none of these. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  if (!match) return undefined;
  const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] as "ms" | "s" | "m" | "h"] ?? 1_000;
  const ms = Math.round(Number(match[1]) * unit);
  return ms <= longestTimerMs ? ms : undefined;
}
