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
  /** What becomes of the messages under way, by what tells a repeat. */
  readonly #underWay = new Map<string, Promise<void>>();
  #waiting = 0;
  #isHeld = false;
  #isClosed = false;
  #unclaimed = 0;
  readonly #named = new Set<string>();
  #refusal: string | undefined;
  #onRelease: () => void = () => undefined;

  constructor(clock: Clock, log: Logger) {
    super();
    this.#clock = clock;
    this.#log = log;
  }

  /** Messages that no source took. */
  get unclaimed(): number {
    return this.#unclaimed;
  }

  /** Some source takes messages of the hub. */
  get isWanted(): boolean {
    return this.#takers.size > 0;
  }

  /** Called at the end of each change of the sources. */
  onRelease(listener: () => void): void {
    this.#onRelease = listener;
  }

  /** What is under way is no repeat of what comes from now on. */
  otherHub(): void {
    this.#underWay.clear();
  }

  /** The way in is open while the hub is connected. An attempt to connect is no change. */
  follow({ state, reason }: HubLinkState): void {
    const refusal = this.#refusal;
    if (state === "connecting") this.#refusal = undefined;
    else if (state !== "connected") this.set({ state: "absent", reason });
    else if (refusal !== undefined) this.set({ state: "failed", reason: refusal });
    else this.set({ state: "open", reason: undefined });
  }

  /** The hub of the connection that is made does not let this gateway take its messages. */
  refused(reason: string): void {
    this.#refusal = reason;
  }

  /** `input` undefined: what no other source names, and what comes from the cloud to a device. Returns what ends it. */
  attach(input: string | undefined, taker: InputTaker): () => void {
    this.#takers.set(input, taker);
    return () => {
      // After the close there is nobody to follow, and what the hub has its answer of must go somewhere.
      if (this.#takers.get(input) === taker && !this.#isClosed) this.#takers.delete(input);
    };
  }

  /** Messages wait: one source may go now, and another come for the same input. */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#onRelease();
  }

  /** What waits for an acknowledgement is not taken any more: it comes again. */
  close(): void {
    this.#isClosed = true;
  }

  /**
   * Resolves when the message may be acknowledged, which is after the commit. A message that the hub repeats because its
   * commit takes long is the same one. There is no deadline: the hub keeps what is not acknowledged, and waits as well.
   * @throws TransientError when the hub should send it again
   */
  receive(message: InputMessage): Promise<void> {
    const key = repeatKey(message);
    const known = key === undefined ? undefined : this.#underWay.get(key);
    if (known) return known;
    const received = this.#receive(message);
    if (key === undefined) return received;
    this.#underWay.set(key, received);
    const done = () => {
      if (this.#underWay.get(key) === received) this.#underWay.delete(key);
    };
    received.then(done, done);
    return received;
  }

  async #receive(message: InputMessage): Promise<void> {
    if (this.#waiting >= maxUnderWay) {
      if (message.waits) throw new TransientError("STORE_FULL", "too many messages of the hub wait already");
      this.#discard(message, "too many messages of the hub wait");
      return;
    }
    this.#waiting++;
    try {
      const turn = this.#last.then(() => this.#admit(message));
      this.#last = turn.catch(() => undefined);
      const taker = await turn;
      if (message.waits) await taker?.committed();
    } finally {
      this.#waiting--;
    }
  }

  async #admit(message: InputMessage): Promise<InputTaker | undefined> {
    for (;;) {
      if (this.#isClosed && message.waits) throw new TransientError("HUB_LOST", "the gateway stops");
      const mayWait = this.#isHeld && !this.#isClosed;
      const taker = this.#takers.get(message.input) ?? (mayWait ? undefined : this.#takers.get(undefined));
      if (taker?.take(message)) return taker;
      if (!taker && !mayWait) {
        this.#discard(message, "no source takes messages of this input");
        return undefined;
      }
      await this.#clock.sleep(lookMs);
    }
  }

  #discard({ input = "(cloud to device)" }: InputMessage, why: string): void {
    this.#unclaimed++;
    if (this.#named.has(input) || this.#named.size >= maxNamed) return;
    this.#named.add(input);
    this.#log.warn({ input }, `${why}: they are counted and discarded`);
  }
}

/**
 * What edge hub sends again when it had no acknowledgement for a while has the same body; of one input it has only one
 * under way, so another message cannot be meant. Of the other properties some change with each try.
 */
function repeatKey({ waits, input, id, properties, body }: InputMessage): string | undefined {
  if (!waits || input === undefined) return undefined;
  const from = JSON.stringify([input, id, properties["$.cdid"], properties["$.cmid"]]);
  return `${from}\n${Buffer.from(body.buffer, body.byteOffset, body.length).toString("latin1")}`;
}
