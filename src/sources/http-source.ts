import type { Source, SourceSink, SourceStatus } from "./source.ts";

/** Whether callers can reach the local API now, for the sources whose readings come through it. */
export class ApiDoor {
  #status: SourceStatus = { state: "opening", reason: undefined };
  readonly #watchers = new Set<(status: SourceStatus) => void>();

  set(status: SourceStatus): void {
    this.#status = status;
    for (const watcher of this.#watchers) watcher(status);
  }

  /** Calls `watcher` with what is so now, and at every change. Returns what ends that. */
  watch(watcher: (status: SourceStatus) => void): () => void {
    this.#watchers.add(watcher);
    watcher(this.#status);
    return () => this.#watchers.delete(watcher);
  }
}

/**
 * A source whose readings callers bring to the local API, which checks them and takes them itself:
 * only there can a caller be told what became of them. Here is its place among the sources, and its state.
 */
export class HttpSource implements Source {
  readonly #sink: SourceSink;
  readonly #door: ApiDoor;
  #unwatch: (() => void) | undefined;

  constructor(sink: SourceSink, door: ApiDoor) {
    this.#sink = sink;
    this.#door = door;
  }

  start(): void {
    this.#unwatch ??= this.#door.watch((status) => this.#sink.status(status));
  }

  async stop(): Promise<void> {
    this.#unwatch?.();
    this.#unwatch = undefined;
  }
}
