import type { Clock } from "../core/clock.ts";
import { TransientError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { InputMessage } from "../hub/hub-client.ts";
import type { HubLinkState } from "../hub/hub-link.ts";
import { Door } from "./door.ts";

/** What a source does with the messages of its input. */
export interface InputTaker {
  /** False when there is no room for a message that waits. */
  take(message: InputMessage): boolean;
  committed(): Promise<void>;
}

/** Edge hub has one unanswered message per connection under way, IoT Hub fifty (cloud-to-device). */
const maxUnderWay = 200;
/** Between looks for room, and for the end of a change of the configuration. */
const lookMs = 20;
/** A change that takes longer has failed. */
const maxHoldMs = 30_000;
/** Inputs that the log names; messages of others are counted all the same. */
const maxNamed = 100;

/**
 * Brings the messages of the hub to the sources that take them, one after the other.
 * A message that no source takes is acknowledged, or it would keep those behind it waiting at the hub; it is counted.
 */
export class HubInbox extends Door {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #takers = new Map<string | undefined, InputTaker>();
  #last: Promise<unknown> = Promise.resolve();
  #underWay = 0;
  #heldSinceMs: number | undefined;
  #unclaimed = 0;
  #isClosed = false;
  readonly #named = new Set<string>();

  constructor(clock: Clock, log: Logger) {
    super();
    this.#clock = clock;
    this.#log = log;
  }

  /** Messages that no source took. */
  get unclaimed(): number {
    return this.#unclaimed;
  }

  /** The way in is open while the hub is connected. An attempt to connect is no change. */
  follow({ state, reason }: HubLinkState): void {
    if (state === "connected") this.set({ state: "open", reason: undefined });
    else if (state !== "connecting") this.set({ state: "absent", reason });
  }

  /** `input` undefined: what no other source names, and what comes from the cloud to a device. Returns what ends it. */
  attach(input: string | undefined, taker: InputTaker): () => void {
    this.#takers.set(input, taker);
    return () => {
      if (this.#takers.get(input) === taker) this.#takers.delete(input);
    };
  }

  /** Messages wait: one source may go now, and another come for the same input. */
  hold(): void {
    this.#heldSinceMs ??= this.#clock.monotonic();
  }

  release(): void {
    this.#heldSinceMs = undefined;
  }

  /** Nothing is taken any more; what is not acknowledged comes again. */
  close(): void {
    this.#isClosed = true;
  }

  /**
   * Resolves when the message may be acknowledged, which is after the commit.
   * @throws TransientError when the hub should send it again
   */
  async receive(message: InputMessage): Promise<void> {
    if (this.#underWay >= maxUnderWay) {
      if (message.waits) throw new TransientError("STORE_FULL", "too many messages of the hub wait already");
      this.#discard(message, "too many messages of the hub wait");
      return;
    }
    this.#underWay++;
    try {
      const turn = this.#last.then(() => this.#admit(message));
      this.#last = turn.catch(() => undefined);
      const taker = await turn;
      if (message.waits) await taker?.committed();
    } finally {
      this.#underWay--;
    }
  }

  async #admit(message: InputMessage): Promise<InputTaker | undefined> {
    for (;;) {
      if (this.#isClosed) throw new TransientError("HUB_LOST", "the gateway stops");
      const taker = this.#takers.get(message.input) ?? this.#takers.get(undefined);
      if (taker?.take(message)) return taker;
      if (!taker && !this.#isHeld) {
        this.#discard(message, "no source takes messages of this input");
        return undefined;
      }
      await this.#clock.sleep(lookMs);
    }
  }

  get #isHeld(): boolean {
    return this.#heldSinceMs !== undefined && this.#clock.monotonic() - this.#heldSinceMs < maxHoldMs;
  }

  #discard({ input = "(cloud to device)" }: InputMessage, why: string): void {
    this.#unclaimed++;
    if (this.#named.has(input) || this.#named.size >= maxNamed) return;
    this.#named.add(input);
    this.#log.warn({ input }, `${why}: they are counted and discarded`);
  }
}
