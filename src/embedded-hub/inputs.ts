import type { Counters } from "./counters.ts";
import type { HubMessage } from "./messages.ts";
import { EndpointStore, expiresAt, type StoreLimits } from "./store.ts";
import { deviceBoundTopic, inputTopic, writeProperties } from "./topics.ts";

/** A message to a module's input, or (without an input) from the cloud to a device. */
export interface Delivery extends HubMessage {
  readonly target: { readonly deviceId: string; readonly moduleId: string | undefined };
  readonly input: string | undefined;
  /** Settles true with the receiver's acknowledgement, false when the message is discarded. */
  readonly settle: (acknowledged: boolean) => void;
}

/** What the deliveries need of the broker. */
export interface DeliveryLink {
  deliver(
    clientId: string,
    kind: "inputs" | "deviceBound",
    message: { readonly topic: string; readonly payload: Buffer; readonly repeat: number | undefined },
  ): number | undefined;
}

interface InFlight {
  readonly delivery: Delivery;
  /** All identifiers it was sent under; an acknowledgement of any of them counts. */
  readonly packetIds: Set<number>;
  lastPacketId: number;
  timer: NodeJS.Timeout | undefined;
}

interface Receiver {
  readonly store: EndpointStore<Delivery>;
  inFlight: InFlight | undefined;
}

const maxIdentifiers = 16;

/**
 * Delivery at least once: one message in flight per client, the next after its PUBACK, again after
 * `redeliveryMs` under a new identifier, and after a reconnection under the old one, marked DUP.
 */
export class Deliveries {
  readonly #link: DeliveryLink;
  readonly #counters: Counters;
  readonly #limits: StoreLimits;
  readonly #redeliveryMs: number;
  readonly #timeToLiveSecs: number;
  readonly #receivers = new Map<string, Receiver>();

  constructor(options: {
    readonly link: DeliveryLink;
    readonly counters: Counters;
    readonly limits: StoreLimits;
    readonly redeliveryMs: number;
    readonly timeToLiveSecs: number;
  }) {
    this.#link = options.link;
    this.#counters = options.counters;
    this.#limits = options.limits;
    this.#redeliveryMs = options.redeliveryMs;
    this.#timeToLiveSecs = options.timeToLiveSecs;
  }

  /** Waiting and in flight, per client. */
  status(): Record<string, number> {
    return Object.fromEntries(
      Array.from(this.#receivers, ([clientId, { store, inFlight }]) => [
        clientId,
        store.size + (inFlight === undefined ? 0 : 1),
      ]),
    );
  }

  add(
    clientId: string,
    delivery: Delivery,
    route: { readonly priority: number; readonly timeToLiveSecs: number },
  ): void {
    let receiver = this.#receivers.get(clientId);
    if (receiver === undefined) {
      const store = new EndpointStore<Delivery>(this.#limits, (discarded, reason) => {
        this.#counters.add(`inputsDiscarded.${reason}`);
        discarded.settle(false);
      });
      receiver = { store, inFlight: undefined };
      this.#receivers.set(clientId, receiver);
    }
    const now = Date.now();
    this.#counters.add("inputsQueued");
    receiver.store.add(
      delivery,
      route.priority,
      expiresAt(now, route.timeToLiveSecs, this.#timeToLiveSecs),
      now,
    );
    this.#pump(clientId, receiver);
  }

  /** The client connected or subscribed. `present`: its session was kept. */
  ready(clientId: string, present: boolean): void {
    const receiver = this.#receivers.get(clientId);
    if (receiver === undefined) return;
    if (receiver.inFlight !== undefined && receiver.inFlight.timer === undefined) {
      this.#send(clientId, receiver.inFlight, present && receiver.inFlight.lastPacketId > 0 ? "same" : "new");
    }
    this.#pump(clientId, receiver);
  }

  /** The client is gone: what was in flight waits for its return. */
  disconnected(clientId: string): void {
    const inFlight = this.#receivers.get(clientId)?.inFlight;
    if (inFlight === undefined) return;
    clearTimeout(inFlight.timer);
    inFlight.timer = undefined;
  }

  acknowledged(clientId: string, packetId: number): void {
    const receiver = this.#receivers.get(clientId);
    const inFlight = receiver?.inFlight;
    if (receiver === undefined || inFlight === undefined || !inFlight.packetIds.has(packetId)) {
      this.#counters.add("pubacksUnknown");
      return;
    }
    this.#settle(receiver, inFlight);
    this.#pump(clientId, receiver);
  }

  /** The identity is no more. */
  remove(clientId: string): void {
    const receiver = this.#receivers.get(clientId);
    if (receiver === undefined) return;
    this.#receivers.delete(clientId);
    clearTimeout(receiver.inFlight?.timer);
    receiver.inFlight?.delivery.settle(false);
    for (let next = receiver.store.take(0); next !== undefined; next = receiver.store.take(0)) {
      this.#counters.add("inputsDiscarded.removed");
      next.message.settle(false);
    }
  }

  stop(): void {
    for (const clientId of [...this.#receivers.keys()]) this.remove(clientId);
  }

  #pump(clientId: string, receiver: Receiver): void {
    while (receiver.inFlight === undefined) {
      const next = receiver.store.take(Date.now());
      if (next === undefined) return;
      receiver.inFlight = { delivery: next.message, packetIds: new Set(), lastPacketId: 0, timer: undefined };
      if (!this.#send(clientId, receiver.inFlight, "new")) return;
    }
  }

  /** False when the client is not there to take it. */
  #send(clientId: string, inFlight: InFlight, identifier: "same" | "new"): boolean {
    const { delivery } = inFlight;
    const { deviceId, moduleId } = delivery.target;
    const bag = { system: delivery.systemProperties, application: delivery.properties };
    const topic =
      moduleId === undefined || delivery.input === undefined
        ? deviceBoundTopic(deviceId, writeProperties(bag))
        : inputTopic(deviceId, moduleId, delivery.input, writeProperties(bag, delivery));
    const kind = moduleId === undefined ? "deviceBound" : "inputs";
    const repeat = identifier === "same" ? inFlight.lastPacketId : undefined;
    const packetId = this.#link.deliver(clientId, kind, { topic, payload: delivery.body, repeat });
    if (packetId === undefined) return false;
    this.#counters.add(inFlight.lastPacketId === 0 ? "inputsDelivered" : "inputsRedelivered");
    const receiver = this.#receivers.get(clientId);
    if (packetId === 0) {
      if (receiver !== undefined) this.#settle(receiver, inFlight);
      return true;
    }
    if (inFlight.packetIds.size >= maxIdentifiers) inFlight.packetIds.clear();
    inFlight.packetIds.add(packetId);
    inFlight.lastPacketId = packetId;
    clearTimeout(inFlight.timer);
    inFlight.timer = setTimeout(() => {
      inFlight.timer = undefined;
      this.#send(clientId, inFlight, "new");
    }, this.#redeliveryMs);
    return true;
  }

  #settle(receiver: Receiver, inFlight: InFlight): void {
    clearTimeout(inFlight.timer);
    receiver.inFlight = undefined;
    this.#counters.add("inputsAcknowledged");
    inFlight.delivery.settle(true);
  }
}
