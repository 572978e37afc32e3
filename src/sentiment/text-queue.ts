/** How much of a source's texts may wait. */
export interface TextBounds {
  readonly maxTexts: number;
  readonly maxBytes: number;
  /** What the texts of all sources together may take of the store, as `storedBytes` has it. */
  readonly storeBytes: number;
}

/** What stands in a row beside its text, at most; and the pages of the store's file. */
const rowBytes = 256;
const pageBytes = 4_096;

/** What a text takes of the store, rather too much than too little: rows share a page only where they are small. */
export function storedBytes(bytes: number): number {
  const row = bytes + rowBytes;
  return row <= pageBytes / 4 ? row : Math.ceil(row / pageBytes) * pageBytes;
}

/** Number, source, bytes and time of each text that waits, in order; and the next number. */
export interface TextQueueSnapshot {
  readonly next: number;
  readonly waiting: readonly (readonly [
    number: number,
    source: string,
    bytes: number,
    timeMs?: number | undefined,
  ])[];
}

export interface Waiting {
  texts: number;
  bytes: number;
}

interface WaitingText {
  readonly source: string;
  readonly bytes: number;
  /** Steady, or the device's own; unknown in snapshots of versions that did not write it. */
  readonly timeMs: number | undefined;
}

export interface WaitingInStore extends Waiting {
  /** What they take of the store. */
  stored: number;
}

export const nothing: Readonly<WaitingInStore> = { texts: 0, bytes: 0, stored: 0 };

/**
 * Which texts wait for their scores; what they say stands in the store's table. Pure: the same frames in the same
 * order give the same numbers, so a score finds its text after a replay as well, and only once.
 */
export class TextQueue {
  #next = 1;
  readonly #waiting = new Map<number, WaitingText>();
  readonly #perSource = new Map<string, WaitingInStore>();
  /** Of all sources. */
  #stored = 0;

  /** The number of a text that is taken; undefined when there is no room. */
  take(text: WaitingText, { maxTexts, maxBytes, storeBytes }: TextBounds): number | undefined {
    const { source, bytes } = text;
    const { texts, bytes: held } = this.#perSource.get(source) ?? nothing;
    if (texts >= maxTexts || held + bytes > maxBytes) return undefined;
    if (this.#stored + storedBytes(bytes) > storeBytes) return undefined;
    const number = this.#next++;
    this.#add(number, text);
    return number;
  }

  /** A text of this source waits no more; undefined when it did not. */
  settle(number: number, source: string): WaitingText | undefined {
    const found = this.#waiting.get(number);
    if (found?.source !== source) return undefined;
    this.#waiting.delete(number);
    const stored = storedBytes(found.bytes);
    this.#stored -= stored;
    const waiting = this.#perSource.get(source);
    if (waiting) {
      waiting.texts--;
      waiting.bytes -= found.bytes;
      waiting.stored -= stored;
      if (waiting.texts === 0) this.#perSource.delete(source);
    }
    return found;
  }

  has(number: number): boolean {
    return this.#waiting.has(number);
  }

  /** Whether a text once had this number. */
  wasGiven(number: number): boolean {
    return number < this.#next;
  }

  isWaitingFor(source: string): boolean {
    return this.#perSource.has(source);
  }

  /** Per source; those without texts are not there. */
  get waiting(): Readonly<Record<string, WaitingInStore>> {
    return Object.fromEntries([...this.#perSource].map(([source, waiting]) => [source, { ...waiting }]));
  }

  /** Numbers and sources, in order. */
  entries(): [number: number, source: string][] {
    return [...this.#waiting].map(([number, { source }]) => [number, source]);
  }

  snapshot(): TextQueueSnapshot {
    const waiting = [...this.#waiting].map(
      ([number, { source, bytes, timeMs }]) => [number, source, bytes, timeMs] as const,
    );
    return { next: this.#next, waiting };
  }

  restore({ next, waiting }: TextQueueSnapshot): void {
    this.#waiting.clear();
    this.#perSource.clear();
    this.#stored = 0;
    this.#next = next;
    for (const [number, source, bytes, timeMs] of waiting) this.#add(number, { source, bytes, timeMs });
  }

  #add(number: number, text: WaitingText): void {
    const { source, bytes } = text;
    this.#waiting.set(number, text);
    const stored = storedBytes(bytes);
    this.#stored += stored;
    const waiting = this.#perSource.get(source) ?? nothing;
    this.#perSource.set(source, {
      texts: waiting.texts + 1,
      bytes: waiting.bytes + bytes,
      stored: waiting.stored + stored,
    });
  }
}
