import type { PipelineConfig } from "../config/schema.ts";
import { messageOf } from "../core/errors.ts";
import type { FrameDiscard, TimeQuality } from "../core/reading.ts";
import { backoffMs } from "../core/retry.ts";
import type { StoreStatus } from "../store/contract.ts";
import { BatchWriter, type GapReason } from "./batch.ts";
import { Hearing } from "./hearing.ts";
import { HubAnswers } from "./hub-answers.ts";
import {
  type IntakeOptions,
  type IntakeSettings,
  type IntakeStatus,
  isRepeatable,
  type Repeatable,
} from "./intake-contract.ts";
import type { KeyEntry } from "./key-memory.ts";
import { Losses } from "./losses.ts";
import { Pace } from "./pace.ts";

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

/** What one commit takes along; kept together until it happened. */
interface Taken {
  readonly batch: Uint8Array;
  readonly oldestMs: number | undefined;
  readonly waiters: readonly Waiter[];
}

/** A batch this large is committed at once. */
const largeBatchBytes = 1_048_576;
/** A timer of Node ends early beyond 2^31 ms; the loop then looks again. */
const longestSleepMs = 3_600_000;
/** What a frame takes in a batch besides its bytes, generously. */
const frameOverheadBytes = 64;
/** A sleep that ends so much too late is no matter of load. */
const stoodStillMs = 1_000;
const commitRetry = { baseMs: 200, maxMs: 5_000, healthyMs: 0 };

/**
 * The main thread's end of the journal: collects entries in order, in bytes, and decides when to commit.
 * One commit is under way at a time; what arrives meanwhile waits in the next batch, bounded in bytes.
 */
export class Intake {
  readonly #options: IntakeOptions;
  #settings: IntakeSettings;
  readonly #writer = new BatchWriter();
  /** Monotonic ms of the oldest entry that a power cut would cost. */
  #oldestMs: number | undefined;
  #inFlightBytes = 0;
  readonly #answers = new HubAnswers();
  #waiters: Waiter[] = [];
  /** Somebody waits who is no broker, or there is another reason for haste. */
  #isUrgent = false;
  #isHastened = false;
  readonly #pace = new Pace();
  /** Shared by all who wait for the batch that is being collected. */
  #batchCommitted: Promise<void> | undefined;
  readonly #losses = new Losses();
  readonly #hearing = new Hearing();
  #retry: Taken | undefined;
  #prefix: Uint8Array | undefined;
  #attempt = 0;
  #notBeforeMs = 0;
  #commitMs = 0;
  #status: StoreStatus | undefined;
  #state: IntakeStatus = { state: "ok", reason: undefined, queuedBytes: 0, commits: 0, overshootMs: 0 };
  #stopping = false;
  #wake: (() => void) | undefined;
  #wakeAtMs = Number.POSITIVE_INFINITY;
  #running: Promise<void> | undefined;

  constructor(options: IntakeOptions, settings: IntakeSettings) {
    this.#options = options;
    this.#settings = settings;
  }

  get status(): IntakeStatus {
    return { ...this.#state, queuedBytes: this.#queuedBytes };
  }

  /** Half of the room is taken: waiting for a full disk to be freed would soon cost what comes in. */
  get #isPressed(): boolean {
    return this.#queuedBytes > this.#settings.maxQueueBytes / 2;
  }

  get #queuedBytes(): number {
    return this.#writer.byteLength + this.#inFlightBytes;
  }

  configure(settings: IntakeSettings): void {
    this.#settings = settings;
    this.#nudge();
  }

  /**
   * Takes a frame; the bytes are copied. False when there is no room: the frame is lost then,
   * counted as a gap of its source, unless the caller can wait and repeat.
   */
  frame(source: string, bytes: Uint8Array, origin = ""): boolean {
    const wallMs = this.#options.clock.wall();
    const monotonicMs = this.#options.clock.monotonic();
    if (!this.hasRoom(bytes.length)) {
      this.#losses.overrun(source, wallMs);
      this.#added(monotonicMs);
      return false;
    }
    this.#writer.frame(source, wallMs, monotonicMs, bytes, origin);
    this.#pace.arrived(monotonicMs);
    this.#added(monotonicMs);
    return true;
  }

  /**
   * Takes all of the frames and what they are remembered by, in one batch, or nothing. For callers who are told
   * and repeat: what is refused here is still theirs, and no gap. `tooLarge` never fits, `full` may later.
   */
  takeAll(
    source: string,
    frames: readonly Uint8Array[],
    wallMs: number,
    key?: KeyEntry,
  ): "taken" | "full" | "tooLarge" {
    const monotonicMs = this.#options.clock.monotonic();
    const { maxQueueBytes } = this.#settings;
    const bytes = frames.reduce((sum, frame) => sum + frame.length + frameOverheadBytes, 0);
    if (bytes > maxQueueBytes) return "tooLarge";
    if (this.#queuedBytes + bytes > maxQueueBytes) {
      this.#hearing.missed();
      return "full";
    }
    for (const frame of frames) this.#writer.frame(source, wallMs, monotonicMs, frame);
    if (key) this.#writer.rare({ type: "key", ...key });
    this.#added(monotonicMs);
    return "taken";
  }

  /** Whether a frame of so many bytes would be taken now: for those who can wait, to whom a refusal is no gap. */
  hasRoom(bytes: number): boolean {
    const hasRoom = this.#queuedBytes + bytes + frameOverheadBytes <= this.#settings.maxQueueBytes;
    if (!hasRoom) this.#hearing.missed();
    return hasRoom;
  }

  /**
   * Resolves when what was taken last is durable; one promise for all that the same commit takes along.
   * A broker waits, so the commit comes early: `minCommitMs` after the last one, or a little later while input streams on.
   */
  committed(): Promise<void> {
    this.#batchCommitted ??= this.#wait();
    return this.#batchCommitted;
  }

  /**
   * What was taken last should be durable at once, though nobody waits for it: the commit comes as soon as the last
   * one is done. For rare occasions, because it keeps no distance.
   */
  hasten(): void {
    this.#isHastened = true;
    this.#nudge();
  }

  /** Counts what never became a frame, such as an over-long line. */
  discard(source: string, reason: FrameDiscard, bytes: number): void {
    this.#losses.discard(source, reason, bytes);
    this.#added(this.#options.clock.monotonic());
  }

  gap(source: string, fromMs: number, count: number | "unknown", reason: GapReason): void {
    this.#writer.rare({ type: "gap", source, fromMs, toMs: this.#options.clock.wall(), count, reason });
    this.#added(this.#options.clock.monotonic());
  }

  clock(bootId: string, quality: TimeQuality): void {
    const { clock } = this.#options;
    const monotonicMs = clock.monotonic();
    this.#hearing.clock({ bootId, quality });
    this.#writer.rare({ type: "clock", wallMs: clock.wall(), monotonicMs, bootId, quality });
    this.#added(monotonicMs);
  }

  /** Resolves when the configuration stands in the journal and the pipeline runs with it. */
  async configuration(config: PipelineConfig): Promise<void> {
    const { clock } = this.#options;
    const monotonicMs = clock.monotonic();
    this.#writer.rare({ type: "configuration", wallMs: clock.wall(), monotonicMs, config });
    this.#added(monotonicMs);
    await this.flush();
  }

  /** What the next commit brings before anything else: a store that was made anew has forgotten it. */
  tellAnew(bootId: string, quality: TimeQuality, config: PipelineConfig): void {
    const { clock } = this.#options;
    const times = { wallMs: clock.wall(), monotonicMs: clock.monotonic() };
    const writer = new BatchWriter();
    writer.rare({ type: "clock", ...times, bootId, quality });
    writer.rare({ type: "configuration", ...times, config });
    this.#prefix = writer.take();
    this.#nudge();
  }

  acknowledge(message: number): void {
    this.#answers.acknowledge(message, this.#options.clock.monotonic());
    this.#nudge();
  }

  /** A message that the hub refused for good: its readings are discarded, counted. */
  reject(message: number, reason: string): void {
    this.#answers.reject(message, reason, this.#options.clock.monotonic());
    this.#nudge();
  }

  /** The hub takes messages again: what waits, or comes of a commit under way (nobody sleeps), is composed early. */
  compose(): void {
    this.#isUrgent ||= !this.#wake || (this.#status?.outbox.entries ?? 1) > 0;
    this.#nudge();
  }

  /** Resolves when everything taken so far is durable. */
  flush(): Promise<void> {
    this.#isUrgent = true;
    return this.#wait();
  }

  #wait(): Promise<void> {
    const done = new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
    this.#nudge();
    return done;
  }

  start(): void {
    this.#running ??= this.#run().catch((error) => this.#options.onFatal(error));
  }

  /** Commits what is left, with a snapshot. False when the deadline came first: something is lost then. */
  async stop(deadline: AbortSignal): Promise<boolean> {
    this.#stopping = true;
    this.#nudge();
    await this.#running;
    while (!deadline.aborted) {
      // A batch that has to be repeated goes alone; what came behind it follows in the last commit.
      const last = this.#retry === undefined;
      const done = await this.#commit(last);
      if (done && last) return true;
      if (!done) await this.#options.clock.sleep(100, deadline).catch(() => undefined);
    }
    return false;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      const now = this.#options.clock.monotonic();
      const due = this.#dueMs(now);
      if (due > now) await this.#sleep(due, now);
      else await this.#commit(false);
    }
  }

  /** Monotonic ms of the next commit. */
  #dueMs(now: number): number {
    const { maxLossMs, minCommitMs, compose } = this.#settings;
    if (this.#retry) return this.#notBeforeMs;
    if (this.#isHastened) return now;
    // Room for the commit itself: twice what they take lately, and never more than half of what is promised.
    const margin = Math.min(maxLossMs / 2, 10 + 2 * this.#commitMs);
    const lossDue =
      this.#oldestMs === undefined ? Number.POSITIVE_INFINITY : this.#oldestMs + maxLossMs - margin;
    let due = this.#answers.dueMs(maxLossMs);
    const { windowDueMs, composeDueMs, steadyBaseMs = 0 } = this.#status ?? {};
    // A little behind the due time, or rounding would commit just before it, in vain.
    if (windowDueMs !== undefined) {
      due = Math.min(due, windowDueMs - steadyBaseMs + Math.max(2, compose.maxDelayMs - margin));
    }
    if (composeDueMs !== undefined) due = Math.min(due, composeDueMs - steadyBaseMs + 2);
    if (this.#isUrgent || this.#writer.byteLength >= largeBatchBytes || this.#answers.areMany) due = now;
    if (this.#waiters.length > 0) due = Math.min(due, this.#pace.dueMs(this.#notBeforeMs, minCommitMs));
    // The spacing holds for commits that somebody wants early, not for the one that keeps the promise.
    return Math.min(lossDue, Math.max(due, this.#notBeforeMs + minCommitMs));
  }

  #added(monotonicMs: number): void {
    this.#oldestMs ??= monotonicMs;
    this.#nudge(monotonicMs);
  }

  /** Wakes the loop only when it would sleep past what is due now: most frames change nothing. */
  #nudge(now = this.#options.clock.monotonic()): void {
    if (!this.#wake) return;
    if (this.#stopping || this.#dueMs(now) < this.#wakeAtMs) this.#wake();
  }

  async #sleep(dueMs: number, now: number): Promise<void> {
    const sleepMs = Math.min(dueMs - now, longestSleepMs);
    this.#wakeAtMs = now + sleepMs;
    const awake = new AbortController();
    this.#wake = () => awake.abort();
    await this.#options.clock.sleep(sleepMs, awake.signal).catch(() => undefined);
    // The process stood still: what came meanwhile is yet to be read.
    if (this.#options.clock.monotonic() - this.#wakeAtMs > stoodStillMs) this.#hearing.missed();
    this.#wake = undefined;
    this.#wakeAtMs = Number.POSITIVE_INFINITY;
  }

  /** True when the commit happened; false when it has to be repeated. Throws what no repetition mends. */
  async #commit(last: boolean): Promise<boolean> {
    const { clock, store, demand } = this.#options;
    const startedMs = clock.monotonic();
    const taken = this.#withPrefix(this.#retry ?? this.#take());
    const { batch, oldestMs, waiters } = taken;
    const answers = this.#answers.take();
    this.#retry = undefined;
    this.#inFlightBytes = batch.length;
    try {
      const { compose } = this.#settings;
      const commit = {
        batch,
        ...answers,
        compose,
        ...(demand ? { demand: demand() } : {}),
        nowMs: clock.wall(),
        monotonicMs: clock.monotonic(),
        ...(this.#status ? { after: this.#status.position } : {}),
        ...(this.#isPressed ? { isPressed: true } : {}),
        ...(last ? { last } : {}),
      };
      this.#status = await store.commit(commit);
    } catch (error) {
      if (!isRepeatable(error)) {
        for (const waiter of waiters) waiter.reject(error);
        throw error;
      }
      this.#answers.putBack(answers);
      this.#failed({ ...taken, batch: error.batch }, error);
      if (error.status) this.#options.onCommit(error.status);
      return false;
    }
    this.#succeeded(startedMs, oldestMs);
    for (const waiter of waiters) waiter.resolve();
    this.#options.onCommit(this.#status);
    return true;
  }

  /** The prefix holds no frames, so that the numbers of the batch's sources stay what they are. */
  #withPrefix(taken: Taken): Taken {
    const prefix = this.#prefix;
    this.#prefix = undefined;
    if (!prefix) return taken;
    return { ...taken, batch: new Uint8Array(Buffer.concat([prefix, taken.batch])) };
  }

  #take(): Taken {
    const { clock } = this.#options;
    this.#losses.writeTo(this.#writer);
    const anew = this.#hearing.takeAnew();
    if (anew) this.clock(anew.bootId, anew.quality);
    // The tick says that nothing older follows; where nothing waits for that, nobody needs to know.
    const { openWindows = 0, holding = 0, windowDueMs } = this.#status ?? {};
    if (this.#writer.entryCount > 0 || openWindows > 0 || holding > 0 || windowDueMs !== undefined) {
      this.#writer.tick(clock.wall(), clock.monotonic());
    }
    const oldestMs = this.#oldestMs;
    this.#oldestMs = undefined;
    this.#batchCommitted = undefined;
    this.#isUrgent = false;
    this.#isHastened = false;
    this.#pace.committing(clock.monotonic());
    return { batch: this.#writer.take(), oldestMs, waiters: this.#waiters.splice(0) };
  }

  #succeeded(startedMs: number, oldestMs: number | undefined): void {
    const { clock, log } = this.#options;
    const now = clock.monotonic();
    this.#inFlightBytes = 0;
    this.#attempt = 0;
    this.#notBeforeMs = now;
    this.#commitMs = Math.max(now - startedMs, this.#commitMs * 0.9);
    const overshoot = oldestMs === undefined ? 0 : now - oldestMs - this.#settings.maxLossMs;
    if (this.#state.state === "failing") log.info({}, "the store takes data again");
    this.#state = {
      state: "ok",
      reason: undefined,
      queuedBytes: 0,
      commits: this.#state.commits + 1,
      overshootMs: Math.max(this.#state.overshootMs, Math.round(overshoot)),
    };
  }

  #failed(taken: Taken, error: Repeatable): void {
    const { clock, log } = this.#options;
    this.#retry = taken;
    this.#notBeforeMs = clock.monotonic() + 50 + backoffMs(commitRetry, this.#attempt++, Math.random());
    const reason = messageOf(error);
    if (this.#state.state === "ok")
      log.error({ reason }, "the store does not take data; it is repeated for ever");
    this.#state = { ...this.#state, state: "failing", reason };
  }
}
