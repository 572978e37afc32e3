import type { Source, SourceSink, SourceStatus } from "./source.ts";

/** A source that is one loop, from its start to its stop. */
export abstract class LoopSource implements Source {
  readonly #sink: SourceSink;
  readonly #stop = new AbortController();
  #status: SourceStatus = { state: "stopped", reason: undefined };
  #running: Promise<void> | undefined;

  constructor(sink: SourceSink) {
    this.#sink = sink;
  }

  start(): void {
    this.#running ??= this.run(this.#stop.signal);
  }

  async stop(_forGood?: boolean): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Called once. Ends soon after the signal, and never rejects. */
  protected abstract run(signal: AbortSignal): Promise<void>;

  /** Aborted by the stop. */
  protected get signal(): AbortSignal {
    return this.#stop.signal;
  }

  protected get state(): SourceStatus["state"] {
    return this.#status.state;
  }

  protected set(status: SourceStatus): void {
    if (status.state === this.#status.state && status.reason === this.#status.reason) return;
    this.#status = status;
    this.#sink.status(status);
  }
}
