import type { Config } from "./config/schema.ts";
import type { Clock } from "./core/clock.ts";
import type { Logger } from "./core/logger.ts";
import type { ModelStatus } from "./infer/model.ts";
import { ModelSet } from "./infer/model-set.ts";
import { Scorer, type SentimentStatus } from "./sentiment/scorer.ts";

export interface ScoringStatus {
  readonly models: Readonly<Record<string, ModelStatus>>;
  readonly sentiment: SentimentStatus;
}

/** What scores, composed: the models in threads of this process, and the container for texts. */
export class ScoringSide {
  readonly models: ModelSet;
  readonly sentiments: Scorer;

  constructor(storeFolder: string, environment: NodeJS.ProcessEnv, clock: Clock, log: Logger) {
    this.models = new ModelSet(storeFolder, clock, log.child({ stage: "infer" }));
    this.sentiments = new Scorer(environment, clock, log.child({ stage: "sentiment" }));
  }

  get status(): ScoringStatus {
    return { models: this.models.status, sentiment: this.sentiments.status };
  }

  /** Brings both to what is configured; what that takes goes on behind it. */
  async configure({ models, sentiment }: Config): Promise<void> {
    this.sentiments.configure(sentiment);
    await this.models.configure(models);
  }

  /** For a stop: who waits for a turn is refused at once, and who is at work at the deadline. */
  refuseAll(deadline: AbortSignal): void {
    this.models.refuseAll(deadline);
    this.sentiments.refuseAll(deadline);
  }

  async stop(): Promise<void> {
    await Promise.all([this.models.stop(), this.sentiments.stop()]);
  }
}
