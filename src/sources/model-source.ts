import type { ModelSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import type { Feed } from "../feed/pending.ts";
import type { FeedScorer } from "../infer/feed-scorer.ts";
import type { Refusal } from "../infer/refusal.ts";
import type { FeedInbox } from "./feed-inbox.ts";
import { LoopSource } from "./loop-source.ts";
import type { WaitingSink } from "./source.ts";

/** How often it looks whether its model is still what it takes it for, and whether there is room again. */
const lookMs = 1_000;

/** Longer than this nobody waits for a run; the model's own deadlines come first, unless batches stretch them. */
const longestMs = 1_500_000;

/** The model's time will come, or the gateway's next start: the feed waits. Whatever else is refused, it was tried. */
const passing: readonly Refusal["refusal"][] = ["notReady", "busy", "stopping", "cancelled"];
/** A model that is lost over a feed may be lost by it, if it is so again and again. */
const maxLost = 3;

/**
 * Results of a model over readings of another source: each feed is answered by one frame, with values, or with the
 * reason why there are none. Its origin is the feed's id, by which the pipeline knows that it is answered.
 */
export class ModelSource extends LoopSource {
  readonly #name: string;
  readonly #config: ModelSourceConfig;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  readonly #inbox: FeedInbox;
  readonly #scorer: Pick<FeedScorer, "standing" | "score">;
  /** Of the last feed, when it was refused. */
  #failure: string | undefined;
  /** The feed that the model was lost over, and how often. */
  #lost = { id: 0, times: 0 };

  constructor(
    name: string,
    config: ModelSourceConfig,
    sink: WaitingSink,
    clock: Clock,
    inbox: FeedInbox,
    scorer: Pick<FeedScorer, "standing" | "score">,
  ) {
    super(sink);
    this.#name = name;
    this.#config = config;
    this.#sink = sink;
    this.#clock = clock;
    this.#inbox = inbox;
    this.#scorer = scorer;
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const isReady = this.#look();
      const feed = this.#inbox.first(this.#name);
      if (!isReady || !feed || !(await this.#answer(feed, signal))) await this.#pause(signal);
    }
    this.set({ state: "stopped", reason: undefined });
  }

  /** Tells how the model stands. False while there is none to be asked. */
  #look(): boolean {
    const { state, reason } = this.#scorer.standing(this.#config);
    // Of another model, or of one that does not fit, which is told without it.
    if (state !== "ready") this.#failure = undefined;
    switch (state) {
      case "absent":
        this.set({ state: "opening", reason });
        return false;
      case "failed":
        this.set({ state, reason });
        return false;
      case "unfit":
        this.set({ state: "failed", reason });
        return true;
      case "ready":
        this.set({ state: this.#failure === undefined ? "open" : "failed", reason: this.#failure });
        return true;
      default:
        return state satisfies never;
    }
  }

  /** False when the feed has to wait. */
  async #answer(feed: Feed, signal: AbortSignal): Promise<boolean> {
    const result = await this.#score(feed, signal);
    if (!result || ("refusal" in result && this.#mayPass(result, feed))) return false;
    const frame = frameOf(result, feed, this.#config);
    while (!this.#sink.hasRoom(frame.length)) {
      if (signal.aborted) return false;
      await this.#clock.sleep(lookMs, signal).catch(() => undefined);
    }
    // Others have taken its place, or the inputs have changed: it is in the books already.
    if (!this.#inbox.isWaiting(this.#name, feed)) return true;
    this.#failure = "refusal" in result ? result.message : undefined;
    this.#sink.frame(frame, String(feed.id));
    this.#inbox.done(this.#name, feed);
    return true;
  }

  #mayPass({ refusal }: Refusal, { id }: Feed): boolean {
    if (refusal !== "lost") return passing.includes(refusal);
    this.#lost = { id, times: this.#lost.id === id ? this.#lost.times + 1 : 1 };
    return this.#lost.times < maxLost;
  }

  /**
   * Undefined when the source is stopped: a run goes on to its end, whoever waits for it. What is thrown is told as the
   * loss of the model, and costs this feed at most: the loop has to go on.
   */
  async #score(
    feed: Feed,
    signal: AbortSignal,
  ): Promise<Awaited<ReturnType<FeedScorer["score"]>> | undefined> {
    try {
      const score = this.#scorer.score(this.#config, feed, signal);
      return await within(score, longestMs, "the score of a feed", signal, "MODEL_LOST");
    } catch (error) {
      if (signal.aborted) return undefined;
      return { refusal: "lost", message: messageOf(error) };
    }
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const awake = new AbortController();
    const wake = () => awake.abort();
    const unwatch = this.#inbox.watch(this.#name, wake);
    // No AbortSignal.any: the source's own signal would keep a trace of each pause.
    signal.addEventListener("abort", wake);
    if (signal.aborted) wake();
    await this.#clock.sleep(lookMs, awake.signal).catch(() => undefined);
    signal.removeEventListener("abort", wake);
    unwatch();
  }
}

function frameOf(
  result: Refusal | { readonly values: Readonly<Record<string, number>> },
  feed: Feed,
  config: ModelSourceConfig,
): Uint8Array {
  const told =
    "refusal" in result
      ? { discard: "modelFailed", reason: result.message }
      : { device: config.device ?? feed.device, time: feed.timeMs, values: result.values };
  return Buffer.from(JSON.stringify(told));
}
