import type { Clock } from "./core/clock.ts";
import type { Logger } from "./core/logger.ts";
import type { HubClient, HubClientEvents } from "./hub/hub-client.ts";
import { HubLink, type HubLinkOptions, type HubLinkState } from "./hub/hub-link.ts";
import { UpstreamWatch, upstreamSettings } from "./hub/upstream-watch.ts";
import { type HubInForce, HubMove, type HubMoveOptions } from "./hub-move.ts";
import { type Demand, fullDemand, noDemand } from "./outbox/composer.ts";
import { HoldBack } from "./publish/hold-back.ts";
import { Publisher, type PublisherOptions, type PublishSettings } from "./publish/publisher.ts";
import type { HubInbox } from "./sources/hub-inbox.ts";

export interface HubSideOptions
  extends Pick<PublisherOptions, "next" | "acknowledge" | "reject" | "onFatal">,
    Pick<HubMoveOptions, "hub" | "outbox" | "onOtherTwin"> {
  /** Has messages made, as far as `demand` says. */
  readonly compose: () => void;
  /** A connection stands, and its twin may be used. */
  readonly onConnected: (client: HubClient) => Promise<void>;
  readonly onDesired: HubLinkOptions["onDesired"];
  readonly method: NonNullable<HubClientEvents["method"]>;
  /** Where what the hub brings goes. */
  readonly inbox: HubInbox;
  readonly clock: Clock;
  readonly log: Logger;
}

/** The end at the hub: the connection, what is known of the way behind it, the move to another, and the publisher. */
export class HubSide {
  readonly link: HubLink;
  readonly upstream: UpstreamWatch;
  readonly move: HubMove;
  readonly publisher: Publisher;
  readonly #options: HubSideOptions;
  readonly #refusals = new Set<string>();
  /** The present connection has subscribed to messages of the hub. */
  #takesInputs = false;

  constructor(options: HubSideOptions, inForce: HubInForce, settings: PublishSettings) {
    const { clock, compose, method, inbox } = options;
    const log = options.log.child({ stage: "hub" });
    this.#options = options;
    this.link = new HubLink({
      factory: inForce.factory,
      clock,
      log,
      onConnected: async (client) => {
        compose();
        if (await this.move.admits(client)) await options.onConnected(client);
      },
      onDesired: (patch) => {
        // After a trial that goes well the whole twin is read.
        if (!this.move.isTrying) options.onDesired(patch);
      },
      calls: () => {
        // Who wants none leaves them where they are.
        this.#takesInputs = inbox.isWanted;
        return {
          method,
          input: (message) => inbox.receive(message),
          wantsInputs: inbox.isWanted,
          refused: (what, reason) => this.#refused(what, reason),
        };
      },
      onState: (state) => inbox.follow(state),
      isEndExpected: () => this.publisher.isTryingSuspect,
    });
    inbox.onRelease(() => {
      if (this.#takesInputs !== inbox.isWanted) this.link.anew();
    });
    const wake = () => {
      compose();
      this.publisher.wake();
    };
    const holdBack = (of: ReturnType<typeof upstreamSettings>) => new HoldBack(of);
    this.upstream = new UpstreamWatch({ holdBack, clock, log, wake }, upstreamSettings(inForce.config));
    const { hub, outbox, onOtherTwin } = options;
    const { link, upstream } = this;
    const onOtherHub = () => {
      inbox.otherHub();
      this.publisher.otherHub();
    };
    this.move = new HubMove({ link, upstream, hub, outbox, onOtherHub, onOtherTwin, clock, log }, inForce);
    const { next, acknowledge, reject, onFatal } = options;
    this.publisher = new Publisher(
      {
        next,
        connected: (signal) => link.connected(signal),
        mayHandOver: () => upstream.mayHandOver,
        send: (message) => {
          upstream.handedOver();
          return this.move.send(message);
        },
        acknowledge,
        reject,
        onFatal,
        clock,
        log: options.log.child({ stage: "publish" }),
      },
      settings,
    );
  }

  /** While another hub is on trial, of that one. */
  get status(): HubLinkState & { readonly onTrial: boolean; readonly unclaimed: number } {
    const { link, move } = this;
    return { ...link.state, onTrial: move.isTrying, unclaimed: this.#options.inbox.unclaimed };
  }

  /** While messages are held back one may pass now and then, to see whether that is right. */
  get demand(): Demand {
    if (this.link.state.state !== "connected") return noDemand;
    const most = this.upstream.isHolding ? { alarm: 1, live: 1, backfill: 1 } : fullDemand;
    const { leftOut } = this.publisher;
    return leftOut ? { ...most, leftOut } : most;
  }

  /** Once in the log: it is so with each connection. */
  #refused(what: "methods" | "inputs", reason: string): void {
    const { inbox, log } = this.#options;
    if (what === "inputs") inbox.refused(`the hub refuses the subscription: ${reason}`);
    if (!this.#refusals.has(what)) log.warn({ reason }, `the hub refuses the subscription to ${what}`);
    this.#refusals.add(what);
  }

  start(): void {
    this.link.start();
    this.upstream.start();
  }

  /** Lets what is in the outbox go out, as long as the hub takes it and the signal allows. */
  async drain(signal: AbortSignal): Promise<void> {
    const { clock, outbox } = this.#options;
    while (
      this.link.state.state === "connected" &&
      this.upstream.mayHandOver &&
      outbox().messages > 0 &&
      !signal.aborted
    ) {
      await clock.sleep(50, signal).catch(() => undefined);
    }
  }

  async stop(): Promise<void> {
    const idle = Promise.all([this.upstream.stop(), this.publisher.stop()]);
    await this.link.stop();
    await idle;
  }
}
