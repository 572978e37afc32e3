import { type SubscriptionKind, subscriptionKind } from "./topics.ts";

/** What outlives a connection: the subscriptions of one client and its packet identifiers. */
export class Session {
  readonly clientId: string;
  readonly #filters = new Map<string, 0 | 1>();
  #lastPacketId = 0;

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  get filters(): readonly string[] {
    return [...this.#filters.keys()];
  }

  subscribe(filter: string, qos: 0 | 1): void {
    this.#filters.set(filter, qos);
  }

  unsubscribe(filter: string): void {
    this.#filters.delete(filter);
  }

  /** The highest granted QoS for that kind of message, or undefined without a subscription to it. */
  qosOf(kind: SubscriptionKind): 0 | 1 | undefined {
    let best: 0 | 1 | undefined;
    for (const [filter, qos] of this.#filters) {
      if (subscriptionKind(filter, this.clientId) === kind) best = best === 1 ? 1 : qos;
    }
    return best;
  }

  /** 1 to 65,535, then from 1 again; one message is in flight per client, so that none is in use twice. */
  nextPacketId(): number {
    this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    return this.#lastPacketId;
  }
}

/** Sessions by client identifier. Bounded by the registry: only a known identity gets one. */
export class Sessions {
  readonly #stored = new Map<string, Session>();

  get size(): number {
    return this.#stored.size;
  }

  /** The session of a new connection; `clean` forgets the old one and keeps the new one for its connection only. */
  open(clientId: string, clean: boolean): { readonly session: Session; readonly present: boolean } {
    const stored = clean ? undefined : this.#stored.get(clientId);
    if (stored !== undefined) return { session: stored, present: true };
    const session = new Session(clientId);
    if (clean) this.#stored.delete(clientId);
    else this.#stored.set(clientId, session);
    return { session, present: false };
  }

  delete(clientId: string): void {
    this.#stored.delete(clientId);
  }

  clear(): number {
    const count = this.#stored.size;
    this.#stored.clear();
    return count;
  }
}
