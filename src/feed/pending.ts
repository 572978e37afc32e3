/** What a model is run with once. */
export interface Feed {
  /** Grows, and begins with the time, so that a store that was made anew does not tell one twice. */
  readonly id: number;
  /** Whose readings it is made of. */
  readonly device: string;
  /** The window's end, or the time of the last reading: steady, or the device's own. */
  readonly timeMs: number;
  /** Feature by feature; or channel by channel, of each the oldest value first. */
  readonly values: readonly number[];
}

/** What is new of the feeds of one source, for who runs the model. */
export interface FeedNews {
  readonly source: string;
  /** What is older than this feed is not waited for any more. */
  readonly oldest: number;
  readonly feeds: readonly Feed[];
}

/** Waiting longer than the model takes for so many is waiting in vain; and they stand in each snapshot. */
const maxFeeds = 16;
const maxValues = 65_536;

/** The feeds of one source that no result was journaled for; when there are too many, the newest are kept. */
export class Pending {
  #feeds: Feed[] = [];
  /** At first, too: that there is none is news to who knows of others. */
  #hasNews = true;
  /** The newest that was told. */
  #toldId = 0;

  /** Returns how many older ones had to go. */
  add(feed: Feed): number {
    this.#feeds.push(feed);
    this.#hasNews = true;
    const before = this.#feeds.length;
    while (this.#feeds.length > maxFeeds || this.#tooManyValues()) this.#feeds.shift();
    return before - this.#feeds.length;
  }

  /** A result came. False when nobody waits for it. */
  settle(id: number): Feed | false {
    const feed = this.#feeds.find((waiting) => waiting.id === id);
    this.#feeds = this.#feeds.filter((waiting) => waiting !== feed);
    return feed ?? false;
  }

  /** What was not told yet; `nextId`: more than any so far. */
  takeNews(source: string, nextId: number): FeedNews | undefined {
    if (!this.#hasNews) return undefined;
    this.#hasNews = false;
    const feeds = this.#feeds.filter(({ id }) => id > this.#toldId);
    this.#toldId = nextId - 1;
    return { source, oldest: this.#feeds[0]?.id ?? nextId, feeds };
  }

  list(): readonly Feed[] {
    return [...this.#feeds];
  }

  /** Into a new one: all of them are told again. */
  restore(feeds: readonly Feed[]): void {
    this.#feeds = [...feeds];
  }

  #tooManyValues(): boolean {
    return (
      this.#feeds.length > 1 && this.#feeds.reduce((sum, { values }) => sum + values.length, 0) > maxValues
    );
  }
}
