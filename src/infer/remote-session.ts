import { setTimeout as delay } from "node:timers/promises";
import type { RemoteConfig } from "../config/schema.ts";
import { TransientError } from "../core/errors.ts";
import { ScoreSession } from "./remote-score.ts";
import { V2Session } from "./remote-v2.ts";
import { placeOf, ScorerConnection } from "./scorer-connection.ts";
import { type RemoteSession, trySession } from "./session.ts";

/** A scorer, the token itself, and how long it may take to answer. */
export interface RemotePlace {
  readonly remote: RemoteConfig;
  readonly token: string | undefined;
  readonly timeoutMs: number;
}

/**
 * A scorer elsewhere that answered, and was tried once.
 * @throws TransientError MODEL_UNAVAILABLE when it does not answer now; Error with what is wrong with its answers
 */
export async function openRemote(place: RemotePlace): Promise<RemoteSession> {
  const { remote, token } = place;
  const connection = new ScorerConnection(remote.url, token);
  return await inTime(place, async (signal) => {
    const session =
      remote.protocol === "score"
        ? new ScoreSession(remote.url, remote.size, connection)
        : await V2Session.open(remote, connection, signal);
    await trySession(session, signal);
    connection.quotes = true;
    return session;
  });
}

/**
 * Looks every so often whether a scorer that nobody asks is still there. Never resolves.
 * @throws TransientError MODEL_UNAVAILABLE when it is not
 */
export async function watchRemote(
  place: RemotePlace,
  session: RemoteSession,
  isIdle: () => boolean,
): Promise<never> {
  for (;;) {
    await delay(place.remote.intervalMs);
    if (isIdle()) await inTime(place, (signal) => session.look(signal));
  }
}

async function inTime<T>(
  { remote, timeoutMs }: RemotePlace,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await work(signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    const message = `${placeOf(remote.url)}: no answer within ${timeoutMs} ms`;
    throw new TransientError("MODEL_UNAVAILABLE", message, { cause: error });
  }
}
