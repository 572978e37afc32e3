import type { Feed, FeedNews } from "../feed/pending.ts";

/**
 * Where feeds of models wait that the store has committed, per source, until a result of each went into the journal.
 * As many as the pipeline waits for, which gives up some when they become too many.
 */
export class FeedInbox {
  readonly #waiting = new Map<string, readonly Feed[]>();
  /** A store that was opened again tells once more what it waits for. */
  readonly #newest = new Map<string, number>();
  #storeId: string | undefined;
  readonly #watchers = new Map<string, () => void>();

  /** `storeId`: of the store that tells. */
  take(news: readonly FeedNews[], storeId: string): void {
    // Another one waits for nothing of what this one waited for, and its ids may be smaller.
    if (storeId !== this.#storeId) {
      this.#waiting.clear();
      this.#newest.clear();
      this.#storeId = storeId;
    }
    for (const { source, waiting: stillWaiting, feeds } of news) {
      const ids = new Set(stillWaiting);
      const newest = this.#newest.get(source) ?? 0;
      const fresh = feeds.filter(({ id }) => id > newest);
      const waiting = [...this.#of(source).filter(({ id }) => ids.has(id)), ...fresh];
      // Devices come one after the other, and windows do not wait for who is behind.
      this.#waiting.set(
        source,
        waiting.sort((a, b) => a.timeMs - b.timeMs || a.id - b.id),
      );
      this.#newest.set(source, Math.max(newest, ...fresh.map(({ id }) => id)));
      this.#watchers.get(source)?.();
    }
  }

  /** The one of the earliest time. */
  first(source: string): Feed | undefined {
    return this.#of(source)[0];
  }

  isWaiting(source: string, { id }: Feed): boolean {
    return this.#of(source).some((feed) => feed.id === id);
  }

  /** Its result is in the journal. */
  done(source: string, { id }: Feed): void {
    this.#waiting.set(
      source,
      this.#of(source).filter((feed) => feed.id !== id),
    );
  }

  /** Of the others nobody waits for a result any more. */
  keep(isFed: (source: string) => boolean): void {
    for (const source of this.#waiting.keys()) if (!isFed(source)) this.#waiting.delete(source);
  }

  /** Calls `watcher` when something comes. Returns what ends that. */
  watch(source: string, watcher: () => void): () => void {
    this.#watchers.set(source, watcher);
    return () => this.#watchers.delete(source);
  }

  #of(source: string): readonly Feed[] {
    return this.#waiting.get(source) ?? [];
  }
}
