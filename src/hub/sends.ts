import { HeadgateError, InvariantError, TransientError } from "../core/errors.ts";

/** Calls back when the hub has confirmed the message; never, when the connection goes before. */
type Publish = (topic: string, payload: Buffer, confirmed: (error?: Error | null) => void) => void;

/** Far above what the publisher keeps in flight, far below what packet identifiers allow (65,535). */
const maxPending = 4_096;

interface Send {
  readonly topic: string;
  readonly payload: Buffer;
  /** Of the monotonic clock, ms. */
  readonly deadline: number;
  state: "waiting" | "inFlight" | "settled";
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/**
 * The messages of one client: many in flight, in the order of the calls, each with its own deadline.
 * While there is no `publish`, they wait, still in that order.
 */
export class Sends {
  readonly #timeoutMs: number;
  /** In the order of the calls, which is the order of their deadlines: one timer does for all. */
  readonly #pending = new Set<Send>();
  #timer: NodeJS.Timeout | undefined;
  #waiting: Send[] = [];
  #inFlight = 0;
  #publish: Publish | undefined;
  #idle: (() => void) | undefined;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Rejects with TransientError HUB_TIMEOUT, or whatever `publish` or `fail` gave. */
  add(topic: string, payload: Buffer): Promise<void> {
    if (this.#pending.size >= maxPending) throw new InvariantError(`more than ${maxPending} sends at a time`);
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + this.#timeoutMs;
      const send: Send = { topic, payload, deadline, state: "waiting", resolve, reject };
      this.#pending.add(send);
      this.#timer ??= setTimeout(() => this.#expire(), this.#timeoutMs);
      if (this.#publish) this.#hand(send, this.#publish);
      else this.#waiting.push(send);
    });
  }

  /** From here on through this connection; what waited goes first. */
  open(publish: Publish): void {
    this.#publish = publish;
    const waiting = this.#waiting;
    this.#waiting = [];
    // What ran into its deadline meanwhile was reported as failed, and will be sent again by whoever sent it.
    for (const send of waiting) if (send.state === "waiting") this.#hand(send, publish);
  }

  /** New ones wait; resolves when nothing is in flight any more, for which their deadlines are the bound. */
  async pause(): Promise<void> {
    this.#publish = undefined;
    if (this.#inFlight === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    this.#idle = undefined;
  }

  fail(reason: Error): void {
    this.#publish = undefined;
    this.#waiting = [];
    clearTimeout(this.#timer);
    for (const send of [...this.#pending]) this.#settle(send, reason);
  }

  #hand(send: Send, publish: Publish): void {
    send.state = "inFlight";
    this.#inFlight++;
    publish(send.topic, send.payload, (error) => this.#settle(send, error));
  }

  #settle(send: Send, error: Error | null | undefined): void {
    if (send.state === "settled") return;
    const wasInFlight = send.state === "inFlight";
    send.state = "settled";
    this.#pending.delete(send);
    if (!error) send.resolve();
    else if (error instanceof HeadgateError) send.reject(error);
    else
      send.reject(new TransientError("HUB_LOST", `sending to the hub: ${error.message}`, { cause: error }));
    if (wasInFlight && --this.#inFlight === 0) this.#idle?.();
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const send of this.#pending) {
      // A timer may come a fraction of a millisecond early.
      if (send.deadline > now + 1) {
        this.#timer = setTimeout(() => this.#expire(), send.deadline - now);
        return;
      }
      const message = `sending to the hub: no answer within ${this.#timeoutMs} ms`;
      this.#settle(send, new TransientError("HUB_TIMEOUT", message));
    }
  }
}
