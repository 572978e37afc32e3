import type { Counters } from "./counters.ts";
import { type HubMessage, sourceOf, type UpstreamMessage } from "./messages.ts";
import type { EdgeMetrics } from "./metrics.ts";
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
  readonly #metrics: EdgeMetrics;
  /** `device/$edgeHub`, whose connection to the cloud it is. */
  readonly #edgeHub: string;
  readonly #record: MessageRecord;
  readonly #hubTimeToLiveSecs: number;
  #state: "on" | "off" = "on";
  #offlineSinceMs = 0;
  #sequence = 0;
  onMessage: (message: UpstreamMessage) => void = () => undefined;

  constructor(options: {
    readonly record: MessageRecord;
    readonly counters: Counters;
    readonly metrics: EdgeMetrics;
    readonly deviceId: string;
    readonly limits: StoreLimits;
    readonly timeToLiveSecs: number;
  }) {
    this.#record = options.record;
    this.#counters = options.counters;
    this.#hubTimeToLiveSecs = options.timeToLiveSecs;
    this.#metrics = options.metrics;
    this.#edgeHub = `${options.deviceId}/$edgeHub`;
    this.#store = new EndpointStore(options.limits, (message, reason) => {
      options.counters.add(`upstreamDiscarded.${reason}`);
      if (reason === "full") return;
      const labels = ["ttl_expiry", sourceOf(message), message.output ?? ""] as const;
      options.metrics.add("edgehub_messages_dropped_total", labels);
    });
    // Edge hub begins as disconnected, and its first connection ends that.
    this.#metrics.observe("edgehub_offline_duration_seconds", [this.#edgeHub], 0);
  }

  get state(): "on" | "off" {
    return this.#state;
  }

  status(): { readonly state: "on" | "off"; readonly stored: number; readonly storedBytes: number } {
    return { state: this.#state, stored: this.#store.size, storedBytes: this.#store.bytes };
  }

  add(message: Held, route: { readonly priority: number; readonly timeToLiveSecs: number }): void {
    if (this.#state === "on") {
      this.#forward(message, route.priority);
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
    if (state !== this.#state) this.#turned(state);
    this.#state = state;
    while (this.#state === "on") {
      const next = this.#store.take(Date.now());
      if (next === undefined) return;
      try {
        this.#forward(next.message, next.priority);
      } catch (error) {
        this.#counters.add("upstreamDiscarded.unwritable");
        throw error;
      }
    }
  }

  /** Brings the gauge of what waits up to date; edge hub calls the upstream endpoint `iothub`. */
  measure(): void {
    for (const [priority, length] of this.#store.lengths())
      this.#metrics.set("edgehub_queue_length", ["iothub", String(priority)], length);
  }

  #turned(state: "on" | "off"): void {
    if (state === "off") {
      this.#metrics.add("edgehub_offline_count_total", [this.#edgeHub]);
      this.#offlineSinceMs = performance.now();
      return;
    }
    const seconds = (performance.now() - this.#offlineSinceMs) / 1_000;
    this.#metrics.observe("edgehub_offline_duration_seconds", [this.#edgeHub], seconds);
  }

  #forward(held: Held, priority: number): void {
    const message: UpstreamMessage = {
      ...held,
      sequence: this.#sequence + 1,
      forwardedAt: new Date().toISOString(),
    };
    this.#record.add(message);
    this.#sequence = message.sequence;
    const labels = [sourceOf(held), "upstream", held.output ?? "", "", String(priority)] as const;
    this.#metrics.add("edgehub_messages_sent_total", labels);
    this.onMessage(message);
  }
}
