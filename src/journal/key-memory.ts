/** A request with an idempotency key that was taken: what was in it, and how much. */
export interface KeyEntry {
  readonly source: string;
  readonly key: string;
  /** Fingerprint of the request's body. */
  readonly hash: string;
  readonly readings: number;
}

/** Over all sources. An entry takes some 200 bytes in the snapshot. */
const maxKeys = 10_000;

/** The idempotency keys seen last, the oldest out. Pure: the same entries in the same order leave the same memory. */
export class KeyMemory {
  readonly #entries = new Map<string, KeyEntry>();
  readonly #maxKeys: number;

  constructor(entries: Iterable<KeyEntry> = [], bound = maxKeys) {
    this.#maxKeys = bound;
    for (const entry of entries) this.add(entry);
  }

  get(source: string, key: string): KeyEntry | undefined {
    return this.#entries.get(nameOf(source, key));
  }

  add({ source, key, hash, readings }: KeyEntry): void {
    const name = nameOf(source, key);
    this.#entries.delete(name);
    this.#entries.set(name, { source, key, hash, readings });
    if (this.#entries.size <= this.#maxKeys) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  /** Oldest first. */
  entries(): KeyEntry[] {
    return [...this.#entries.values()];
  }
}

/** Neither a source's name nor a key holds a line end. */
const nameOf = (source: string, key: string) => `${source}\n${key}`;
