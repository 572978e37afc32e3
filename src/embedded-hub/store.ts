import { type HubMessage, messageBytes } from "./messages.ts";

export interface StoreLimits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export interface Stored<M extends HubMessage> {
  readonly message: M;
  readonly priority: number;
  readonly expiresAtMs: number;
}

export type DiscardReason = "expired" | "full";

/**
 * Store and forward for one endpoint: higher priorities first, in order within one. The time to live is fixed
 * when a message is stored and looked at when it is fetched. A full store refuses the newest.
 */
export class EndpointStore<M extends HubMessage> {
  readonly #limits: StoreLimits;
  readonly #onDiscard: (message: M, reason: DiscardReason) => void;
  readonly #byPriority = new Map<number, Stored<M>[]>();
  #priorities: readonly number[] = [];
  #count = 0;
  #bytes = 0;

  constructor(limits: StoreLimits, onDiscard: (message: M, reason: DiscardReason) => void) {
    this.#limits = limits;
    this.#onDiscard = onDiscard;
  }

  get size(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How many wait, per priority that was ever used. */
  lengths(): readonly (readonly [priority: number, length: number])[] {
    return Array.from(this.#byPriority, ([priority, queue]) => [priority, queue.length] as const);
  }

  /** False when there is no room: the message was discarded. */
  add(message: M, priority: number, expiresAtMs: number, nowMs: number): boolean {
    const bytes = messageBytes(message);
    if (this.#isFull(bytes)) this.#dropExpired(nowMs);
    if (this.#isFull(bytes)) {
      this.#onDiscard(message, "full");
      return false;
    }
    let queue = this.#byPriority.get(priority);
    if (queue === undefined) {
      queue = [];
      this.#byPriority.set(priority, queue);
      this.#priorities = [...this.#byPriority.keys()].sort((a, b) => a - b);
    }
    queue.push({ message, priority, expiresAtMs });
    this.#count++;
    this.#bytes += bytes;
    return true;
  }

  /** Takes the next message that has not expired. */
  take(nowMs: number): Stored<M> | undefined {
    for (const priority of this.#priorities) {
      const queue = this.#byPriority.get(priority) ?? [];
      for (let first = queue.shift(); first !== undefined; first = queue.shift()) {
        this.#count--;
        this.#bytes -= messageBytes(first.message);
        if (first.expiresAtMs > nowMs) return first;
        this.#onDiscard(first.message, "expired");
      }
    }
    return undefined;
  }

  #isFull(bytes: number): boolean {
    return this.#count >= this.#limits.maxMessages || this.#bytes + bytes > this.#limits.maxBytes;
  }

  #dropExpired(nowMs: number): void {
    for (const [priority, queue] of this.#byPriority) {
      const live = queue.filter((stored) => {
        if (stored.expiresAtMs > nowMs) return true;
        this.#count--;
        this.#bytes -= messageBytes(stored.message);
        this.#onDiscard(stored.message, "expired");
        return false;
      });
      this.#byPriority.set(priority, live);
    }
  }
}

/** When a message stored now expires. 0 inherits the hub's value, negative never expires. */
export function expiresAt(nowMs: number, routeSecs: number, hubSecs: number): number {
  const seconds = routeSecs === 0 ? hubSecs : routeSecs;
  return seconds < 0 ? Number.POSITIVE_INFINITY : nowMs + seconds * 1000;
}
