import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
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
/** A text that fails alone, so often, since another one that waited was scored, is taken for the reason. */
const maxFailures = 9;
/** How many that failed are asked for again before others have their turn. */
const maxAgain = 10;
/** For those, while no other is scored: a container that scores nothing costs no text, and is no use to hurry. */
const againSchedule: RetrySchedule = { baseMs: 1_000, maxMs: 60_000, healthyMs: 0 };
/** A timer of Node ends early beyond 2^31 ms; the loop then looks again. */
const longestSleepMs = 3_600_000;

interface Failing {
  /** Those that count, and all. */
  readonly failures: number;
  readonly tries: number;
  /** `#answered` at the first one. */
  readonly answered: number;
  /** Monotonic. */
  readonly dueMs: number;
}

/**
 * Has the texts scored that wait in the store, whenever the container is there, in the order in which they came; those
 * that fail stand back for others.
 * A score is a frame of the text's source; with its commit the text waits no more. What a crash takes in between is
 * asked for again.
 */
export class TextScoring {
  readonly #options: TextScoringOptions;
  #isStopping = false;
  /** Ends what is under way for a store that is no more, and by a stop. */
  #round = new AbortController();
  /** The last one whose outcome is on its way, or that failed. */
  #reached = 0;
  /** By number. What they say stays in the store. */
  readonly #failing = new Map<number, Failing>();
  /** Texts that the container had an answer for. */
  #answered = 0;
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
    this.#failing.clear();
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
      if (!(await this.#again(signal))) continue;
      const texts = await this.#next(this.#reached, signal);
      if (signal.aborted) continue;
      if (texts.length === 0) await this.#sleep();
      else if (await this.#together(texts, signal)) this.#reached = texts.at(-1)?.number ?? this.#reached;
    }
  }

  async #next(after: number, signal: AbortSignal): Promise<readonly TakenText[]> {
    const { next, scorer, clock, log } = this.#options;
    await scorer.ready(signal);
    if (signal.aborted) return [];
    try {
      const texts = await next(after);
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
   * In one request as far as they fit; when that fails by what may be one of them, they are asked for again one by one.
   * False when they are to be asked for together again.
   */
  async #together(texts: readonly TakenText[], signal: AbortSignal): Promise<boolean> {
    const answered = this.#answered;
    const scored = await this.#score(texts, signal);
    if (signal.aborted) return false;
    if ("outcomes" in scored) return await this.#tell(texts, scored, signal);
    if (!scored.mayBeTheText) {
      await this.#pause(scored, signal);
      return false;
    }
    const dueMs = this.#options.clock.monotonic();
    for (const { number } of texts) this.#failing.set(number, { failures: 0, tries: 0, answered, dueMs });
    return true;
  }

  /** One by one, those that failed and are due. False when that was broken off. */
  async #again(signal: AbortSignal): Promise<boolean> {
    const nowMs = this.#options.clock.monotonic();
    const due = [...this.#failing].filter(([, { dueMs }]) => dueMs <= nowMs).slice(0, maxAgain);
    for (const [number, failing] of due) {
      const [text] = await this.#next(number - 1, signal);
      if (signal.aborted || this.#isUnreadable) return false;
      if (text?.number !== number) {
        this.#failing.delete(number);
        continue;
      }
      const scored = await this.#score([text], signal);
      if (signal.aborted) return false;
      if ("outcomes" in scored) await this.#tell([text], scored, signal);
      else if (scored.mayBeTheText) await this.#fail(text, failing, scored.message, signal);
      else {
        await this.#pause(scored, signal);
        return false;
      }
    }
    return true;
  }

  async #fail(text: TakenText, failing: Failing, message: string, signal: AbortSignal): Promise<void> {
    const { log, clock } = this.#options;
    const { number, source } = text;
    const { answered, tries } = failing;
    const isAlone = this.#answered === answered;
    const failures = failing.failures + (isAlone ? 0 : 1);
    if (failures >= maxFailures) {
      log.warn({ source, number, reason: message }, "a text is given up: others are scored");
      await this.#frame(text, { error: { code: "unscored", message } }, signal);
      return;
    }
    const standsBackMs = isAlone ? backoffMs(againSchedule, tries, 1) : 0;
    this.#failing.delete(number);
    this.#failing.set(number, {
      failures,
      tries: tries + 1,
      answered,
      dueMs: clock.monotonic() + standsBackMs,
    });
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
    this.#answered += texts.length;
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
    if (!target.frame(source, bytes, origin)) return false;
    this.#failing.delete(number);
    return true;
  }

  /** The breaker is waited for elsewhere; this is for callers that are many. */
  async #pause({ refusal }: NotScored, signal: AbortSignal): Promise<void> {
    if (refusal === "busy") await this.#options.clock.sleep(pauseMs, signal).catch(() => undefined);
  }

  /** Until it is woken, or one that failed is due. */
  async #sleep(): Promise<void> {
    if (this.#isAwake) return;
    const { clock } = this.#options;
    const nowMs = clock.monotonic();
    let dueMs = nowMs + longestSleepMs;
    for (const failing of this.#failing.values()) dueMs = Math.min(dueMs, failing.dueMs);
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    await clock.sleep(Math.max(0, dueMs - nowMs), woken.signal).catch(() => undefined);
    this.#wake = undefined;
  }
}
