import type { Config } from "./config/schema.ts";
import { FeedScorer } from "./infer/feed-scorer.ts";
import type { ModelStatus } from "./infer/model.ts";
import { ModelSet } from "./infer/model-set.ts";
import { Scorer, type SentimentStatus } from "./sentiment/scorer.ts";
import { TextScoring, type TextScoringOptions } from "./sentiment/text-scoring.ts";
import { Door } from "./sources/door.ts";
import type { StoreStatus } from "./store/contract.ts";

export interface ScoringStatus {
  readonly models: Readonly<Record<string, ModelStatus>>;
  /** Threads of models that were let go of and still run. */
  readonly leavingThreads: number;
  readonly sentiment: SentimentStatus;
}

export interface ScoringOptions extends Pick<TextScoringOptions, "next" | "target" | "clock" | "log"> {
  readonly storeFolder: string;
  readonly environment: NodeJS.ProcessEnv;
}

/** What scores, composed: the models in threads of this process, and the container for texts. */
export class ScoringSide {
  readonly models: ModelSet;
  /** What models over readings are fed by. */
  readonly feeds: FeedScorer;
  readonly sentiments: Scorer;
  /** What sources of type `sentiment` come in by. */
  readonly door = new Door();
  readonly #texts: TextScoring;

  constructor({ storeFolder, environment, next, target, clock, log: parent }: ScoringOptions) {
    this.models = new ModelSet(storeFolder, environment, clock, parent.child({ stage: "infer" }));
    this.feeds = new FeedScorer(this.models);
    const log = parent.child({ stage: "sentiment" });
    this.sentiments = new Scorer(environment, clock, log, ({ state, reason }) =>
      this.door.set({ state: sourceStates[state], reason }),
    );
    this.#texts = new TextScoring({ next, target, scorer: this.sentiments, clock, log });
  }

  get status(): ScoringStatus {
    const { status: models, leavingThreads } = this.models;
    return { models, leavingThreads, sentiment: this.sentiments.status };
  }

  /** Scores texts that wait, from here on. */
  start(): void {
    this.#texts.start();
  }

  /** What the store has, after a commit. */
  committed({ texts }: Pick<StoreStatus, "texts">): void {
    if (Object.values(texts).some((waiting) => waiting.texts > 0)) this.#texts.wake();
  }

  /** The store was opened, perhaps again. */
  opened(): void {
    this.#texts.restart();
  }

  /** Brings both to what is configured; what that takes goes on behind it. */
  async configure({ models, sentiment }: Config): Promise<void> {
    this.sentiments.configure(sentiment);
    await this.models.configure(models);
  }

  /** For a stop: who waits for a turn is refused at once, and who is at work at the deadline. */
  refuseAll(deadline: AbortSignal): void {
    void this.#texts.stop();
    this.models.refuseAll(deadline);
    this.sentiments.refuseAll(deadline);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#texts.stop(), this.models.stop(), this.sentiments.stop()]);
  }
}

/** Texts are taken in each of them; only their scores have to wait. */
const sourceStates = {
  off: "failed",
  looking: "opening",
  ready: "open",
  failed: "absent",
  stopped: "absent",
} as const;
