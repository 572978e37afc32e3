import { Worker } from "node:worker_threads";
import { within } from "../core/deadline.ts";
import { InvariantError, PermanentError, TransientError } from "../core/errors.ts";
import type { DeadLetter } from "../outbox/dead-letters.ts";
import type { Done } from "../outbox/message-body.ts";
import type { OutboxMessage } from "../outbox/outbox.ts";
import type { TakenText } from "../sentiment/text-stage.ts";
import type { Commit, Opened, StoreSettings, StoreStatus } from "./contract.ts";
import type { ReplyMessage, RequestName, Requests, SerializedError } from "./protocol.ts";

/**
 * Far above what a synced write may take on a bad card, and above what mending a full store takes there; past it the
 * thread is lost and the process must restart.
 */
const deadlineMs = 900_000;

/** A commit that failed and can be repeated, with the bytes it was given. */
export class CommitFailed extends TransientError {
  readonly batch: Uint8Array;
  /** Of a store that is open all the same: what was acknowledged may have been taken, and more be ready to be sent. */
  readonly status: StoreStatus | undefined;
  constructor(cause: TransientError, batch: Uint8Array, status: StoreStatus | undefined) {
    super(cause.code, cause.message, { cause });
    this.batch = batch;
    this.status = status;
  }
}

/** The main thread's end of the store thread. */
export class StoreClient {
  readonly #worker: Worker;
  readonly #pending = new Map<
    number,
    { resolve: (result: unknown) => void; reject: (error: Error) => void }
  >();
  #onOpened: (opened: Opened) => void = () => undefined;
  #nextId = 1;
  #dead: Error | undefined;

  /** `onCrash`: the thread died by a bug; nothing can be stored any more, so the process must end. */
  constructor(onCrash: (error: Error) => void) {
    const file = import.meta.url.endsWith(".ts") ? "./store-thread.ts" : "./store-thread.js";
    this.#worker = new Worker(new URL(file, import.meta.url), { name: "store" });
    this.#worker.on("message", (reply: ReplyMessage) => {
      if ("opened" in reply) this.#onOpened(reply.opened);
      else this.#settle(reply);
    });
    const crash = (error: Error) => {
      if (this.#dead) return;
      this.#dead = error;
      for (const { reject } of this.#pending.values()) reject(error);
      this.#pending.clear();
      onCrash(error);
    };
    this.#worker.on("error", (error) =>
      crash(new InvariantError("the store thread crashed", { cause: error })),
    );
    this.#worker.on("exit", (code) => {
      if (code !== 0) crash(new InvariantError(`the store thread ended with code ${code}`));
    });
  }

  /**
   * `onOpened`: the store was opened, the first time or again.
   * @throws TransientError when it cannot be opened now; each request that needs it tries again.
   */
  async open(folder: string, settings: StoreSettings, onOpened: (opened: Opened) => void): Promise<void> {
    this.#onOpened = onOpened;
    await this.#request("open", { folder, settings });
  }

  async configure(settings: StoreSettings): Promise<void> {
    await this.#request("configure", settings);
  }

  /**
   * The batch's buffer is transferred: the caller cannot use it afterwards.
   * @throws CommitFailed with the batch when it can be repeated; any other error ends the process.
   */
  commit(commit: Commit): Promise<StoreStatus> {
    const { buffer } = commit.batch;
    return this.#request(
      "commit",
      commit,
      buffer instanceof ArrayBuffer && buffer.byteLength > 0 ? [buffer] : [],
    );
  }

  next(done: Done, isBackfillWanted = true): Promise<OutboxMessage | undefined> {
    return this.#request("next", { done, isBackfillWanted });
  }

  deadLetters(): Promise<readonly DeadLetter[]> {
    return this.#request("deadLetters", undefined);
  }

  texts(after: number): Promise<readonly TakenText[]> {
    return this.#request("texts", { after });
  }

  audit(): Promise<StoreStatus["books"]> {
    return this.#request("audit", undefined);
  }

  async close(): Promise<void> {
    try {
      if (!this.#dead) await this.#request("close", undefined);
    } finally {
      this.#dead ??= new InvariantError("the store is closed");
      await this.#worker.terminate();
    }
  }

  #request<N extends RequestName>(
    name: N,
    argument: Requests[N]["argument"],
    transfer: ArrayBuffer[] = [],
  ): Promise<Requests[N]["result"]> {
    if (this.#dead) return Promise.reject(this.#dead);
    const id = this.#nextId++;
    const reply = new Promise<unknown>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    this.#worker.postMessage({ id, name, argument }, transfer);
    return within(reply, deadlineMs, `the store's ${name}`, undefined, "STORE_UNUSABLE") as Promise<
      Requests[N]["result"]
    >;
  }

  #settle(reply: Exclude<ReplyMessage, { opened: Opened }>): void {
    const waiting = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if ("error" in reply) waiting?.reject(revive(reply.error, reply.batch, reply.status));
    else waiting?.resolve(reply.result);
  }
}

function revive(
  error: SerializedError,
  batch: Uint8Array | undefined,
  status: StoreStatus | undefined,
): Error {
  switch (error.kind) {
    case "transient": {
      const transient = new TransientError(error.code, error.message);
      return batch ? new CommitFailed(transient, batch, status) : transient;
    }
    case "permanent":
      return new PermanentError(error.code, error.message);
    case "bug": {
      const bug = new InvariantError(error.message);
      if (error.stack !== undefined) bug.stack = error.stack;
      return bug;
    }
    default:
      return error.kind satisfies never;
  }
}
