import { isAnswered, statusSocketPath } from "./api/status-socket.ts";
import { PermanentError, TransientError } from "./core/errors.ts";
import type { Logger } from "./core/logger.ts";

/**
 * Two gateways with one identity would take hub, broker and API from each other. A store that another program has is
 * waited for instead.
 * @throws PermanentError STORE_BUSY
 */
export async function refuseSecond(folder: string): Promise<void> {
  if (await isAnswered(statusSocketPath(folder)))
    throw new PermanentError("STORE_BUSY", `another gateway runs on the store in ${folder}`);
}

/** False when the store cannot be opened now; it is tried again with each commit. */
export async function opens(opening: Promise<void>, log: Logger): Promise<boolean> {
  try {
    await opening;
    return true;
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    log.error(
      { code: error.code, reason: error.message },
      "the store cannot be opened; it is tried for ever",
    );
    return false;
  }
}
