import type { ModelSourceConfig } from "../config/schema.ts";
import { InvariantError } from "../core/errors.ts";
import { planOf, unfit } from "./feed-task.ts";
import type { ModelSet } from "./model-set.ts";
import { isRefusal, type Refusal, refuse } from "./refusal.ts";

/** How the model of a source stands. `unfit`: it is there, and does not take what it would be fed with. */
export type Standing =
  | { readonly state: "ready"; readonly reason: undefined }
  | { readonly state: "absent" | "failed" | "unfit"; readonly reason: string };

/** Scores what sources of type `model` are fed with. */
export class FeedScorer {
  readonly #models: Pick<ModelSet, "get">;

  constructor(models: Pick<ModelSet, "get">) {
    this.#models = models;
  }

  standing(config: ModelSourceConfig): Standing {
    const model = this.#models.get(config.model);
    const status = model?.status;
    // Without an engine there is no model in force.
    if (status?.engine === undefined) {
      const reason = status?.reason === undefined ? "" : `: ${status.reason}`;
      if (status?.state === "failed") return { state: "failed", reason: `model ${config.model}${reason}` };
      return { state: "absent", reason: `model ${config.model} is ${status?.state ?? "not loaded yet"}` };
    }
    // The settings of the source are of the configured one: another would give other numbers, and none would tell.
    if (!model?.isAsConfigured) {
      if (status.reason === undefined)
        return { state: "absent", reason: `model ${config.model} is replaced by the one that is configured` };
      return { state: "failed", reason: `model ${config.model}: ${status.reason}` };
    }
    const refusal = unfit(status, planOf(config));
    if (refusal) return { state: "unfit", reason: `model ${config.model}: ${refusal.message}` };
    return { state: "ready", reason: undefined };
  }

  async score(
    config: ModelSourceConfig,
    { values }: { readonly values: readonly number[] },
    signal: AbortSignal,
  ): Promise<{ readonly values: Readonly<Record<string, number>> } | Refusal> {
    const model = this.#models.get(config.model);
    if (!model?.isAsConfigured)
      return refuse("notReady", `model ${config.model}, as it is configured, is not in force`);
    const task = { kind: "feed", numbers: values, plan: planOf(config) } as const;
    const answer = await model.ask(async () => ({ task }), signal);
    if (isRefusal(answer)) return answer;
    if (answer.outcome.kind !== "values") throw new InvariantError("a model answered a feed with no values");
    return answer.outcome;
  }
}
