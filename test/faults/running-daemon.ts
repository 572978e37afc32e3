import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { askStatus } from "../../src/api/status-socket.ts";
import type { Balance } from "../../src/ledger/ledger.ts";
import { until } from "../support/until.ts";
import { monotonicMs } from "./time.ts";

const launcher = fileURLToPath(new URL("../../bin/headgate.js", import.meta.url));
const killAt = new URL("./kill-at.ts", import.meta.url).href;

/** Far above what any step takes on a busy machine; only what hangs reaches it. */
export const patienceMs = 120_000;

export interface DaemonStatus {
  readonly intake: { readonly state: string; readonly queuedBytes: number };
  readonly sources: Readonly<Record<string, { readonly state: string; readonly reason?: string }>>;
  readonly hub: { readonly state: string };
  readonly store: {
    readonly openWindows: number;
    readonly position: number;
    readonly outbox: { readonly entries: number; readonly messages: number };
    readonly books: Readonly<Record<string, Balance>>;
  };
}

/** Where and how a process kills itself; `kill-at.ts` reads it. */
export interface KillOrder {
  readonly phase: string;
  /** Which occurrence of the phase, from 1. */
  readonly occurrence: number;
  /** How long what the phase announces goes on before the kill. */
  readonly waitMs: number;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** One daemon after the other on one store. */
export class RunningDaemon {
  readonly folder: string;
  readonly store: string;
  readonly #environment: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;
  #starts = 0;
  #ended: Promise<number | null> = Promise.resolve(null);

  /** Configuration and log lie in `folder`; the store where the configuration says. */
  constructor(
    folder: string,
    config: { readonly store: { readonly path: string } },
    environment: Readonly<Record<string, string>>,
  ) {
    this.folder = folder;
    this.store = config.store.path;
    this.#environment = environment;
    writeFileSync(join(folder, "headgate.json"), JSON.stringify(config));
  }

  /** How often it was started. */
  get starts(): number {
    return this.#starts;
  }

  start(order?: KillOrder, environment: Readonly<Record<string, string>> = {}): void {
    this.#starts++;
    rmSync(this.#note, { force: true });
    const log = openSync(join(this.folder, "daemon.log"), "a");
    const child = spawn(
      process.execPath,
      [
        "--disable-warning=ExperimentalWarning",
        ...(order ? ["--import", killAt] : []),
        launcher,
        "run",
        "--config",
        join(this.folder, "headgate.json"),
      ],
      {
        env: {
          ...process.env,
          ...this.#environment,
          ...environment,
          ...(order ? { HEADGATE_KILL_AT: JSON.stringify({ ...order, note: this.#note }) } : {}),
        },
        stdio: ["ignore", log, log],
      },
    );
    closeSync(log);
    running.add(child);
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once("exit", (code) => {
        running.delete(child);
        resolve(code);
      });
    });
  }

  /** 0 before it was started. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Resolves with the exit code, or null when it was killed. */
  get ended(): Promise<number | null> {
    return this.#ended;
  }

  /** The phase it killed itself in and when, CLOCK_MONOTONIC ms; undefined when it did not. */
  get killed(): { readonly phase: string; readonly monotonicMs: number } | undefined {
    return existsSync(this.#note) ? JSON.parse(readFileSync(this.#note, "utf8")) : undefined;
  }

  signal(name: "SIGKILL" | "SIGTERM"): void {
    this.#child?.kill(name);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }

  /**
   * Waits for a daemon that is to kill itself; one that does not is killed some time after it runs, the longer the
   * busier the machine is. `onRunning` is called in between. Resolves with the exit code, or null.
   */
  async killsItself(onRunning: () => void = () => undefined): Promise<number | null> {
    const startedMs = monotonicMs();
    let hasEnded = false;
    const ended = this.#ended.finally(() => {
      hasEnded = true;
    });
    await until("it runs or ends", async () => hasEnded || (await this.#answer()) !== undefined, patienceMs);
    onRunning();
    const patience = setTimeout(() => this.signal("SIGKILL"), 2_000 + 2 * (monotonicMs() - startedMs));
    try {
      return await ended;
    } finally {
      clearTimeout(patience);
    }
  }

  /** Ends in order. @throws Error when it does not end with code 0 */
  async stop(): Promise<void> {
    this.signal("SIGTERM");
    const code = await within(this.#ended, "the daemon ends");
    if (code !== 0) throw new Error(`the daemon ended with code ${code}; see ${this.folder}/daemon.log`);
  }

  /** What it says, or undefined while it does not answer. @throws Error when it has ended */
  async status(): Promise<DaemonStatus | undefined> {
    const { exitCode = null, signalCode = null } = this.#child ?? {};
    if (exitCode !== null || signalCode !== null) {
      throw new Error(`the daemon ended with ${exitCode ?? signalCode}; see ${this.folder}/daemon.log`);
    }
    return this.#answer();
  }

  async untilStatus(what: string, condition: (status: DaemonStatus) => boolean): Promise<DaemonStatus> {
    let last: DaemonStatus | undefined;
    try {
      await until(
        what,
        async () => {
          last = await this.status();
          return last !== undefined && condition(last);
        },
        patienceMs,
      );
    } catch (error) {
      const message = `${(error as Error).message}; it says ${JSON.stringify(last?.store)} ${last?.hub.state}`;
      throw new Error(message, { cause: error });
    }
    return last as DaemonStatus;
  }

  async #answer(): Promise<DaemonStatus | undefined> {
    try {
      return (await askStatus(this.store, 5_000)) as unknown as DaemonStatus;
    } catch {
      return undefined;
    }
  }

  get #note(): string {
    return join(this.folder, "killed.json");
  }
}

/** @throws Error when it takes longer than anything may */
export async function within<T>(work: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patienceMs} ms in vain: ${what}`)), patienceMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
