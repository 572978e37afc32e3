import type { RemoteConfig } from "../config/schema.ts";
import { TransientError } from "../core/errors.ts";
import { ScoreSession } from "./remote-score.ts";
import { V2Session } from "./remote-v2.ts";
import { placeOf, ScorerConnection } from "./scorer-connection.ts";
import { type Session, trySession } from "./session.ts";

/**
 * A scorer elsewhere that answered, and was tried once.
 * @throws TransientError MODEL_UNAVAILABLE when it does not answer now; Error with what is wrong with its answers
 */
export async function openRemote(
  remote: RemoteConfig,
  token: string | undefined,
  timeoutMs: number,
): Promise<Session> {
  const connection = new ScorerConnection(remote.url, token);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const session =
      remote.protocol === "score"
        ? new ScoreSession(remote.url, remote.size, connection)
        : await V2Session.open(remote, connection, signal);
    await trySession(session, signal);
    connection.quotes = true;
    return session;
  } catch (error) {
    connection.close();
    if (!signal.aborted) throw error;
    const message = `${placeOf(remote.url)}: no answer within ${timeoutMs} ms`;
    throw new TransientError("MODEL_UNAVAILABLE", message, { cause: error });
  }
}
