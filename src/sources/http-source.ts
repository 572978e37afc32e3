import type { Door } from "./door.ts";
import type { Source, SourceSink } from "./source.ts";

/**
 * A source whose frames come in elsewhere: those of callers by the local API, which checks them and takes them itself,
 * because only there can a caller be told what became of them; and scores of texts. Here is its place among the
 * sources, and its state.
 */
export class HttpSource implements Source {
  readonly #sink: SourceSink;
  readonly #door: Door;
  #unwatch: (() => void) | undefined;

  constructor(sink: SourceSink, door: Door) {
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
