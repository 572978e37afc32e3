import { availableParallelism } from "node:os";
import type { ModelConfig, RemoteConfig } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import type { Clock } from "../core/clock.ts";
import { aborted } from "../core/deadline.ts";
import { messageOf, PermanentError, TransientError } from "../core/errors.ts";
import { fingerprint } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { takesBatches } from "./batch.ts";
import { JobQueue } from "./job-queue.ts";
import { type Label, readLabels } from "./labels.ts";
import { findModel, type ModelFile } from "./model-file.ts";
import { ModelThread } from "./model-thread.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";
import type { Outcome, Task } from "./task.ts";
import type { Opened } from "./thread-protocol.ts";

export interface ModelStatus {
  /** `ready` with a reason: the configured one is not taken, and the one before stays. */
  readonly state: "loading" | "ready" | "failed" | "stopped";
  readonly reason: string | undefined;
  /** Of the model in force, as are the rest; undefined without one. */
  readonly sha256: string | undefined;
  readonly bytes: number | undefined;
  readonly engine: Opened["engine"] | undefined;
  readonly threads: number | undefined;
  readonly inputs: Opened["inputs"];
  readonly outputs: Opened["outputs"];
  /** Requests that are not answered yet. */
  readonly inside: number;
  readonly counts: Readonly<Record<"scored" | "refused" | "busy" | "failed" | "cancelled", number>>;
}

/** What a request is scored with: a model and the settings that came with it. */
export interface ModelInForce {
  readonly config: ModelConfig;
  readonly opened: Opened;
  readonly labels: readonly Label[] | undefined;
}

/** A request, made ready for the thread. */
export interface Prepared {
  readonly task: Task;
  /** What of it the thread takes over. */
  readonly transfer?: readonly ArrayBuffer[];
}

export interface Answered {
  readonly outcome: Exclude<Outcome, Refusal>;
  readonly by: ModelInForce;
}

/** What tells models that the gateway stops. */
export interface StopSignals {
  /** Nobody gets a turn any more; */
  readonly noTurns: AbortSignal;
  /** and who is at work, no answer. */
  readonly noAnswers: AbortSignal;
}

interface Serving extends Omit<ModelInForce, "config"> {
  /** The settings that need no other load change with the configuration. */
  config: ModelConfig;
  readonly thread: ModelThread;
  /** Undefined of a scorer elsewhere. */
  readonly file: ModelFile | undefined;
  readonly threads: number | undefined;
  readonly identity: string;
  /** Requests that were begun with it. */
  users: number;
  isRetired: boolean;
}

const never = new AbortController().signal;
const unstopped: StopSignals = { noTurns: never, noAnswers: never };
const schedule: RetrySchedule = { baseMs: 1_000, maxMs: 60_000, healthyMs: 60_000 };
/** A file that is refused is looked at again this seldom: reading and loading it costs seconds. */
const refusedMs = 300_000;

/** One model of the configuration: loaded, tried, asked, and replaced while it runs. */
export class Model {
  readonly #folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #queue = new JobQueue();
  readonly #counts = { scored: 0, refused: 0, busy: 0, failed: 0, cancelled: 0 };
  #state: ModelStatus["state"] = "loading";
  #reason: string | undefined;
  #serving: Serving | undefined;
  #wanted: { readonly identity: string; readonly stop: AbortController; running: Promise<void> } | undefined;
  #config: ModelConfig | undefined;
  readonly #stopping: StopSignals;

  /** `folder`: where fetched models are kept. `environment`: for secrets. */
  constructor(
    folder: string,
    environment: NodeJS.ProcessEnv,
    clock: Clock,
    log: Logger,
    stopping: StopSignals = unstopped,
  ) {
    this.#folder = folder;
    this.#environment = environment;
    this.#stopping = stopping;
    this.#clock = clock;
    this.#log = log;
  }

  get status(): ModelStatus {
    const serving = this.#serving;
    return {
      state: this.#state,
      reason: this.#reason,
      sha256: serving?.file?.sha256,
      bytes: serving?.file?.bytes,
      engine: serving?.opened.engine,
      threads: serving?.threads,
      inputs: serving?.opened.inputs ?? [],
      outputs: serving?.opened.outputs ?? [],
      inside: this.#queue.inside,
      counts: { ...this.#counts },
    };
  }

  /** False also while another model or none is in force, because the configured one is loaded or was refused. */
  get isAsConfigured(): boolean {
    return this.#serving !== undefined && this.#serving.identity === this.#wanted?.identity;
  }

  /** Returns at once: what is to be loaded is loaded beside the model in force. */
  configure(config: ModelConfig): void {
    this.#config = config;
    const identity = identityOf(config);
    // What is read at each request changes without another load.
    if (this.#serving?.identity === identity) this.#serving.config = config;
    if (this.#wanted?.identity === identity) return;
    this.#wanted?.stop.abort();
    const stop = new AbortController();
    const before = this.#wanted?.running;
    const running = (async () => {
      await before;
      await this.#bring(identity, stop.signal);
    })();
    this.#wanted = { identity, stop, running };
  }

  /** Requests under way are finished; the thread ends behind them, and is not waited for. */
  async stop(): Promise<void> {
    this.#wanted?.stop.abort();
    await this.#wanted?.running;
    const serving = this.#serving;
    this.#serving = undefined;
    this.#set("stopped", undefined);
    if (serving) this.#retire(serving);
  }

  /** Scores one request; `prepare` makes it ready, which may take long, and is told what it is for. */
  async ask(
    prepare: (model: ModelInForce, signal: AbortSignal) => Promise<Prepared | Refusal>,
    client: AbortSignal,
  ): Promise<Answered | Refusal> {
    const serving = this.#serving;
    if (!serving) {
      const message = this.#reason === undefined ? `the model is ${this.#state}` : this.#reason;
      return this.#count(refuse("notReady", message));
    }
    const atOnce = takesBatches(serving.opened) ? serving.config.maxBatch : 1;
    if (!this.#queue.enter(serving.config.maxQueue + atOnce))
      return this.#count(refuse("busy", "as many requests wait for the model as may (maxQueue)"));
    serving.users++;
    const { config, opened, labels } = serving;
    const by: ModelInForce = { config, opened, labels };
    const { timeoutMs } = config;
    const { noTurns, noAnswers } = this.#stopping;
    const signal = AbortSignal.any([client, AbortSignal.timeout(timeoutMs), noTurns]);
    try {
      const prepared = await prepare(by, signal);
      if (isRefusal(prepared)) return this.#count(prepared);
      const { task, transfer } = prepared;
      // What a runtime is at goes on to its end, whoever is gone; a request to another machine need not.
      const gone = opened.engine === "remote" ? AbortSignal.any([client, noAnswers]) : noAnswers;
      const run = () => serving.thread.run(task, atOnce * timeoutMs, transfer, gone);
      const outcome = await this.#queue.turn(run, signal, atOnce);
      if (isRefusal(outcome)) return this.#count(outcome);
      this.#counts.scored++;
      return { outcome, by };
    } catch (error) {
      if (error instanceof PermanentError) return this.#count(refuse("modelFailed", error.message));
      if (error instanceof TransientError) {
        this.#forget(serving, error.message);
        return this.#count(refuse("lost", error.message));
      }
      if (client.aborted) return this.#count(refuse("cancelled", "the caller is gone"));
      if (noTurns.aborted) return this.#count(refuse("stopping", "the gateway stops"));
      if (signal.aborted) return this.#count(refuse("busy", `no turn came within ${timeoutMs} ms`));
      throw error;
    } finally {
      this.#queue.leave();
      serving.users--;
      if (serving.isRetired && serving.users === 0) serving.thread.close();
    }
  }

  /** A lost one is asked no more, also while what is configured is another one that is refused. */
  #forget(serving: Serving, reason: string): void {
    if (this.#serving !== serving) return;
    this.#serving = undefined;
    serving.isRetired = true;
    this.#set("failed", reason);
  }

  #count(refusal: Refusal): Refusal {
    switch (refusal.refusal) {
      case "busy":
      case "notReady":
      case "stopping":
        this.#counts.busy++;
        break;
      case "modelFailed":
      case "remoteFailed":
      case "lost":
        this.#counts.failed++;
        break;
      case "cancelled":
        this.#counts.cancelled++;
        break;
      default:
        this.#counts.refused++;
    }
    return refusal;
  }

  /** Keeps the model of one configuration loaded, until another one is wanted. Never rejects. */
  async #bring(identity: string, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        // One that is tried again stays what it is until it is there: each change is logged, and told to the twin.
        if (attempt === 0 && !this.#serving) this.#set("loading", undefined);
        await this.#replace(identity, signal);
        attempt = 0;
        const serving = this.#serving;
        const lost = await Promise.race([serving?.thread.lost, aborted(signal)]);
        if (signal.aborted) return;
        this.#serving = undefined;
        serving?.thread.close();
        throw new TransientError("MODEL_LOST", `the model is lost: ${lost?.message}`);
      } catch (error) {
        if (signal.aborted) return;
        this.#set(this.#serving ? "ready" : "failed", messageOf(error));
        await this.#pause(error, attempt, signal);
      }
    }
  }

  /** Loads what is configured beside what is in force, and then puts it in its place. */
  async #replace(identity: string, signal: AbortSignal): Promise<void> {
    const before = this.#serving;
    // Back to what is still in force, because another one was refused.
    if (before?.identity !== identity) this.#serving = await this.#load(identity, signal);
    this.#set("ready", undefined);
    if (before && before !== this.#serving) this.#retire(before);
  }

  async #pause(error: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    const isRefused = error instanceof PermanentError;
    // What a URL brought once it brings again: no metered line is to pay for that.
    if (isRefused && this.#config?.url !== undefined) return await aborted(signal);
    const sleepMs = isRefused ? refusedMs : 200 + backoffMs(schedule, attempt, Math.random());
    await this.#clock.sleep(sleepMs, signal).catch(() => undefined);
  }

  async #load(identity: string, signal: AbortSignal): Promise<Serving> {
    const config = this.#config;
    if (!config) throw new TransientError("MODEL_UNAVAILABLE", "the model has no configuration yet");
    const labels = config.labels === undefined ? undefined : await readLabels(config.labels);
    const { thread, file, threads } = config.remote
      ? await this.#reach(config.remote, config.timeoutMs, signal)
      : await this.#open(config, signal);
    const { opened } = thread;
    const classes = opened.outputs[0]?.shape.at(-1);
    if (labels && typeof classes === "number" && labels.length !== classes) {
      thread.close();
      const message = `there are ${labels.length} labels, and the model has ${classes} classes`;
      throw new PermanentError("MODEL_REFUSED", message);
    }
    // Settings may have changed while it was loaded.
    const settings = this.#config && identityOf(this.#config) === identity ? this.#config : config;
    return { config: settings, opened, labels, thread, file, threads, identity, users: 0, isRetired: false };
  }

  async #open(config: ModelConfig, signal: AbortSignal) {
    const file = await findModel(config, this.#folder, signal);
    const { engine, providers, memoryArena } = config;
    const threads = config.threads ?? Math.max(1, availableParallelism() - 1);
    const options = { path: file.path, engine, threads, providers, memoryArena };
    return { thread: await ModelThread.open(options, signal), file, threads };
  }

  async #reach(remote: RemoteConfig, timeoutMs: number, signal: AbortSignal) {
    const token = remote.token && resolveSecret(remote.token, "remote.token", this.#environment);
    const thread = await ModelThread.open({ remote, token, timeoutMs }, signal);
    return { thread, file: undefined, threads: undefined };
  }

  #retire(serving: Serving): void {
    serving.isRetired = true;
    if (serving.users === 0) serving.thread.close();
  }

  #set(state: ModelStatus["state"], reason: string | undefined): void {
    if (state === this.#state && reason === this.#reason) return;
    this.#state = state;
    this.#reason = reason;
    const isTrouble = state === "failed" || reason !== undefined;
    this.#log[isTrouble ? "warn" : "info"]({ reason, sha256: this.#serving?.file?.sha256 }, `model ${state}`);
  }
}

/** What a change of needs another load for. */
function identityOf(config: ModelConfig): string {
  const { file, url, remote, sha256, maxBytes, engine, threads, providers, memoryArena, labels } = config;
  const parts = [file, url, remote, sha256, maxBytes, engine, threads, providers, memoryArena, labels];
  return fingerprint(parts.map((part) => part ?? null));
}
