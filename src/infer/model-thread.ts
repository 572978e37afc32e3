import { Worker } from "node:worker_threads";
import { aborted, within } from "../core/deadline.ts";
import { endAtOnce } from "../core/end-process.ts";
import { PermanentError, TransientError } from "../core/errors.ts";
import type { Outcome, Task } from "./task.ts";
import type { FromThread, Opened, ThreadOptions, ToThread } from "./thread-protocol.ts";

/** A large model on a slow card; past it the model counts as one that cannot be loaded. */
const openMs = 180_000;
/** Threads that were closed and still run may be as many; each holds a model, and one that is stuck never ends. */
const maxLeaving = 2;
/** How long another one may be waited for when they are: one that is idle ends in a tenth of that. */
const leavingMs = 500;

/** Those that have not ended. */
const running = new Set<ModelThread>();
const leaving = new Set<ModelThread>();

export const leavingThreads = (): number => leaving.size;

// Node would end the threads, and that aborts the process while one is inside its runtime.
process.on("exit", (code) => {
  if (running.size > 0) endAtOnce(code);
});

/**
 * The main thread's end of a model's thread. Both runtimes block the thread that calls them, for as long as a run takes,
 * and sensors have to be read meanwhile.
 */
export class ModelThread {
  readonly #worker: Worker;
  readonly #pending = new Map<
    number,
    { readonly resolve: (outcome: Outcome) => void; readonly reject: (error: Error) => void }
  >();
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
  #nextId = 1;
  #lost: Error | undefined;
  /** Resolves when the thread is lost, or was closed. */
  readonly lost: Promise<Error>;
  #onLost: (error: Error) => void = () => undefined;
  readonly #first: Promise<FromThread>;
  #onFirst: (message: FromThread) => void = () => undefined;
  #opened: Opened = { engine: "native", inputs: [], outputs: [] };

  /**
   * Starts a thread that loads the model, or reaches the scorer, and tries it once.
   * @throws PermanentError MODEL_REFUSED with what the runtime says; TransientError MODEL_LOST, MODEL_UNAVAILABLE; the
   * signal's reason
   */
  static async open(options: ThreadOptions, signal: AbortSignal): Promise<ModelThread> {
    await roomForAnother(signal);
    const thread = new ModelThread(options);
    try {
      const first = Promise.race([thread.#first, thread.lost.then((error) => Promise.reject(lost(error)))]);
      const answer = await within(first, openMs, "loading the model", signal, "MODEL_LOST");
      if ("opened" in answer) {
        thread.#opened = answer.opened;
        return thread;
      }
      if ("unavailable" in answer) throw new TransientError("MODEL_UNAVAILABLE", answer.unavailable);
      const message = "refused" in answer ? answer.refused : "it answered out of turn";
      const taker =
        "remote" in options ? "the scorer is none that can be asked" : "the runtime does not take the model";
      throw new PermanentError("MODEL_REFUSED", `${taker}: ${message}`);
    } catch (error) {
      thread.close();
      throw error;
    }
  }

  private constructor(options: ThreadOptions) {
    this.lost = new Promise((resolve) => {
      this.#onLost = resolve;
    });
    this.#first = new Promise((resolve) => {
      this.#onFirst = resolve;
    });
    // ONNX Runtime from 1.29 on keeps a device's number and tells Microsoft what it runs (microsoft/onnxruntime pull
    // request 27379). Native code sees what this thread sets, and not what a worker does.
    process.env.ORT_DISABLE_TELEMETRY = "1";
    const file = import.meta.url.endsWith(".ts") ? "./model-thread-entry.ts" : "./model-thread-entry.js";
    this.#worker = new Worker(new URL(file, import.meta.url), { name: "model", workerData: options });
    this.#worker.on("message", (message: FromThread) => {
      if ("id" in message) this.#settle(message);
      else this.#onFirst(message);
      if ("unavailable" in message) this.#lose(new Error(message.unavailable));
    });
    this.#worker.on("error", (error) => this.#lose(error));
    running.add(this);
    this.ended = new Promise((resolve) => {
      this.#worker.once("exit", (code) => {
        running.delete(this);
        leaving.delete(this);
        this.#lose(new Error(`it ended with code ${code}`));
        resolve();
      });
    });
  }

  get opened(): Opened {
    return this.#opened;
  }

  /**
   * Does one task; what of it is in `transfer` is the thread's afterwards.
   * @throws PermanentError MODEL_FAILED with what the runtime says; TransientError MODEL_LOST, and the thread is lost;
   * the signal's reason, and what comes of it is dropped
   */
  async run(
    task: Task,
    timeoutMs: number,
    transfer: readonly ArrayBuffer[] = [],
    signal?: AbortSignal,
  ): Promise<Outcome> {
    if (this.#lost) throw lost(this.#lost);
    const id = this.#nextId++;
    // First, because it throws at what cannot be sent.
    this.#worker.postMessage({ id, task } satisfies ToThread, [...transfer]);
    const outcome = new Promise<Outcome>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    try {
      return await within(outcome, timeoutMs, "the model", signal, "MODEL_LOST");
    } catch (error) {
      // It may be stuck for ever, and nothing can tell.
      if (error instanceof TransientError) this.#lose(error);
      else this.#worker.postMessage({ cancel: id } satisfies ToThread);
      throw error;
    } finally {
      this.#pending.delete(id);
    }
  }

  /**
   * Lets go of it: it ends by itself behind what it is at, and nobody waits for that any more. To terminate it inside
   * its runtime would abort the process.
   */
  close(): void {
    if (!running.has(this) || leaving.has(this)) return;
    leaving.add(this);
    this.#worker.postMessage("end" satisfies ToThread);
    this.#worker.unref();
    this.#lose(new Error("it was closed"));
  }

  #settle(message: Extract<FromThread, { readonly id: number }>): void {
    const waiting = this.#pending.get(message.id);
    if ("outcome" in message) waiting?.resolve(message.outcome);
    else waiting?.reject(new PermanentError("MODEL_FAILED", `the model failed: ${message.failed}`));
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#onLost(error);
    for (const { reject } of this.#pending.values()) reject(lost(error));
    this.#pending.clear();
  }
}

const lost = (cause: Error) =>
  new TransientError("MODEL_LOST", `the model is lost: ${cause.message}`, { cause });

/** @throws TransientError MODEL_LOST when too many that were closed still run; the signal's reason */
async function roomForAnother(signal: AbortSignal): Promise<void> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(leavingMs)]);
  while (leaving.size >= maxLeaving) {
    await Promise.race([...[...leaving].map(({ ended }) => ended), aborted(patience)]);
    signal.throwIfAborted();
    if (patience.aborted && leaving.size >= maxLeaving) {
      const message = `${leaving.size} threads that were given up still run, and another one has to wait for their end`;
      throw new TransientError("MODEL_LOST", message);
    }
  }
}
