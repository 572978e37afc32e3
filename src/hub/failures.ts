import { type ErrorCode, HeadgateError, messageOf, PermanentError, TransientError } from "../core/errors.ts";

/** The hub answered a twin request with another status than 2xx. */
export class TwinStatusError extends Error {
  readonly status: number;
  constructor(doing: string, status: number, cause?: Error | null) {
    super(`${doing} the twin: the hub answered ${status}${cause ? `, ${cause.message}` : ""}`);
    this.status = status;
  }
}

/**
 * Why no connection stands: CONNACK 2, 4 and 5 of MQTT 3.1.1 (section 3.2.2.3) are refusals. 3, the server is not
 * available, is the answer of a hub that starts or that throttles. All may pass: the operator mends the key, and
 * nobody restarts the gateway.
 */
export function connectFailure(cause: unknown, message: string): TransientError {
  if (cause instanceof TransientError) return cause;
  if (cause instanceof HeadgateError) return new TransientError(cause.code, cause.message, { cause });
  const returnCode = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const refused = returnCode === 2 || returnCode === 4 || returnCode === 5;
  const code: ErrorCode = refused ? "HUB_UNAUTHORIZED" : returnCode === 3 ? "HUB_BUSY" : "HUB_UNREACHABLE";
  return new TransientError(code, `connecting to the hub: ${message}`, { cause });
}

export function twinFailure(error: unknown, doing: string): Error {
  if (error instanceof HeadgateError) return error;
  const code: ErrorCode = error instanceof TwinStatusError ? "HUB_REJECTED" : "HUB_LOST";
  // A 4xx to a report is about its content, but for throttling; repeating it would be refused again.
  if (error instanceof TwinStatusError && error.status >= 400 && error.status < 500 && error.status !== 429) {
    return new PermanentError(code, error.message, { cause: error });
  }
  return new TransientError(code, `${doing}: ${messageOf(error)}`, { cause: error });
}
