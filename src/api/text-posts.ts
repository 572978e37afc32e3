import type { PipelineConfig, SentimentTexts } from "../config/schema.ts";
import { nothing, storedBytes, type WaitingInStore } from "../sentiment/text-queue.ts";
import { postedText } from "../sentiment/text-stage.ts";
import { ApiError, retryAfter } from "./api-error.ts";

/** A text that a caller brings, to be scored whenever that is possible. */
export interface PostedText {
  readonly text: string;
  readonly device?: string | undefined;
  readonly language?: string | undefined;
}

/** Brings texts to sources of type `sentiment`: all of a request or nothing, answered when they are durable. */
export class TextPosts {
  /** Resolves when they are durable. */
  readonly #take: (source: string, frames: readonly Uint8Array[]) => Promise<void>;
  readonly #wait: (durable: Promise<void>) => Promise<void>;
  readonly #waiting: () => Readonly<Record<string, WaitingInStore>>;
  #sources: ReadonlyMap<string, SentimentTexts> = new Map();
  /** Per source, what was taken and is not committed yet. */
  readonly #coming = new Map<string, WaitingInStore>();

  constructor(
    take: (source: string, frames: readonly Uint8Array[]) => Promise<void>,
    wait: (durable: Promise<void>) => Promise<void>,
    waiting: () => Readonly<Record<string, WaitingInStore>>,
  ) {
    this.#take = take;
    this.#wait = wait;
    this.#waiting = waiting;
  }

  configure({ sources }: PipelineConfig): void {
    this.#sources = new Map(
      Object.entries(sources).flatMap(([name, { sentiment }]) => (sentiment ? [[name, sentiment]] : [])),
    );
  }

  /** @throws ApiError 404, 413, 503 */
  async post(source: string, texts: readonly PostedText[]): Promise<void> {
    const bounds = this.#sources.get(source);
    if (!bounds)
      throw new ApiError(
        404,
        "unknownSource",
        `there is no source ${JSON.stringify(source)} of type sentiment`,
      );
    const bytes = texts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
    const stored = texts.reduce((sum, { text }) => sum + storedBytes(Buffer.byteLength(text)), 0);
    if (texts.length > bounds.maxTexts || bytes > bounds.maxBytes || stored > bounds.storeBytes) {
      const message = `more than may wait at all (maxTexts, maxBytes of ${source}, store.maxBytes of all); send fewer at a time`;
      throw new ApiError(413, "tooLarge", message);
    }
    const waiting = this.#waiting()[source] ?? nothing;
    const coming = this.#coming.get(source) ?? nothing;
    const all = [...Object.values(this.#waiting()), ...this.#coming.values()];
    const storedByAll = all.reduce((sum, each) => sum + each.stored, 0);
    // What the pipeline has no room for it would discard, and the caller still has it.
    if (
      waiting.texts + coming.texts + texts.length > bounds.maxTexts ||
      waiting.bytes + coming.bytes + bytes > bounds.maxBytes ||
      storedByAll + stored > bounds.storeBytes
    ) {
      const message = `as many texts wait for their scores as may (maxTexts, maxBytes of ${source}, store.maxBytes of all); nothing was taken`;
      throw new ApiError(503, "busy", message, retryAfter(60));
    }
    const frames = texts.map(({ text, device, language }) => postedText(text, device, language));
    const durable = this.#take(source, frames);
    this.#come(source, { texts: texts.length, bytes, stored });
    // Also when the caller is told to wait no longer: they are on their way.
    const hasCome = () => this.#come(source, { texts: -texts.length, bytes: -bytes, stored: -stored });
    durable.then(hasCome, hasCome);
    await this.#wait(durable);
  }

  #come(source: string, { texts, bytes, stored }: WaitingInStore): void {
    const coming = this.#coming.get(source) ?? nothing;
    this.#coming.set(source, {
      texts: coming.texts + texts,
      bytes: coming.bytes + bytes,
      stored: coming.stored + stored,
    });
  }
}
