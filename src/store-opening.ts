import { isAnswered, statusSocketPath } from "./api/status-socket.ts";
import { PermanentError, TransientError } from "./core/errors.ts";
import type { Logger } from "./core/logger.ts";
import type { Opened } from "./store/contract.ts";
import type { Damage } from "./store/state.ts";

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

/** `before`: the damage that is known already. */
export function logOpened(
  { status: { damage }, replayed, isFallback }: Opened,
  folder: string,
  before: Damage | undefined,
  log: Logger,
): void {
  if (isFallback) {
    const message = "the store is of a newer version, and stays as it is; another file stands in for it";
    log.error({ code: "STORE_NEWER" }, message);
  }
  log.info({ store: folder, replayed }, "store opened");
  if (damage && damage.atMs !== before?.atMs)
    log.error({ ...damage }, "the store was damaged; what could be read goes on");
}
