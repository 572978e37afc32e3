import type { ImageFolderSourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { unlessAborted } from "../core/deadline.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { FrameDiscard } from "../core/reading.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { KernelReads } from "./kernel-file.ts";
import { LoopSource } from "./loop-source.ts";
import { type Dropped, identityOf, PictureFolder } from "./picture-folder.ts";
import { type PicturePlace, PictureScoring, pictureFrame } from "./picture-scoring.ts";
import type { SourceStatus, WaitingSink } from "./source.ts";

/** A share that comes back should be read again within seconds. */
const schedule: RetrySchedule = { baseMs: 250, maxMs: 5_000, healthyMs: 0 };
/** Of one step in the folder; shares may hang for ever. */
const deadlineMs = 30_000;
/** Of what is left to do at a stop. */
const lastMs = 2_000;
/** Until room is looked for again. */
const roomMs = 20;
/** Pictures whose commit is waited for together: each wait writes to the flash. */
const mostTaken = 32;
/**
 * Pictures that are done and cannot be removed; with so many of them, nothing more is scored. Far fewer than `dedupe`
 * remembers, by which they are known after a restart.
 */
const mostStuck = 64;
/** Until they are tried again. */
const stuckMs = 30_000;

/** So often a model may fail at a picture, when it scores others meanwhile; */
const mostFailures = 5;
/** and at so many pictures of one pass. */
const mostFailed = 32;

/** What a picture has behind it that is still to be scored. */
interface Tried {
  readonly identity: string;
  /** How often the model failed at it, */
  failures: number;
  /** and how often it had to wait although the model was ready. */
  waits: number;
  /** How many pictures had been scored before the first failure. */
  scored: number;
}

/** A picture that was looked at, and waits for a commit to go. */
interface Done {
  readonly picture: Dropped;
  readonly isScored: boolean;
}

/**
 * The pictures of a folder, one reading each. A picture leaves the folder when its reading, or its discard, is durable;
 * until then it waits there, whatever the model does.
 */
export class ImageFolderSource extends LoopSource {
  readonly #config: ImageFolderSourceConfig;
  readonly #sink: WaitingSink;
  readonly #clock: Clock;
  readonly #scoring: PictureScoring;
  readonly #folder: PictureFolder;
  readonly #steps = new KernelReads(deadlineMs, "IMAGE_FOLDER_UNAVAILABLE");
  readonly #done: Done[] = [];
  #taken = 0;
  /** By name, what is done and could not be removed. */
  readonly #stuck = new Map<string, Done>();
  #stuckReason = "";
  #stuckTriedMs = 0;
  /** Of the last pass: a picture that the disk did not give, or at which the model failed; and how many of these. */
  #unread: SourceStatus | undefined;
  #failedNow = 0;
  #scored = 0;
  /** By name, of the last look. */
  #tried = new Map<string, Tried>();

  constructor(
    source: string,
    config: ImageFolderSourceConfig,
    sink: WaitingSink,
    clock: Clock,
    place: PicturePlace,
  ) {
    super(sink);
    this.#config = config;
    this.#sink = sink;
    this.#clock = clock;
    this.#scoring = new PictureScoring(source, config, place);
    this.#folder = new PictureFolder(config, clock);
  }

  protected override async run(signal: AbortSignal): Promise<void> {
    this.set({ state: "opening", reason: undefined });
    for (let failures = 0; !signal.aborted; ) {
      let pauseMs: number;
      try {
        const waits = await this.#pass(signal);
        failures = typeof waits === "number" ? 0 : failures + 1;
        pauseMs = typeof waits === "number" ? waits : backoffMs(schedule, failures - 1, Math.random());
        if (typeof waits !== "number") this.set(waits);
      } catch (error) {
        if (signal.aborted) break;
        pauseMs = backoffMs(schedule, failures++, Math.random());
        this.set(failure(`folder ${this.#config.folder}`, error));
      }
      await this.#clock.sleep(pauseMs, signal).catch(() => undefined);
    }
    this.set({ state: "stopped", reason: await this.#last(AbortSignal.timeout(lastMs)) });
  }

  /**
   * What is done goes before the end: a source that is switched off is forgotten by `dedupe`, and on again it would
   * count anew what lies there. Returns why something stays.
   */
  async #last(signal: AbortSignal): Promise<string | undefined> {
    try {
      await this.#steps.ended(signal);
      await this.#remove(signal);
      return this.#stuckStatus()?.reason;
    } catch (error) {
      return `pictures that are done stay in the folder (${this.#done.length}): ${messageOf(error)}`;
    }
  }

  /** Once through what is there. Returns after how many ms to look again, or what it waits for. */
  async #pass(signal: AbortSignal): Promise<number | SourceStatus> {
    // What a failure kept from going last time.
    await this.#remove(signal);
    await this.#unstick(signal);
    this.#unread = undefined;
    this.#failedNow = 0;
    const { lookMs } = this.#config;
    const look = () => this.#folder.look(new Set(this.#stuck.keys()));
    const { whole, wholeInMs = lookMs, isAll, trouble } = await this.#step("looking into it", look, signal);
    if (whole.length > 0)
      await this.#step("looking for a way out", () => this.#folder.expectWayOut(), signal);
    let waits: SourceStatus | undefined;
    const before = this.#taken;
    for (const picture of this.#ordered(whole)) {
      if (this.#stuck.size >= mostStuck) break;
      waits = await this.#take(picture, signal);
      if (this.#done.length >= Math.min(mostTaken, mostStuck - this.#stuck.size)) await this.#remove(signal);
      if (waits || this.#failedNow >= mostFailed) break;
    }
    await this.#remove(signal);
    const blocked = waits ?? this.#unread ?? this.#stuckStatus();
    if (blocked) return blocked;
    const reasons = [...this.#scoring.trouble, ...(trouble === undefined ? [] : [trouble])];
    this.set({ state: "open", reason: reasons.length === 0 ? undefined : reasons.join("; ") });
    return !isAll && this.#taken > before ? 0 : Math.min(lookMs, wholeInMs);
  }

  /** Those that were tried least come first, or a few at which each try fails would keep all others waiting. */
  #ordered(whole: readonly Dropped[]): readonly Dropped[] {
    const before = this.#tried;
    this.#tried = new Map();
    for (const picture of whole) {
      const tried = before.get(picture.name);
      if (tried?.identity === identityOf(picture)) this.#tried.set(picture.name, tried);
    }
    const triesOf = ({ name }: Dropped) => {
      const { failures = 0, waits = 0 } = this.#tried.get(name) ?? {};
      return failures + waits;
    };
    return [...whole].sort((a, b) => triesOf(a) - triesOf(b));
  }

  #triedAt({ name }: Dropped, identity: string): Tried {
    const tried = this.#tried.get(name) ?? { identity, failures: 0, waits: 0, scored: 0 };
    this.#tried.set(name, tried);
    return tried;
  }

  /** Scores one. Returns what it has to wait for. */
  async #take(picture: Dropped, signal: AbortSignal): Promise<SourceStatus | undefined> {
    const { waits } = this.#scoring;
    if (waits) return waits;
    const bytes = await this.#read(picture, signal);
    if (bytes === undefined) return undefined;
    if (typeof bytes === "string") return this.#discard(picture, bytes);
    const identity = identityOf(picture);
    const scored = await this.#scoring.score(bytes, identity, signal);
    switch (scored.kind) {
      case "wait":
        // A proxy may say at one picture for ever that it is busy; others may be why as well, so it is not given up.
        this.#triedAt(picture, identity).waits++;
        return this.#scoring.statusOf(scored);
      case "discard":
        return this.#discard(picture, scored.reason, bytes);
      case "failed":
        return this.#fails(picture, bytes, scored.message);
      case "scored": {
        await this.#frame(pictureFrame(identity, scored), signal);
        this.#scored++;
        this.#isDone({ picture, isScored: true });
        return undefined;
      }
      default:
        return scored satisfies never;
    }
  }

  /** One that the disk does not give stays, and keeps no other one waiting. */
  async #read(picture: Dropped, signal: AbortSignal): ReturnType<PictureFolder["read"]> {
    try {
      return await this.#step(
        `reading ${JSON.stringify(picture.name)}`,
        () => this.#folder.read(picture),
        signal,
      );
    } catch (error) {
      signal.throwIfAborted();
      this.#unread = failure(`picture ${JSON.stringify(picture.name)}`, error);
      return undefined;
    }
  }

  /** A model that fails at all pictures is to blame, and they wait; one that scores others is not. */
  #fails(picture: Dropped, bytes: Uint8Array, message: string): undefined {
    const tried = this.#triedAt(picture, identityOf(picture));
    if (tried.failures++ === 0) tried.scored = this.#scored;
    if (tried.failures >= mostFailures && this.#scored > tried.scored)
      return this.#discard(picture, "unscored", bytes);
    this.#failedNow++;
    const reason = `the model ${this.#config.model} failed at ${JSON.stringify(picture.name)}: ${message}`;
    this.#unread = { state: "failed", reason };
    return undefined;
  }

  #discard(picture: Dropped, reason: FrameDiscard, bytes?: Uint8Array): undefined {
    this.#sink.discard(reason, picture.bytes, bytes);
    this.#isDone({ picture, isScored: false });
  }

  #isDone(done: Done): void {
    this.#done.push(done);
    this.#taken++;
  }

  async #frame(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    while (!this.#sink.hasRoom(bytes.length) || !this.#sink.frame(bytes))
      await this.#clock.sleep(roomMs, signal);
  }

  /** Removes what is done, once that is durable. */
  async #remove(signal: AbortSignal): Promise<void> {
    if (this.#done.length === 0) return;
    await unlessAborted(this.#sink.committed(), signal);
    // What a stop keeps from going is still to go.
    for (let [done] = this.#done; done; [done] = this.#done) {
      await this.#removeOne(done, signal);
      this.#done.shift();
    }
  }

  async #removeOne(done: Done, signal: AbortSignal): Promise<void> {
    const { picture, isScored } = done;
    const remove = () => (isScored ? this.#folder.finish(picture) : this.#folder.reject(picture));
    try {
      await this.#step(`removing ${JSON.stringify(picture.name)}`, remove, signal);
      this.#stuck.delete(picture.name);
    } catch (error) {
      signal.throwIfAborted();
      this.#stuck.set(picture.name, done);
      this.#stuckReason = messageOf(error);
    }
  }

  /** Tries again what could not be removed. */
  async #unstick(signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonic();
    if (this.#stuck.size === 0 || nowMs - this.#stuckTriedMs < stuckMs) return;
    this.#stuckTriedMs = nowMs;
    for (const done of [...this.#stuck.values()]) await this.#removeOne(done, signal);
  }

  #stuckStatus(): SourceStatus | undefined {
    const { size } = this.#stuck;
    if (size === 0) return undefined;
    return {
      state: "failed",
      reason: `pictures that are done cannot be removed (${size}): ${this.#stuckReason}`,
    };
  }

  async #step<T>(what: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.#steps.run(work, what, signal);
  }
}

function failure(what: string, error: unknown): SourceStatus {
  return { state: hasCode(error, "ENOENT") ? "absent" : "failed", reason: `${what}: ${messageOf(error)}` };
}
