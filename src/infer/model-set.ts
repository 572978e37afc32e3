import { join } from "node:path";
import type { Config } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { aborted } from "../core/deadline.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { Images } from "./images.ts";
import type { Model, ModelStatus } from "./model.ts";
import { pruneModels } from "./model-file.ts";
import { type PictureScores, scorePicture, unready, type WantedScores } from "./picture-scores.ts";

/** The models of the configuration, by name. Without one nothing of a runtime is loaded. */
export class ModelSet {
  /** Of all who have images scored: one is decoded at a time. */
  readonly images = new Images();
  readonly #folder: string;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #models = new Map<string, Model>();
  /** Those that are configured no more have requests to refuse as well. */
  readonly #noTurns = new AbortController();
  readonly #noAnswers = new AbortController();
  #isFirst = true;
  /** Until a model is loaded there is no thread. */
  #leavingThreads = () => 0;

  constructor(storeFolder: string, environment: NodeJS.ProcessEnv, clock: Clock, log: Logger) {
    this.#folder = join(storeFolder, "models");
    this.#environment = environment;
    this.#clock = clock;
    this.#log = log;
  }

  get status(): Readonly<Record<string, ModelStatus>> {
    return Object.fromEntries([...this.#models].map(([name, model]) => [name, model.status]));
  }

  /** Threads that were let go of and still run: those that are stuck never end. */
  get leavingThreads(): number {
    return this.#leavingThreads();
  }

  get(name: string): Model | undefined {
    return this.#models.get(name);
  }

  get names(): readonly string[] {
    return [...this.#models.keys()];
  }

  /** Why the model cannot score now; undefined when it can. */
  unready(model: string): ReturnType<typeof unready> {
    return unready(this.#models.get(model));
  }

  /** Scores a picture. @throws the signal's reason */
  async score(
    model: string,
    bytes: Uint8Array,
    wanted: WantedScores,
    signal: AbortSignal,
  ): Promise<PictureScores> {
    return await scorePicture(this.#models.get(model), this.images, bytes, wanted, signal);
  }

  /** Brings the models to what is configured; loading them goes on behind it. */
  async configure(config: Config["models"]): Promise<void> {
    const wanted = Object.entries(config).filter(([, { state }]) => state === "on");
    const names = new Set(wanted.map(([name]) => name));
    const dropped = [...this.#models].filter(([name]) => !names.has(name));
    for (const [name] of dropped) this.#models.delete(name);
    await Promise.all(dropped.map(([, model]) => model.stop()));
    // Before anything is fetched: what is half there then is of an earlier process.
    await this.#prune(wanted.flatMap(([, { sha256 }]) => (sha256 === undefined ? [] : [sha256])));
    if (wanted.length > 0) await this.#make(wanted);
  }

  /** For a stop: who waits for a turn is refused at once, and who is at work at the deadline. */
  refuseAll(deadline: AbortSignal): void {
    this.#noTurns.abort();
    void aborted(deadline).then(() => this.#noAnswers.abort());
  }

  async stop(): Promise<void> {
    const models = [...this.#models.values()];
    await Promise.all(models.map((model) => model.stop()));
  }

  async #make(wanted: readonly (readonly [string, Config["models"][string]])[]): Promise<void> {
    const [{ Model }, { leavingThreads }] = await Promise.all([
      import("./model.ts"),
      import("./model-thread.ts"),
    ]);
    this.#leavingThreads = leavingThreads;
    const stopping = { noTurns: this.#noTurns.signal, noAnswers: this.#noAnswers.signal };
    for (const [name, config] of wanted) {
      const log = this.#log.child({ model: name });
      const model =
        this.#models.get(name) ?? new Model(this.#folder, this.#environment, this.#clock, log, stopping);
      this.#models.set(name, model);
      model.configure(config);
    }
  }

  /** What is in force stays on the disk, too: it may have to be loaded again. */
  async #prune(wanted: readonly string[]): Promise<void> {
    const inForce = Object.values(this.status).flatMap(({ sha256 }) =>
      sha256 === undefined ? [] : [sha256],
    );
    const broken = this.#isFirst ? "broken" : "keepBroken";
    this.#isFirst = false;
    try {
      await pruneModels(this.#folder, [...wanted, ...inForce], broken);
    } catch (error) {
      this.#log.warn({ reason: messageOf(error) }, "models that nobody names any more stay on the disk");
    }
  }
}
