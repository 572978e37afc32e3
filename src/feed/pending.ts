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

/** The model has to come after them. */
const maxFeeds = 1_024;
/** What stands beside the values of a feed in each snapshot, as so many of them. */
const besides = 8;

/** The earliest first, as models are fed. */
const inOrder = (a: Feed, b: Feed): number => a.timeMs - b.timeMs || a.id - b.id;

/** The feeds of one source that no result was journaled for, the earliest first. */
export class Pending {
  #feeds: Feed[] = [];
  /** Of all of them, with what stands beside. */
  #numbers = 0;
  #maxNumbers = Number.POSITIVE_INFINITY;
  /** At first, too: that there is none is news to who knows of others. */
  #hasNews = true;
  /** The newest that was told. */
  #toldId = 0;

  /** From the next feed on. */
  bound(maxNumbers: number): void {
    this.#maxNumbers = maxNumbers;
  }

  /** Returns how many older ones had to go, because they were too many. */
  add(feed: Feed): number {
    const behind = this.#feeds.findLastIndex((other) => inOrder(other, feed) < 0);
    this.#feeds.splice(behind + 1, 0, feed);
    this.#numbers += feed.values.length + besides;
    this.#hasNews = true;
    let dropped = 0;
    while (this.#feeds.length > maxFeeds || (this.#feeds.length > 1 && this.#numbers > this.#maxNumbers)) {
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
    this.#numbers = feeds.reduce((sum, { values }) => sum + values.length + besides, 0);
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
    if (!feed) return false;
    this.#numbers -= feed.values.length + besides;
    return feed;
  }
}
