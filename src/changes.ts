import type { CheckedConfig } from "./config/check.ts";
import type { Candidate, Configuration } from "./config/configuration.ts";
import { provenAfterMs } from "./config/last-good.ts";
import type { Clock } from "./core/clock.ts";
import { ConfigError, HeadgateError, messageOf, TransientError } from "./core/errors.ts";
import type { JsonObject } from "./core/json.ts";
import type { Logger } from "./core/logger.ts";
import type { HubMove } from "./hub-move.ts";
import type { HubInbox } from "./sources/hub-inbox.ts";

export interface ChangesOptions {
  readonly configuration: Configuration;
  readonly move: HubMove;
  /** Where messages of the hub wait meanwhile: their source may be part of the change. */
  readonly inbox: Pick<HubInbox, "hold" | "release">;
  /** Brings the stages to what was adopted. */
  readonly enforce: (checked: CheckedConfig) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Changes of the configuration while the gateway runs, by twin and by file, one after the other, each whole or not. */
export class Changes {
  readonly #options: ChangesOptions;
  #last: Promise<void> = Promise.resolve();
  /** Hash of the configuration that the stages were brought to: one that was adopted may have failed there. */
  #enforced: string;
  /** Monotonic ms since which they are. */
  #enforcedMs: number;
  #isReloadDue = false;
  #isClosed = false;

  constructor(options: ChangesOptions) {
    this.#options = options;
    this.#enforced = options.configuration.current.hash;
    this.#enforcedMs = options.clock.monotonic();
  }

  /** Keeps the way back open for a configuration that is not in force, or not for long enough. */
  prove(): void {
    const { configuration, clock } = this.#options;
    const isInForce = configuration.current.hash === this.#enforced;
    if (isInForce && clock.monotonic() - this.#enforcedMs >= provenAfterMs) configuration.prove();
  }

  /**
   * `patch` is what has just changed in the twin, if that is known.
   * @throws ConfigError when the twin is refused; TransientError when this cannot be said now
   */
  async twin(twin: JsonObject, version: number | undefined, patch: JsonObject | undefined): Promise<void> {
    const { configuration, move } = this.#options;
    const { moves } = move;
    await this.#inTurn(async () => {
      if (moves !== move.moves) throw new TransientError("HUB_LOST", "another hub was taken meanwhile");
      await this.#take(configuration.candidate(twin, patch), version);
    });
  }

  /** Reads the configuration file again; the outcome is one line in the log. Never rejects. */
  async reload(): Promise<void> {
    const { configuration, log } = this.#options;
    // One that waits for its turn will read what is there then.
    if (this.#isReloadDue || this.#isClosed) return;
    this.#isReloadDue = true;
    await this.#inTurn(async () => {
      this.#isReloadDue = false;
      await this.#take(configuration.reread(), configuration.twinVersion);
      log.info({ hash: configuration.current.hash }, "the configuration file was read again and is in force");
    }).catch((error: unknown) => {
      const code = error instanceof HeadgateError ? error.code : undefined;
      const path = error instanceof ConfigError ? error.problems[0]?.path : undefined;
      const message = "the configuration file was read again and is refused; the running configuration stays";
      log.error({ code, path, reason: messageOf(error) }, message);
    });
  }

  /** Nothing is changed any more; resolves when a change under way is done with. */
  async stop(): Promise<void> {
    this.#isClosed = true;
    this.#options.move.stop();
    await this.#last;
  }

  async #inTurn(change: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(() => {
      if (this.#isClosed) throw new TransientError("HUB_LOST", "the gateway stops");
      return change();
    });
    this.#last = turn.catch(() => undefined);
    await turn;
  }

  async #take(candidate: Candidate, twinVersion: number | undefined): Promise<void> {
    const { configuration, move, inbox, enforce, clock } = this.#options;
    const before = configuration.current;
    const adopt = () => configuration.adopt(candidate, twinVersion, clock.wall());
    if (candidate.isOtherHub) {
      configuration.blame(candidate.hash, clock.wall());
      try {
        await move.to(candidate.config.hub, adopt);
      } catch (error) {
        configuration.blame(before.hash, clock.wall());
        throw error;
      }
    } else adopt();
    if (candidate.hash === this.#enforced) return;
    inbox.hold();
    try {
      await enforce(candidate);
      this.#enforced = candidate.hash;
      this.#enforcedMs = clock.monotonic();
    } finally {
      inbox.release();
    }
  }
}
