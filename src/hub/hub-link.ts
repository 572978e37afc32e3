import type { Clock } from "../core/clock.ts";
import { type ErrorCode, HeadgateError, messageOf, PermanentError, TransientError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { HubClient, HubClientEvents, HubClientFactory, HubMessage } from "./hub-client.ts";
import { hubSchedules, Pace, type Schedules } from "./pace.ts";

export interface HubLinkState {
  readonly state: "connecting" | "connected" | "disconnected" | "stopped";
  readonly reason: string | undefined;
  readonly code: ErrorCode | undefined;
  /** Clients made so far; more than one means that the connection was rebuilt. */
  readonly clients: number;
}

export interface HubLinkOptions {
  readonly factory: HubClientFactory;
  readonly clock: Clock;
  readonly log: Logger;
  /** Runs once per connection, right after it stands; a rejection means that the connection is of no use. */
  readonly onConnected: (client: HubClient) => Promise<void>;
  readonly onDesired: HubClientEvents["desired"];
  /** What the hub asks of the gateway, and brings to it, on the connection that is made now. */
  readonly calls?: () => Pick<HubClientEvents, "method" | "input" | "wantsInputs" | "refused">;
  readonly onState?: (state: HubLinkState) => void;
  /** A message is being sent at which the hub is known to end the connection. */
  readonly isEndExpected?: () => boolean;
  readonly schedules?: Schedules;
}

const takenOver = {
  reason: "the hub ends one connection after the other: another client seems to have the same identity",
  code: "HUB_TAKEN_OVER",
} as const;

/** The one reconnect loop: makes a client, uses it until it is lost, closes it, waits, makes another, for ever. */
export class HubLink {
  readonly #options: HubLinkOptions;
  #factory: HubClientFactory;
  #pace: Pace;
  /** Ends the wait before the next connection. */
  #pause = new AbortController();
  readonly #stop = new AbortController();
  #client: HubClient | undefined;
  /** Calls under way: nobody waits for an answer of a connection that is gone. */
  #calls = new Set<(reason: unknown) => void>();
  #lose: ((reason: Error) => void) | undefined;
  #waiting: (() => void)[] = [];
  #state: HubLinkState = { state: "stopped", reason: undefined, code: undefined, clients: 0 };
  #running: Promise<void> | undefined;

  constructor(options: HubLinkOptions) {
    this.#options = options;
    this.#factory = options.factory;
    this.#pace = new Pace(options.schedules ?? hubSchedules);
  }

  get state(): HubLinkState {
    return this.#state;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** From now on connections come of this factory, the first of them at once; calls under way fail. */
  use(factory: HubClientFactory): void {
    this.#factory = factory;
    this.#pace = new Pace(this.#options.schedules ?? hubSchedules);
    this.#client = undefined;
    this.#lose?.(new TransientError("HUB_LOST", "the connection is made anew, with other settings"));
    this.#pause.abort();
  }

  /** Makes the connection anew, with what is subscribed now. */
  anew(): void {
    this.use(this.#factory);
  }

  /** Ends the loop and closes the client, which has a deadline of its own. */
  async stop(): Promise<void> {
    this.#stop.abort(new TransientError("HUB_LOST", "stopped"));
    this.#lose?.(new TransientError("HUB_LOST", "stopped"));
    this.#wake();
    await this.#running;
  }

  /** Resolves when a connection stands, at once or later; rejects when the link or the signal stops. */
  async connected(signal: AbortSignal): Promise<void> {
    while (!this.#client) {
      signal.throwIfAborted();
      this.#stop.signal.throwIfAborted();
      await new Promise<void>((resolve, reject) => {
        const onAbort = () => reject(signal.reason);
        signal.addEventListener("abort", onAbort, { once: true });
        this.#waiting.push(() => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        });
      });
    }
  }

  /**
   * Sends over the present connection. A transient failure, our deadline included, gives the connection up:
   * a client that left one call unanswered is not trusted with another.
   */
  async send(message: HubMessage): Promise<void> {
    await this.#call((client) => client.send(message));
  }

  /** Like `send`, for twin calls; rejects when the hub has no twins. */
  async withTwin<T>(call: (twin: NonNullable<HubClient["twin"]>) => Promise<T>): Promise<T> {
    return await this.#call(async (client) => {
      if (!client.twin) throw new PermanentError("HUB_NO_TWIN", "this hub has no twin");
      return call(client.twin);
    });
  }

  async #call<T>(call: (client: HubClient) => Promise<T>): Promise<T> {
    const client = this.#client;
    const lose = this.#lose;
    if (!client || !lose) throw new TransientError("HUB_LOST", "not connected");
    try {
      // Not a race with one promise per connection: each race would stay in it for as long as the connection stands.
      return await new Promise<T>((resolve, reject) => {
        const calls = this.#calls;
        calls.add(reject);
        const done = () => calls.delete(reject);
        call(client).then(resolve, reject).finally(done);
      });
    } catch (error) {
      // An answer, even a refusal, shows that the connection lives.
      if (error instanceof TransientError && error.code !== "HUB_REJECTED") lose(error);
      throw error;
    }
  }

  async #run(): Promise<void> {
    const { clock, onConnected, onDesired, calls: offered } = this.#options;
    const { signal } = this.#stop;
    let clients = 0;
    while (!signal.aborted) {
      clients++;
      const factory = this.#factory;
      const pace = this.#pace;
      this.#set({ ...this.#state, state: "connecting", clients });
      const calls = new Set<(reason: unknown) => void>();
      this.#calls = calls;
      let lose: (reason: Error) => void = () => undefined;
      let isExplained: boolean | undefined;
      const lost = new Promise<never>((_, reject) => {
        lose = (reason) => {
          // Asked before the calls under way hear of it: what they conclude is not so yet.
          isExplained ??= this.#options.isEndExpected?.() ?? false;
          reject(reason);
          for (const call of calls) call(reason);
        };
      });
      lost.catch(() => undefined);
      const client = factory({ lost: lose, desired: onDesired, ...offered?.() });
      let connectedAt: number | undefined;
      let reason = new Error();
      try {
        // A stop ends the wait for a connection as well.
        this.#lose = lose;
        await Promise.race([client.connect(), lost]);
        // It stood for a moment, and another hub is wanted.
        if (factory !== this.#factory) await lost;
        connectedAt = clock.monotonic();
        this.#client = client;
        // Before the twin is there: a hub whose twin does not answer still takes messages.
        this.#set({ state: "connected", reason: undefined, code: undefined, clients });
        this.#wake();
        await Promise.race([onConnected(client), lost]);
        await lost;
      } catch (error) {
        reason = error instanceof Error ? error : new Error(messageOf(error));
        // Also when the twin failed and not the connection: calls under way must not wait for a client that goes.
        lose(reason);
      }
      this.#client = undefined;
      this.#lose = undefined;
      const stoodMs = connectedAt === undefined ? undefined : clock.monotonic() - connectedAt;
      const code = reason instanceof HeadgateError ? reason.code : undefined;
      pace.ended(code, stoodMs, isExplained);
      this.#set({
        state: signal.aborted ? "stopped" : "disconnected",
        ...(pace.isTakenOver && code === "HUB_LOST" ? takenOver : { reason: reason.message, code }),
        clients,
      });
      await client.close();
      if (signal.aborted) break;
      if (factory !== this.#factory) continue;
      this.#pause = new AbortController();
      const pause = AbortSignal.any([signal, this.#pause.signal]);
      await clock.sleep(pace.pauseMs(Math.random()), pause).catch(() => undefined);
    }
    this.#set({ state: "stopped", reason: undefined, code: undefined, clients });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** One log line when the state or its reason changes, however many attempts repeat it. */
  #set(next: HubLinkState): void {
    const before = this.#state;
    this.#state = next;
    const { log, onState } = this.#options;
    onState?.(next);
    if (next.state === "connected" && before.state !== "connected")
      log.info({ clients: next.clients }, "hub connected");
    if (next.state === "disconnected" && next.reason !== before.reason) {
      log.warn({ code: next.code, reason: next.reason }, "hub disconnected");
    }
  }
}
