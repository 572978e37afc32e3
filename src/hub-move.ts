import type { HubConfig } from "./config/schema.ts";
import type { Clock } from "./core/clock.ts";
import { ConfigError, HeadgateError, PermanentError, TransientError } from "./core/errors.ts";
import type { Logger } from "./core/logger.ts";
import type { HubClient, HubClientFactory, HubMessage, TwinClient } from "./hub/hub-client.ts";
import { hubClientFactory } from "./hub/hub-factory.ts";
import type { HubLink } from "./hub/hub-link.ts";
import { type UpstreamWatch, upstreamSettings } from "./hub/upstream-watch.ts";
import { version } from "./version.ts";

export interface HubInForce {
  readonly config: HubConfig;
  readonly factory: HubClientFactory;
}

export interface HubMoveOptions {
  readonly link: HubLink;
  readonly upstream: UpstreamWatch;
  /** The factory of a hub's clients. */
  readonly hub: (config: HubConfig) => Promise<HubInForce>;
  /** As of the last commit. */
  readonly outbox: () => { readonly entries: number; readonly messages: number };
  /** From here on messages go to another hub. */
  readonly onOtherHub: () => void;
  /** The twin of the present connection is no more the one that was read. */
  readonly onOtherTwin: () => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What the hub on trial has shown so far. */
interface Trial {
  isConfirmed: boolean;
  /** `none` as long as no connection with a twin was seen. */
  twin: "none" | "asked" | "answered";
  refusal: string | undefined;
  /** True when the hub is kept. */
  readonly ended: Promise<boolean>;
}

/** Between looks at how a trial stands. */
const lookMs = 50;

/** The clients of a hub as configured. */
export async function hubOf(config: HubConfig, gateway: string, environment: NodeJS.ProcessEnv) {
  return { config, factory: await hubClientFactory(config, gateway, environment, `headgate/${version}`) };
}

/**
 * Moves the outbox to another hub, on trial: unless that one proves itself, everything goes back to the hub before.
 *
 * - The proof is a message that the hub confirms.
 * - While the outbox is empty it is an answer of the hub's twin: the hub knows this identity, and talks to it.
 * - With no message to send, and no twin or one that answered, it is a connection that stands when the time is over; a
 *   hub must not be given up because the field is quiet.
 *
 * A message that the hub on trial refuses is not rejected for that, but ends the trial: the hub before may take it.
 */
export class HubMove {
  readonly #options: HubMoveOptions;
  #inForce: HubInForce;
  #trial: Trial | undefined;
  readonly #stop = new AbortController();
  #moves = 0;

  constructor(options: HubMoveOptions, inForce: HubInForce) {
    this.#options = options;
    this.#inForce = inForce;
  }

  get isTrying(): boolean {
    return this.#trial !== undefined;
  }

  /** How often another hub was taken: what the twin of the hub before wanted counts no more. */
  get moves(): number {
    return this.#moves;
  }

  /** Ends a trial, which has failed then. */
  stop(): void {
    this.#stop.abort();
  }

  async send(message: HubMessage): Promise<void> {
    const trial = this.#trial;
    try {
      await this.#options.link.send(message);
      if (trial) trial.isConfirmed = true;
    } catch (error) {
      if (!trial || !(error instanceof PermanentError)) throw error;
      trial.refusal = error.message;
      throw new TransientError(error.code, error.message, { cause: error });
    }
  }

  /** Rejects during a trial: neither twin is to be read or written then. */
  async withTwin<T>(call: (twin: TwinClient) => Promise<T>): Promise<T> {
    if (this.#trial) throw new TransientError("HUB_LOST", "another hub is on trial");
    return await this.#options.link.withTwin(call);
  }

  /** A connection stands. Resolves true when its twin may be used, which is after a trial that went well. */
  async admits({ twin }: HubClient): Promise<boolean> {
    const trial = this.#trial;
    if (!trial) return true;
    if (!twin) return false;
    if (trial.twin === "none") trial.twin = "asked";
    try {
      await twin.subscribe();
      await twin.get();
      trial.twin = "answered";
    } catch (error) {
      // Refused for now, as by a hub that is throttled: messages may still prove it.
      if (!(error instanceof HeadgateError) || error.code !== "HUB_REJECTED") throw error;
    }
    return await trial.ended;
  }

  /**
   * Takes another hub. `adopt` makes it last, and runs when the hub has proved itself.
   * @throws ConfigError HUB_TRIAL_FAILED; TransientError of a stop; whatever `adopt` throws. The hub before is taken
   * again then.
   */
  async to(config: HubConfig, adopt: () => void): Promise<void> {
    const { hub, onOtherTwin, log } = this.#options;
    const before = this.#inForce;
    const next = await hub(config);
    let end: (isKept: boolean) => void = () => undefined;
    const ended = new Promise<boolean>((resolve) => {
      end = resolve;
    });
    const trial: Trial = { isConfirmed: false, twin: "none", refusal: undefined, ended };
    log.info(
      { from: before.config.type, to: config.type, trialMs: config.trialMs },
      "another hub is on trial",
    );
    this.#trial = trial;
    await this.#use(next);
    try {
      await this.#prove(trial, config);
      adopt();
      this.#inForce = next;
      this.#moves++;
      log.info({ to: config.type }, "the hub is taken");
    } catch (error) {
      await this.#use(before);
      throw error;
    } finally {
      this.#trial = undefined;
      if (this.#inForce === next) onOtherTwin();
      end(this.#inForce === next);
    }
  }

  async #use({ config, factory }: HubInForce): Promise<void> {
    const { link, upstream, onOtherHub } = this.#options;
    onOtherHub();
    link.use(factory);
    await upstream.configure(upstreamSettings(config));
  }

  async #prove(trial: Trial, { trialMs }: HubConfig): Promise<void> {
    const { link, outbox, clock } = this.#options;
    const { signal } = this.#stop;
    const endMs = clock.monotonic() + trialMs;
    while (!trial.isConfirmed) {
      const { entries, messages } = outbox();
      const { state, reason } = link.state;
      if (trial.refusal !== undefined) throw failed(`it refused a message: ${trial.refusal}`);
      if (trial.twin === "answered" && entries === 0 && messages === 0) return;
      if (clock.monotonic() >= endMs) {
        const isQuiet = messages === 0 && trial.twin !== "asked";
        if (state === "connected" && isQuiet) return;
        const connected = messages === 0 ? "its twin does not answer" : "it confirmed no message";
        throw failed(
          `within ${trialMs} ms: ${state === "connected" ? connected : (reason ?? "no connection")}`,
        );
      }
      await clock.sleep(lookMs, signal).catch(() => undefined);
      if (signal.aborted) throw new TransientError("HUB_LOST", "stopped during the trial of a hub");
    }
  }
}

function failed(reason: string): ConfigError {
  const message = `the hub did not prove itself, and the one before is taken again: ${reason}`;
  return new ConfigError("HUB_TRIAL_FAILED", [{ path: "hub", message }]);
}
