import { type ErrorCode, TransientError } from "./errors.ts";

/**
 * Awaits `work` for at most `ms`. The work itself cannot be cancelled (the SDK gives no way), so the caller
 * must discard whatever owns it. A late result is ignored, a late rejection does not surface as unhandled.
 *
 * @throws TransientError with `code` when the deadline passes first; the signal's reason when aborted.
 */
export async function within<T>(
  work: Promise<T>,
  ms: number,
  what: string,
  signal?: AbortSignal,
  code: ErrorCode = "HUB_TIMEOUT",
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TransientError(code, `${what}: no answer within ${ms} ms`)), ms);
  });
  try {
    const inTime = Promise.race([work, late]);
    return await (signal ? unlessAborted(inTime, signal) : inTime);
  } finally {
    clearTimeout(timer);
  }
}

/** Awaits `work` unless the signal is aborted before. @throws the signal's reason then */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let onAbort: (() => void) | undefined;
  work.catch(() => undefined);
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        onAbort = () => reject(signal.reason);
        if (signal.aborted) onAbort();
        signal.addEventListener("abort", onAbort, { once: true });
      }),
    ]);
  } finally {
    if (onAbort) signal.removeEventListener("abort", onAbort);
  }
}

/** Resolves when the signal is aborted, at once when it was before. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
