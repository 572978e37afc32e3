import type { ChildProcess } from "node:child_process";

/** The processes of a run, which end with it. */
export class Children {
  readonly #running = new Set<ChildProcess>();

  constructor() {
    process.on("exit", () => {
      for (const child of this.#running) child.kill("SIGKILL");
    });
  }

  add(child: ChildProcess): void {
    this.#running.add(child);
    child.once("exit", () => this.#running.delete(child));
  }

  /** Safe twice. */
  async end(child: ChildProcess): Promise<void> {
    if (!this.#running.has(child)) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await ended;
  }
}
