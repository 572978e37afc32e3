import type { UpstreamSample, UpstreamSettings } from "../hub/upstream-watch.ts";

/**
 * Of edge hub's way to the cloud. `congested`: it sends more slowly than messages come, or lets them expire.
 * `unknown`: no metrics, or nothing in them that tells.
 */
export type UpstreamState = "online" | "offline" | "congested" | "unknown";

/** Growth below it is what modules have just sent. */
const growthAllowance = 50;
/** Samples without a fall before growth counts. */
const growthSamples = 3;
/** Samples missed in a row before what was known counts no more: a restart of edge hub takes a while. */
const maxMissed = 3;
/** Least time between two messages handed over while holding, in samples. */
const trickleSamples = 6;
/** The same where all that is known says that they would not get further, and could expire. */
const rareSamples = 360;

/**
 * Judges samples of edge hub's metrics: whether messages go over now, or wait in the store, which does not expire by
 * wall clock as edge hub's does (`timeToLiveSecs`). It reads no clock.
 *
 * - **Offline** is edge hub's own word: more times offline began than ended. Messages that went upstream meanwhile
 *   refute it. Where it does not tell ends, a count that rose is believed until something goes upstream.
 * - **Congested** begins when the queue has grown by more than the allowance without a fall over several samples, when
 *   messages in it expire and none is sent, or when it is longer than the bound. It ends at half of that length.
 *   Messages of other modules count like ours: behind them ours would wait, too.
 *
 * It cannot hold for ever by mistake: a message may pass every so often, and seldom while others wait before it that
 * would show a way upstream as well. Edge hub renews the length only when something enters or leaves the queue
 * (`Checkpointer.cs`), so that of a queue whose messages expired may stand still until one does.
 */
export class HoldBack {
  readonly #maxQueueLength: number;
  readonly #intervalMs: number;
  #state: UpstreamState = "unknown";
  #last: UpstreamSample | undefined;
  #missed = 0;
  /** Something went upstream between the last two samples. */
  #took = false;
  /** Queue's length at its last fall, and samples since. */
  #base = 0;
  #samples = 0;
  #resumeAt = 0;
  /** The count of times offline that turned out not to be true. */
  #refuted: number | undefined;
  #handedMs = Number.NEGATIVE_INFINITY;

  /** Without settings it has no samples to judge, and holds nothing. */
  constructor(settings: UpstreamSettings | undefined) {
    this.#maxQueueLength = settings?.maxQueueLength ?? Number.POSITIVE_INFINITY;
    this.#intervalMs = settings?.intervalMs ?? 0;
  }

  get state(): UpstreamState {
    return this.#state;
  }

  get holding(): boolean {
    return this.#state === "offline" || this.#state === "congested";
  }

  /** Asked before each message; `nowMs` is monotonic. */
  mayHandOver(nowMs: number): boolean {
    if (!this.holding) return true;
    const { queueLength = 0, offlineCount = 0, offlineEnds = 0 } = this.#last ?? {};
    const mayMove = this.#took || queueLength === 0 || offlineCount < offlineEnds;
    return nowMs - this.#handedMs >= (mayMove ? trickleSamples : rareSamples) * this.#intervalMs;
  }

  handedOver(nowMs: number): void {
    this.#handedMs = nowMs;
  }

  /** A look at the metrics brought nothing. */
  missed(): void {
    this.#missed++;
    if (this.#missed >= maxMissed) this.#forget();
  }

  observe(sample: UpstreamSample): void {
    this.#missed = 0;
    if (this.#last?.instance !== sample.instance) this.#forget();
    const last = this.#last;
    const { queueLength, expired, sent } = sample;
    const isExpiring = last !== undefined && expired > last.expired;
    this.#took =
      last !== undefined && (sent > last.sent || queueLength + (expired - last.expired) < last.queueLength);
    // What gathered in an outage says nothing of what comes after it.
    if (last === undefined || queueLength < last.queueLength || this.#state === "offline") {
      this.#base = queueLength;
      this.#samples = 0;
    } else this.#samples++;
    if (this.#isOffline(sample)) this.#state = "offline";
    else if (this.#isCongested(queueLength, isExpiring && !this.#took)) this.#state = "congested";
    else if (this.#took || sample.offlineEnds !== undefined || this.#state !== "unknown")
      this.#state = "online";
    this.#last = sample;
  }

  #isOffline({ offlineCount, offlineEnds }: UpstreamSample): boolean {
    const last = this.#last;
    const isSame = last?.offlineCount === offlineCount && last.offlineEnds === offlineEnds;
    if (offlineEnds === undefined) {
      const rose = last !== undefined && offlineCount > last.offlineCount;
      return (rose || this.#state === "offline") && !this.#took;
    }
    if (offlineCount < offlineEnds) return false;
    if (isSame && this.#took) this.#refuted = offlineCount;
    return offlineCount !== this.#refuted;
  }

  #isCongested(queueLength: number, isWasting: boolean): boolean {
    const isWastingNow = isWasting && queueLength > 0;
    if (this.#state === "congested") return isWastingNow || queueLength > this.#resumeAt;
    const hasGrown = this.#samples >= growthSamples && queueLength - this.#base > growthAllowance;
    if (!isWastingNow && !hasGrown && queueLength <= this.#maxQueueLength) return false;
    this.#resumeAt = Math.floor(Math.min(queueLength, this.#maxQueueLength) / 2);
    return true;
  }

  #forget(): void {
    this.#state = "unknown";
    this.#last = undefined;
    this.#took = false;
    this.#refuted = undefined;
  }
}
