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
  /** The ids of all that wait: another is not waited for any more. */
  readonly waiting: readonly number[];
  readonly feeds: readonly Feed[];
}

/** They stand in each snapshot, and the model has to come after them. */
const maxFeeds = 1_024;
const maxValues = 65_536;

/** The earliest first, as models are fed. */
const inOrder = (a: Feed, b: Feed): number => a.timeMs - b.timeMs || a.id - b.id;

/** The feeds of one source that no result was journaled for, the earliest first. */
export class Pending {
  #feeds: Feed[] = [];
  #values = 0;
  /** At first, too: that there is none is news to who knows of others. */
  #hasNews = true;
  /** The newest that was told. */
  #toldId = 0;

  /** Returns how many older ones had to go, because they were too many. */
  add(feed: Feed): number {
    const behind = this.#feeds.findLastIndex((other) => inOrder(other, feed) < 0);
    this.#feeds.splice(behind + 1, 0, feed);
    this.#values += feed.values.length;
    this.#hasNews = true;
    let dropped = 0;
    while (this.#feeds.length > maxFeeds || (this.#feeds.length > 1 && this.#values > maxValues)) {
      this.#take(this.#leastMissed());
      dropped++;
    }
    return dropped;
  }

  /** A result came. False when nobody waits for it. */
  settle(id: number): Feed | false {
    const at = this.#feeds.findIndex((waiting) => waiting.id === id);
    return at < 0 ? false : this.#take(at);
  }

  /** What was not told yet. */
  takeNews(source: string): FeedNews | undefined {
    if (!this.#hasNews) return undefined;
    this.#hasNews = false;
    const feeds = this.#feeds.filter(({ id }) => id > this.#toldId);
    for (const { id } of feeds) this.#toldId = Math.max(this.#toldId, id);
    return { source, waiting: this.#feeds.map(({ id }) => id), feeds };
  }

  get firstMs(): number | undefined {
    return this.#feeds[0]?.timeMs;
  }

  list(): readonly Feed[] {
    return [...this.#feeds];
  }

  /** Into a new one: all of them are told again. */
  restore(feeds: readonly Feed[]): void {
    this.#feeds = feeds.toSorted(inOrder);
    this.#values = feeds.reduce((sum, { values }) => sum + values.length, 0);
  }

  /**
   * The earliest of the device that most are of, so that many devices do not push out a few. Never the first of all: the
   * model is at that one, and a model slower than its readings would bring no result at all.
   */
  #leastMissed(): number {
    const others = this.#feeds.slice(1);
    const counts = new Map<string, number>();
    for (const { device } of others) counts.set(device, (counts.get(device) ?? 0) + 1);
    const most = Math.max(...counts.values());
    return 1 + others.findIndex(({ device }) => counts.get(device) === most);
  }

  #take(at: number): Feed | false {
    const [feed] = this.#feeds.splice(at, 1);
    this.#values -= feed?.values.length ?? 0;
    return feed ?? false;
  }
}
