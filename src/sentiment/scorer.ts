import type { SentimentConfig } from "../config/schema.ts";
import { resolveSecret } from "../config/secrets.ts";
import type { Clock } from "../core/clock.ts";
import { aborted } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import { fingerprint } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import { backoffMs, type RetrySchedule } from "../core/retry.ts";
import { type Api, apis } from "./apis.ts";
import { batches, type Document } from "./batches.ts";
import { Container, ContainerTrouble, type TroubleKind } from "./container.ts";
import { mergeParts, type ScoredPart } from "./merge.ts";
import { isError, type Outcome } from "./outcome.ts";

export interface SentimentStatus {
  /** `failed`: the circuit breaker is open, and the container is looked for again. */
  readonly state: "off" | "looking" | "ready" | "failed" | "stopped";
  readonly reason: string | undefined;
  /** What the container speaks, and the model it names; undefined while neither is known. */
  readonly api: Api | undefined;
  readonly modelVersion: string | undefined;
  /** Until the next look at a container that failed. */
  readonly nextLookMs: number | undefined;
  /** Calls that are not answered yet. */
  readonly inside: number;
  /** Texts, by what became of them. */
  readonly counts: Readonly<Record<"scored" | "unscored" | "refused" | "failed" | "cancelled", number>>;
}

/** Why texts are not scored: a value, as they may be later. */
export interface NotScored {
  readonly refusal: "notConfigured" | "notReady" | "busy" | "badAnswer" | "stopping" | "cancelled";
  readonly message: string;
  /** undefined: nobody knows. */
  readonly retryAfterMs?: number | undefined;
  /** The container answers others, as far as is known: it may be these texts that it does not. */
  readonly mayBeTheText?: true;
}

export interface Scored {
  /** Of each text, in order. */
  readonly outcomes: readonly Outcome[];
  readonly api: Api;
  readonly modelVersion: string | undefined;
}

interface Serving {
  readonly container: Container;
  readonly config: SentimentConfig;
  readonly api: Api;
  modelVersion: string | undefined;
  /** Failures since the last answer. */
  failures: number;
  hasAnswered: boolean;
  /** Opens the breaker. */
  readonly open: (trouble: ContainerTrouble) => void;
}

const schedule: RetrySchedule = { baseMs: 1_000, maxMs: 60_000, healthyMs: 60_000 };
/** A container that asks for more is looked for all the same. */
const maxRetryAfterMs = 300_000;
/** Of failures that may be a matter of one text, so many in a row open the breaker; of the rest the first. */
const maxFailures = 3;
const openAtOnce: readonly TroubleKind[] = ["unreachable", "busy", "denied", "absent"];

/** Has texts scored by the container of the configuration, behind a circuit breaker. */
export class Scorer {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onState: (status: Pick<SentimentStatus, "state" | "reason">) => void;
  readonly #counts = { scored: 0, unscored: 0, refused: 0, failed: 0, cancelled: 0 };
  #state: SentimentStatus["state"] = "off";
  #reason: string | undefined;
  /** Monotonic. */
  #nextLookMs: number | undefined;
  #serving: Serving | undefined;
  #inside = 0;
  readonly #waiters = new Set<() => void>();
  #identity: string | undefined;
  #change = new AbortController();
  #running: Promise<void> = Promise.resolve();
  readonly #noTurns = new AbortController();
  readonly #noAnswers = new AbortController();

  constructor(
    environment: NodeJS.ProcessEnv,
    clock: Clock,
    log: Logger,
    onState: (status: Pick<SentimentStatus, "state" | "reason">) => void = () => undefined,
  ) {
    this.#onState = onState;
    this.#environment = environment;
    this.#clock = clock;
    this.#log = log;
  }

  get status(): SentimentStatus {
    const { api, modelVersion } = this.#serving ?? {};
    return {
      state: this.#state,
      reason: this.#reason,
      api,
      modelVersion,
      nextLookMs: this.#nextLookInMs,
      inside: this.#inside,
      counts: { ...this.#counts },
    };
  }

  /** Returns at once: the container is looked for behind it. Calls under way are answered by the one before. */
  configure(config: SentimentConfig): void {
    const identity = fingerprint(config);
    if (identity === this.#identity || this.#noTurns.signal.aborted) return;
    this.#identity = identity;
    this.#change.abort();
    this.#serving = undefined;
    this.#nextLookMs = undefined;
    this.#change = new AbortController();
    const { signal } = this.#change;
    if (config.state === "off" || config.url === undefined) this.#set("off", undefined);
    else this.#running = this.#run(config, config.url, signal);
  }

  /** For a stop: who comes is refused at once, and who waits for an answer at the deadline. */
  refuseAll(deadline: AbortSignal): void {
    this.#noTurns.abort();
    void aborted(deadline).then(() => this.#noAnswers.abort());
  }

  async stop(): Promise<void> {
    this.#noTurns.abort();
    this.#noAnswers.abort();
    this.#change.abort();
    await this.#running;
    this.#serving = undefined;
    this.#set("stopped", undefined);
  }

  /** Resolves when there is a container to be asked; or when `signal` is aborted. */
  async ready(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && (!this.#serving || this.#noTurns.signal.aborted)) {
      await new Promise<void>((resolve) => {
        const end = () => {
          signal.removeEventListener("abort", end);
          this.#waiters.delete(end);
          resolve();
        };
        signal.addEventListener("abort", end);
        this.#waiters.add(end);
      });
    }
  }

  /** Scores texts, in as many requests as they need; a text may have an error of its own. */
  async score(documents: readonly Document[], caller: AbortSignal): Promise<Scored | NotScored> {
    const serving = this.#serving;
    const refused = this.#refusal(serving);
    if (refused || !serving) {
      this.#counts.refused += documents.length;
      return refused ?? { refusal: "notReady", message: "the container is looked for" };
    }
    this.#inside++;
    try {
      const signal = AbortSignal.any([caller, this.#noAnswers.signal]);
      const outcomes = await this.#scoreBy(serving, documents, signal);
      for (const outcome of outcomes) this.#counts[isError(outcome) ? "unscored" : "scored"]++;
      return { outcomes, api: serving.api, modelVersion: serving.modelVersion };
    } catch (error) {
      if (error instanceof ContainerTrouble) {
        this.#counts.failed += documents.length;
        return this.#failed(serving, error);
      }
      if (this.#noAnswers.signal.aborted || caller.aborted) {
        this.#counts.cancelled += documents.length;
        return caller.aborted
          ? { refusal: "cancelled", message: "the caller is gone" }
          : { refusal: "stopping", message: "the gateway stops" };
      }
      throw error;
    } finally {
      this.#inside--;
    }
  }

  get #nextLookInMs(): number | undefined {
    return this.#nextLookMs === undefined
      ? undefined
      : Math.max(0, Math.round(this.#nextLookMs - this.#clock.monotonic()));
  }

  #refusal(serving: Serving | undefined): NotScored | undefined {
    if (this.#noTurns.signal.aborted) return { refusal: "stopping", message: "the gateway stops" };
    if (this.#state === "off") {
      const message = "there is no container to ask: `sentiment.url` names one";
      return { refusal: "notConfigured", message };
    }
    if (!serving) {
      const message = this.#reason ?? "the container is looked for";
      return { refusal: "notReady", message, retryAfterMs: this.#nextLookInMs };
    }
    const { maxCalls } = serving.config;
    if (this.#inside < maxCalls) return undefined;
    return { refusal: "busy", message: `${maxCalls} calls wait for the container already (maxCalls)` };
  }

  async #scoreBy(
    serving: Serving,
    documents: readonly Document[],
    signal: AbortSignal,
  ): Promise<readonly Outcome[]> {
    const parts: ScoredPart[][] = documents.map(() => []);
    for (const batch of batches(documents, serving.config.language)) {
      const sent = batch.map((part) => part.sent);
      const { outcomes, modelVersion } = await serving.container.ask(serving.api, sent, signal);
      serving.failures = 0;
      serving.hasAnswered = true;
      serving.modelVersion = modelVersion;
      for (const { document, elements, sent } of batch) {
        const outcome = outcomes.get(sent.id);
        if (outcome) parts[document]?.push({ elements, outcome });
      }
    }
    return parts.map(mergeParts);
  }

  #failed(serving: Serving, trouble: ContainerTrouble): NotScored {
    serving.failures++;
    if (openAtOnce.includes(trouble.kind) || serving.failures >= maxFailures) {
      if (this.#serving === serving) this.#serving = undefined;
      serving.open(trouble);
    }
    const { kind, message, retryAfterMs } = trouble;
    const refusal = kind === "badAnswer" ? "badAnswer" : "notReady";
    return { refusal, message, retryAfterMs, ...(openAtOnce.includes(kind) ? {} : { mayBeTheText: true }) };
  }

  /** Looks for the container, keeps it while it answers, and looks for it again. Never rejects. */
  async #run(config: SentimentConfig, url: string, signal: AbortSignal): Promise<void> {
    let known: Api | undefined;
    for (let attempt = 0; !signal.aborted; attempt++) {
      let trouble: unknown;
      try {
        if (this.#state !== "failed") this.#set("looking", undefined);
        const container = this.#container(config, url);
        const { api, answer } = await container.find(candidates(config, known), signal);
        if (signal.aborted) return;
        known = api;
        const beganMs = this.#clock.monotonic();
        const found = { container, config, api, modelVersion: answer.modelVersion };
        const served = await this.#serve(found, signal);
        trouble = served.trouble;
        if (served.hasAnswered || this.#clock.monotonic() - beganMs > schedule.healthyMs) attempt = 0;
      } catch (error) {
        trouble = error;
      }
      if (signal.aborted) return;
      await this.#pause(trouble, attempt, signal);
    }
  }

  /** @throws ConfigError when there is no reading the key */
  #container({ key, timeoutMs }: SentimentConfig, url: string): Container {
    const secret = key && resolveSecret(key, "sentiment.key", this.#environment);
    return new Container({ url, key: secret, timeoutMs });
  }

  /** Resolves with what opened the breaker. */
  async #serve(
    found: Pick<Serving, "container" | "config" | "api" | "modelVersion">,
    signal: AbortSignal,
  ): Promise<{ trouble: ContainerTrouble | undefined; hasAnswered: boolean }> {
    return await new Promise((resolve) => {
      const open = (trouble?: ContainerTrouble) => {
        signal.removeEventListener("abort", cancel);
        resolve({ trouble, hasAnswered: serving.hasAnswered });
      };
      const cancel = () => open();
      signal.addEventListener("abort", cancel);
      const serving: Serving = { ...found, failures: 0, hasAnswered: false, open };
      this.#serving = serving;
      this.#set("ready", undefined);
      for (const wake of [...this.#waiters]) wake();
    });
  }

  async #pause(trouble: unknown, attempt: number, signal: AbortSignal): Promise<void> {
    const { retryAfterMs = 0 } = trouble instanceof ContainerTrouble ? trouble : {};
    const pauseMs = 200 + backoffMs(schedule, attempt, Math.random());
    const sleepMs = Math.max(pauseMs, Math.min(retryAfterMs, maxRetryAfterMs));
    this.#nextLookMs = this.#clock.monotonic() + sleepMs;
    this.#set("failed", messageOf(trouble));
    await this.#clock.sleep(sleepMs, signal).catch(() => undefined);
    if (!signal.aborted) this.#nextLookMs = undefined;
  }

  #set(state: SentimentStatus["state"], reason: string | undefined): void {
    if (state === this.#state && reason === this.#reason) return;
    const wasFailed = this.#state === "failed" && state === "failed";
    this.#state = state;
    this.#reason = reason;
    this.#onState({ state, reason });
    const { api, modelVersion } = this.#serving ?? {};
    // The same container, and only another word of what it lacks.
    if (wasFailed) return;
    this.#log[state === "failed" ? "warn" : "info"]({ reason, api, modelVersion }, `sentiment ${state}`);
  }
}

/** What it spoke before comes first. */
function candidates({ api }: SentimentConfig, known: Api | undefined): readonly Api[] {
  if (api !== "auto") return [api];
  return known === undefined ? apis : [known, ...apis.filter((other) => other !== known)];
}
