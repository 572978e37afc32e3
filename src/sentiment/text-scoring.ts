import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { isError, type Outcome } from "./outcome.ts";
import type { NotScored, Scored, Scorer } from "./scorer.ts";
import { scoredOrigin, type TakenText, unscoredOrigin } from "./text-stage.ts";

export interface TextScoringOptions {
  /** Texts that wait, behind a number, in order. */
  readonly next: (after: number) => Promise<readonly TakenText[]>;
  /** Where what became of them goes, as frames. */
  readonly target: {
    frame(source: string, bytes: Uint8Array, origin: string): boolean;
    hasRoom(bytes: number): boolean;
  };
  readonly scorer: Pick<Scorer, "score" | "ready">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** While others use the container, the journal has no room, or the store cannot be read. */
const pauseMs = 1_000;
/**
 * A text that fails alone, so often, is taken for the reason. Every third failure opens the breaker, and it is asked
 * for again only when another text was scored meanwhile: a container that is down costs no text.
 */
const maxFailures = 9;

/**
 * Has the texts scored that wait in the store, whenever the container is there, in the order in which they came.
 * A score is a frame of the text's source; with its commit the text waits no more. What a crash takes in between is
 * asked for again.
 */
export class TextScoring {
  readonly #options: TextScoringOptions;
  #isStopping = false;
  /** Ends what is under way for a store that is no more, and by a stop. */
  #round = new AbortController();
  /** The last one whose outcome is on its way. */
  #reached = 0;
  #isAwake = false;
  #isUnreadable = false;
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;

  constructor(options: TextScoringOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** There may be texts to be scored. */
  wake(): void {
    this.#isAwake = true;
    this.#wake?.();
  }

  /** The store was opened, and may have been made anew, with other numbers. A score that comes twice is refused there. */
  restart(): void {
    if (this.#isStopping) return;
    this.#round.abort();
    this.#round = new AbortController();
    this.#reached = 0;
    this.wake();
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#round.abort();
    this.wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const { signal } = this.#round;
      this.#isAwake = false;
      const texts = await this.#next(signal);
      if (signal.aborted) continue;
      if (texts.length === 0) {
        await this.#sleep();
        continue;
      }
      const last = await this.#together(texts, signal);
      if (last && !signal.aborted) this.#reached = last.number;
    }
  }

  async #next(signal: AbortSignal): Promise<readonly TakenText[]> {
    const { next, scorer, clock, log } = this.#options;
    await scorer.ready(signal);
    if (signal.aborted) return [];
    try {
      const texts = await next(this.#reached);
      this.#isUnreadable = false;
      return texts;
    } catch (error) {
      if (signal.aborted) return [];
      if (!this.#isUnreadable) log.warn({ reason: messageOf(error) }, "texts that wait cannot be read");
      this.#isUnreadable = true;
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      this.#isAwake = true;
      return [];
    }
  }

  /**
   * In one request as far as they fit; when that fails by what may be one of them, one by one. Returns the last one
   * whose outcome is on its way.
   */
  async #together(texts: readonly TakenText[], signal: AbortSignal): Promise<TakenText | undefined> {
    const scored = await this.#score(texts, signal);
    if ("outcomes" in scored) return (await this.#tell(texts, scored, signal)) ? texts.at(-1) : undefined;
    let last: TakenText | undefined;
    if (!scored.mayBeTheText) await this.#pause(scored, signal);
    else
      for (const text of texts) {
        if (!(await this.#alone(text, signal))) break;
        last = text;
      }
    return last;
  }

  async #alone(text: TakenText, signal: AbortSignal): Promise<boolean> {
    const { scorer, log } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      await scorer.ready(signal);
      if (signal.aborted) return false;
      const scored = await this.#score([text], signal);
      if ("outcomes" in scored) return await this.#tell([text], scored, signal);
      if (scored.mayBeTheText && ++failures >= maxFailures) {
        const { number, source } = text;
        log.warn({ source, number, reason: scored.message }, "a text is given up: others are scored");
        return await this.#frame(text, { error: { code: "unscored", message: scored.message } }, signal);
      }
      await this.#pause(scored, signal);
    }
    return false;
  }

  /** What is thrown is a bug, which these texts would find again after each restart: they fail by it, and others go on. */
  async #score(texts: readonly TakenText[], signal: AbortSignal): Promise<Scored | NotScored> {
    const { scorer, clock, log } = this.#options;
    try {
      return await scorer.score(texts, signal);
    } catch (error) {
      const message = messageOf(error);
      log.error(
        { reason: message, stack: error instanceof Error ? error.stack : undefined },
        "texts not scored",
      );
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      return { refusal: "badAnswer", message, mayBeTheText: true };
    }
  }

  async #tell(texts: readonly TakenText[], { outcomes }: Scored, signal: AbortSignal): Promise<boolean> {
    for (const [index, text] of texts.entries()) {
      const outcome = outcomes[index];
      if (outcome && !(await this.#frame(text, outcome, signal))) return false;
    }
    return true;
  }

  /** False when the end came before there was room for it, or it is of a store that is no more. */
  async #frame(text: TakenText, outcome: Outcome, signal: AbortSignal): Promise<boolean> {
    const { target, clock } = this.#options;
    const { number, source, device, timeMs } = text;
    const values = isError(outcome) ? outcome.error : { ...outcome.scores, score: outcome.score };
    const bytes = Buffer.from(JSON.stringify({ device, time: timeMs, ...values }));
    const origin = isError(outcome) ? unscoredOrigin(number) : scoredOrigin(number);
    while (!signal.aborted && !target.hasRoom(bytes.length))
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    if (signal.aborted) return false;
    return target.frame(source, bytes, origin);
  }

  /** The breaker is waited for elsewhere; this is for callers that are many. */
  async #pause({ refusal }: NotScored, signal: AbortSignal): Promise<void> {
    if (refusal === "busy") await this.#options.clock.sleep(pauseMs, signal).catch(() => undefined);
  }

  async #sleep(): Promise<void> {
    if (this.#isAwake) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}
