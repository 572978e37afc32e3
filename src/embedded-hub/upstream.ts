import type { Counters } from "./counters.ts";
import type { HubMessage, UpstreamMessage } from "./messages.ts";
import { EndpointStore, expiresAt, type StoreLimits } from "./store.ts";
import type { MessageRecord } from "./telemetry.ts";

interface Held extends HubMessage {
  readonly receivedAt: string;
  readonly duplicate: boolean;
  readonly acceptedSequence: number | undefined;
}

/** The way to the cloud, which can be cut: messages then wait in order and flow when it is back. */
export class Upstream {
  readonly #store: EndpointStore<Held>;
  readonly #counters: Counters;
  readonly #record: MessageRecord;
  readonly #hubTimeToLiveSecs: number;
  #state: "on" | "off" = "on";
  #sequence = 0;
  onMessage: (message: UpstreamMessage) => void = () => undefined;

  constructor(options: {
    readonly record: MessageRecord;
    readonly counters: Counters;
    readonly limits: StoreLimits;
    readonly timeToLiveSecs: number;
  }) {
    this.#record = options.record;
    this.#counters = options.counters;
    this.#hubTimeToLiveSecs = options.timeToLiveSecs;
    this.#store = new EndpointStore(options.limits, (_message, reason) =>
      options.counters.add(`upstreamDiscarded.${reason}`),
    );
  }

  get state(): "on" | "off" {
    return this.#state;
  }

  status(): { readonly state: "on" | "off"; readonly stored: number; readonly storedBytes: number } {
    return { state: this.#state, stored: this.#store.size, storedBytes: this.#store.bytes };
  }

  add(message: Held, route: { readonly priority: number; readonly timeToLiveSecs: number }): void {
    if (this.#state === "on") {
      this.#forward(message);
      return;
    }
    const now = Date.now();
    this.#store.add(
      message,
      route.priority,
      expiresAt(now, route.timeToLiveSecs, this.#hubTimeToLiveSecs),
      now,
    );
  }

  /** @throws the error of writing the log; the message that could not be written is discarded */
  set(state: "on" | "off"): void {
    this.#state = state;
    while (this.#state === "on") {
      const next = this.#store.take(Date.now());
      if (next === undefined) return;
      try {
        this.#forward(next.message);
      } catch (error) {
        this.#counters.add("upstreamDiscarded.unwritable");
        throw error;
      }
    }
  }

  #forward(held: Held): void {
    const message: UpstreamMessage = {
      ...held,
      sequence: this.#sequence + 1,
      forwardedAt: new Date().toISOString(),
    };
    this.#record.add(message);
    this.#sequence = message.sequence;
    this.onMessage(message);
  }
}
