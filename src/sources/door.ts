import type { SourceStatus } from "./source.ts";

/** What several sources share to come in by, the local API or the hub, and whether it is open. */
export class Door {
  #status: SourceStatus = { state: "opening", reason: undefined };
  readonly #watchers = new Set<(status: SourceStatus) => void>();

  set(status: SourceStatus): void {
    if (status.state === this.#status.state && status.reason === this.#status.reason) return;
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
