import type { Clock } from "../core/clock.ts";
import { aborted } from "../core/deadline.ts";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { enterPhase } from "../core/phase.ts";
import { backoffMs } from "../core/retry.ts";
import type { HubMessage } from "../hub/hub-client.ts";
import type { Done, MessageClass } from "../outbox/message-body.ts";
import type { OutboxMessage } from "../outbox/outbox.ts";
import { Allowance, type Rate } from "./allowance.ts";
import { Suspicion } from "./suspicion.ts";

export interface PublisherOptions {
  /** The next message behind those that are done with, if there is one. */
  readonly next: (done: Done, isBackfillWanted: boolean) => Promise<OutboxMessage | undefined>;
  /** Resolves when a connection stands. */
  readonly connected: (signal: AbortSignal) => Promise<void>;
  /** Asked before each message; when the answer changes, `wake` tells. */
  readonly mayHandOver: () => boolean;
  readonly send: (message: HubMessage) => Promise<void>;
  readonly acknowledge: (sequence: number) => void;
  readonly reject: (sequence: number, reason: string) => void;
  readonly onFatal: (error: unknown) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface PublishSettings {
  readonly maxInFlight: number;
  /** Of the backlog. */
  readonly backfill: Rate;
}

export interface PublisherStatus {
  readonly sent: number;
  readonly repeated: number;
  readonly rejected: number;
  readonly inFlight: number;
}

const classes: readonly MessageClass[] = ["alarm", "live", "backfill"];
/** Confirmed behind one that is not. */
const mostConfirmed = 4_096;
/** Between looks for messages while the store cannot be read. */
const storeRetryMs = 1_000;
/** While the hub confirms nothing; the link behind it has a schedule of its own. */
const failureSchedule = { baseMs: 100, maxMs: 10_000, healthyMs: 0 };

/**
 * Hands messages to the hub, several in flight, each class in order; alarms overtake what is new, and that the backlog,
 * which has a rate of its own. When a connection is lost, everything from the first unconfirmed message of each class on
 * goes again, so a message may be repeated, but never comes for the first time behind its successor.
 */
export class Publisher {
  readonly #options: PublisherOptions;
  #settings: PublishSettings;
  readonly #stop = new AbortController();
  readonly #allowance: Allowance;
  #suspicion = new Suspicion();
  #status = { sent: 0, repeated: 0, rejected: 0 };
  /** Last message of each class that was handed over. */
  #reached: Record<MessageClass, number> = { alarm: 0, live: 0, backfill: 0 };
  /** Handed over and not confirmed, in that order; and confirmed behind one that is not. */
  readonly #open = new Map<number, MessageClass>();
  readonly #confirmed = new Map<number, MessageClass>();
  /** Messages that were passed over because they end connections. */
  readonly #aside = new Map<number, MessageClass>();
  #offered: readonly OutboxMessage[] = [];
  #sending = 0;
  #isLost = false;
  /** Streams that ended without a confirmation. */
  #failures = 0;
  /** Counts the times the store was opened: what was done in an earlier round says nothing of this one. */
  #round = 0;
  #wake: (() => void) | undefined;
  /** Set when a wake came while nobody slept. */
  #awake = false;
  #running: Promise<void> | undefined;

  constructor(options: PublisherOptions, settings: PublishSettings) {
    this.#options = options;
    this.#settings = settings;
    this.#allowance = new Allowance(settings.backfill);
  }

  get status(): PublisherStatus {
    return { ...this.#status, inFlight: this.#sending };
  }

  /** How many are passed over because they end connections; undefined: none. */
  get leftOut(): Readonly<Record<MessageClass, number>> | undefined {
    if (this.#aside.size === 0) return undefined;
    const counts = { alarm: 0, live: 0, backfill: 0 };
    for (const name of this.#aside.values()) counts[name]++;
    return counts;
  }

  /** A message is being tried that may well end the connection. */
  get isTryingSuspect(): boolean {
    return this.#suspicion.isTrying(this.#options.clock.monotonic());
  }

  configure(settings: PublishSettings): void {
    this.#settings = settings;
    this.#allowance.configure(settings.backfill);
    this.wake();
  }

  start(): void {
    this.#running ??= this.#run().catch((error) => this.#options.onFatal(error));
  }

  /** The store was opened again: what it holds is looked at from its beginning. */
  restart(): void {
    this.#reached = { alarm: 0, live: 0, backfill: 0 };
    this.#confirmed.clear();
    this.#offered = [];
    this.#aside.clear();
    // What was suspected may not be there any more.
    this.#suspicion = new Suspicion();
    this.#round++;
    this.wake();
  }

  /** What the hub before could not bear says nothing of this one. */
  otherHub(): void {
    this.#suspicion = new Suspicion();
    this.#failures = 0;
    this.#takeBack();
    this.wake();
  }

  /** Messages that were composed just now: nobody needs to ask for them, as long as none of their class is before them. */
  offer(messages: readonly OutboxMessage[]): void {
    if (messages.length === 0) return;
    this.#offered = messages;
    this.wake();
  }

  /** There may be something new in the outbox, or something held back may go. */
  wake(): void {
    this.#awake = true;
    this.#wake?.();
  }

  async stop(): Promise<void> {
    this.#stop.abort(new TransientError("HUB_LOST", "stopped"));
    this.wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { connected, clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await connected(signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      await this.#stream();
      if (!this.#isLost || this.#failures < 2) continue;
      const waitMs = backoffMs(failureSchedule, this.#failures, Math.random());
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }

  /** Sends over one connection until it is lost. */
  async #stream(): Promise<void> {
    for (const name of classes) this.#reached[name] = this.#doneOf(name);
    this.#open.clear();
    this.#aside.clear();
    this.#isLost = false;
    this.#suspicion.connected();
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted && !this.#isLost) {
      this.#awake = false;
      const nowMs = clock.monotonic();
      if (this.#suspicion.due(nowMs) !== undefined) this.#takeBack();
      const limit = this.#suspicion.isAlone(nowMs) ? 1 : this.#settings.maxInFlight;
      const backfillWaitMs = this.#backfillWaitMs();
      const isFree = this.#sending < limit && this.#options.mayHandOver();
      const message = isFree ? await this.#next(backfillWaitMs === 0) : undefined;
      if (message && !this.#isLost && !this.#stop.signal.aborted) this.#handOver(message);
      else if (isFree) await this.#sleep(sooner(backfillWaitMs || undefined, this.#suspicion.waitMs(nowMs)));
      else await this.#sleep(undefined);
    }
    while (this.#sending > 0) {
      this.#awake = false;
      await this.#sleep(undefined);
    }
    const [first] = this.#open.keys();
    if (!this.#isLost || first === undefined) return;
    const poison = this.#suspicion.failed(first, clock.monotonic());
    if (poison !== undefined)
      this.#reject(poison, "the hub ends the connection at it, and takes others", this.#round);
  }

  /** Up to which message everything of a class is done with. */
  #doneOf(of: MessageClass): number {
    let done = this.#reached[of];
    for (const [sequence, openClass] of this.#open) if (openClass === of) done = Math.min(done, sequence - 1);
    for (const [sequence, asideClass] of this.#aside)
      if (asideClass === of) done = Math.min(done, sequence - 1);
    return done;
  }

  /** 0 when a message of the backlog may go. Half of what is in flight is kept for what is new. */
  #backfillWaitMs(): number | undefined {
    const inFlight = [...this.#open.values()].filter((of) => of === "backfill").length;
    if (inFlight >= Math.ceil(this.#settings.maxInFlight / 2)) return undefined;
    return this.#allowance.waitMs(this.#options.clock.monotonic());
  }

  /** A store that cannot be read now is asked again. */
  async #next(isBackfillWanted: boolean): Promise<OutboxMessage | undefined> {
    const { next, clock, log } = this.#options;
    for (let trouble = ""; !this.#stop.signal.aborted; ) {
      const round = this.#round;
      try {
        const message = this.#takeOffered() ?? (await next(this.#reached, isBackfillWanted));
        if (round !== this.#round) continue;
        if (!message) {
          // What is under way may pass yet, and then this one is tried behind it.
          if (this.#aside.size === 0 || this.#sending > 0 || !this.#suspicion.tryAgain()) return undefined;
          this.#takeBack();
          continue;
        }
        const { sequence } = message;
        if (this.#suspicion.isLeftOut(sequence, clock.monotonic())) this.#aside.set(sequence, message.class);
        else if (!this.#open.has(sequence) && !this.#confirmed.has(sequence)) return message;
        this.#reached[message.class] = sequence;
      } catch (error) {
        if (!(error instanceof TransientError)) throw error;
        if (error.message !== trouble) log.warn({ reason: error.message }, "the outbox cannot be read");
        trouble = error.message;
        await clock.sleep(storeRetryMs, this.#stop.signal).catch(() => undefined);
      }
    }
    return undefined;
  }

  #takeOffered(): OutboxMessage | undefined {
    const [first, ...rest] = this.#offered;
    this.#offered = rest;
    if (!first) return undefined;
    const reached = this.#reached[first.class];
    // Those before it are asked for, and it with them.
    return first.previous <= reached && reached < first.sequence ? first : undefined;
  }

  /** Of what was passed over something is to be sent, and so is looked at anew. */
  #takeBack(): void {
    for (const [sequence, of] of this.#aside) this.#reached[of] = Math.min(this.#reached[of], sequence - 1);
    this.#aside.clear();
  }

  #handOver(message: OutboxMessage): void {
    const { send, onFatal } = this.#options;
    const { sequence, class: of } = message;
    this.#reached[of] = sequence;
    this.#open.set(sequence, of);
    if (of === "backfill") this.#allowance.take(message.body.length);
    this.#sending++;
    const round = this.#round;
    enterPhase("publish");
    send(message)
      .then(
        () => this.#passed(sequence, round),
        (error: unknown) => this.#failed(message, error, round),
      )
      .catch((error) => {
        this.#isLost = true;
        this.#stop.abort(error);
        onFatal(error);
      })
      .finally(() => {
        this.#sending--;
        this.wake();
      });
  }

  #passed(sequence: number, round: number): void {
    this.#failures = 0;
    this.#options.acknowledge(sequence);
    this.#status = { ...this.#status, sent: this.#status.sent + 1 };
    this.#done(sequence, round);
    this.#suspicion.passed(sequence, this.#options.clock.monotonic());
  }

  #failed({ sequence, id }: OutboxMessage, error: unknown, round: number): void {
    if (error instanceof PermanentError) {
      this.#options.log.error(
        { message: id, reason: messageOf(error) },
        "the hub refused a message for good",
      );
      this.#reject(sequence, messageOf(error), round);
      return;
    }
    if (!(error instanceof TransientError)) throw error;
    if (!this.#isLost) this.#failures++;
    this.#isLost = true;
    this.#status = { ...this.#status, repeated: this.#status.repeated + 1 };
  }

  #reject(sequence: number, reason: string, round: number): void {
    this.#options.reject(sequence, reason);
    this.#suspicion.settled(sequence);
    this.#status = { ...this.#status, rejected: this.#status.rejected + 1 };
    this.#done(sequence, round);
  }

  /** It is not sent again, though the store may hold it until the next commit. */
  #done(sequence: number, round: number): void {
    const of = this.#open.get(sequence);
    this.#open.delete(sequence);
    if (of === undefined || round !== this.#round) return;
    this.#confirmed.set(sequence, of);
    // The oldest first; what is beyond the bound was committed long ago.
    for (const [confirmed, confirmedClass] of this.#confirmed) {
      const isPast = confirmed <= this.#doneOf(confirmedClass) || this.#confirmed.size > mostConfirmed;
      if (!isPast) break;
      this.#confirmed.delete(confirmed);
    }
  }

  /** Until it is woken, or for `ms`. */
  async #sleep(ms: number | undefined): Promise<void> {
    if (this.#awake) return;
    const awake = new AbortController();
    this.#wake = () => awake.abort();
    const { clock } = this.#options;
    await (ms ? clock.sleep(ms, awake.signal).catch(() => undefined) : aborted(awake.signal));
    this.#wake = undefined;
  }
}

function sooner(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}
