import { PermanentError, TransientError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { enterPhase } from "../core/phase.ts";
import type { HubMessage } from "../hub/hub-client.ts";
import type { OutboxMessage } from "../outbox/outbox.ts";

export interface PublisherOptions {
  /** The first message behind `sequence`, if there is one. */
  readonly next: (sequence: number) => Promise<OutboxMessage | undefined>;
  /** Resolves when a connection stands. */
  readonly connected: (signal: AbortSignal) => Promise<void>;
  /** Asked before each message; when the answer changes, `wake` tells. */
  readonly mayHandOver: () => boolean;
  readonly send: (message: HubMessage) => Promise<void>;
  readonly acknowledge: (sequence: number) => void;
  readonly reject: (sequence: number) => void;
  /** Waits before the next try after a failure of `next`. */
  readonly pause: (signal: AbortSignal) => Promise<void>;
  readonly onFatal: (error: unknown) => void;
  readonly log: Logger;
}

export interface PublisherStatus {
  readonly sent: number;
  readonly repeated: number;
  readonly rejected: number;
}

/**
 * Hands messages to the hub, one in flight, in order: the next goes out when the last was confirmed,
 * so a lost connection can repeat a message but never put it behind its successor.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #stop = new AbortController();
  #status: PublisherStatus = { sent: 0, repeated: 0, rejected: 0 };
  /** Sequence of the last message that is done with. */
  #done = 0;
  /** Counts the times the store was opened: what was done in an earlier round says nothing of this one. */
  #round = 0;
  #wake: (() => void) | undefined;
  /** Set when a wake came while nobody slept. */
  #awake = false;
  #running: Promise<void> | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  get status(): PublisherStatus {
    return this.#status;
  }

  start(): void {
    this.#running ??= this.#run().catch((error) => this.#options.onFatal(error));
  }

  /** The store was opened again: what it holds is looked at from its beginning. */
  restart(): void {
    this.#done = 0;
    this.#round++;
    this.wake();
  }

  /** There may be something new in the outbox, or something held back may go. */
  wake(): void {
    this.#awake = true;
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new TransientError("HUB_LOST", "stopped"));
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { mayHandOver, acknowledge, reject, log } = this.#options;
    while (!this.#stop.signal.aborted) {
      this.#awake = false;
      const message = mayHandOver() ? await this.#next() : undefined;
      const round = this.#round;
      if (!message) {
        await this.#sleep();
        continue;
      }
      try {
        await this.#deliver(message);
        acknowledge(message.sequence);
        this.#status = { ...this.#status, sent: this.#status.sent + 1 };
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (!(error instanceof PermanentError)) throw error;
        log.error({ message: message.id, reason: error.message }, "the hub refused a message for good");
        reject(message.sequence);
        this.#status = { ...this.#status, rejected: this.#status.rejected + 1 };
      }
      if (round === this.#round) this.#done = message.sequence;
    }
  }

  /** A store that cannot be read now is asked again. */
  async #next(): Promise<OutboxMessage | undefined> {
    const { next, pause, log } = this.#options;
    for (let trouble = ""; ; ) {
      try {
        return await next(this.#done);
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
        if (this.#stop.signal.aborted) return undefined;
        if (error.message !== trouble) log.warn({ reason: error.message }, "the outbox cannot be read");
        trouble = error.message;
        await pause(this.#stop.signal).catch(() => undefined);
      }
    }
  }

  /** Sends until the hub confirms or refuses; the link behind it reconnects and waits. */
  async #deliver(message: OutboxMessage): Promise<void> {
    const { connected, send } = this.#options;
    for (;;) {
      await connected(this.#stop.signal);
      try {
        enterPhase("publish");
        await send(message);
        return;
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
        this.#status = { ...this.#status, repeated: this.#status.repeated + 1 };
      }
    }
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#awake || this.#stop.signal.aborted) return resolve();
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
