import { join } from "node:path";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import type { Balance } from "../../src/ledger/ledger.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { type DaemonStatus, RunningDaemon } from "../faults/running-daemon.ts";

interface Value {
  readonly value: number;
  readonly unit?: string;
  readonly quality: string;
}
interface Entry {
  readonly kind: string;
  readonly device: string;
  readonly channels: Readonly<Record<string, Value>>;
}

/** Each reading is at the hub as soon as it may be. */
export const tellsAll = { publish: { maxDelayMs: 0, readings: "all" } };

/** The whole daemon in a process of its own, with a folder and an embedded hub for it alone. */
export class DaemonAtHub {
  readonly folder: string;
  readonly hub: EmbeddedHub;
  #daemon: RunningDaemon | undefined;

  private constructor(folder: string, hub: EmbeddedHub) {
    this.folder = folder;
    this.hub = hub;
  }

  /** With its hub, and not started yet. */
  static async prepare(): Promise<DaemonAtHub> {
    return new DaemonAtHub(temporaryFolder(), await startEmbeddedHub());
  }

  start(
    sources: object,
    { store = {}, ...sections }: { readonly [section: string]: object } = tellsAll,
    environment: Readonly<Record<string, string>> = {},
  ): void {
    const config = {
      gateway: { name: "box" },
      sources,
      clock: { maxHoldMs: 0 },
      api: { state: "off" },
      hub: { type: "edge" },
      ...sections,
      store: { path: join(this.folder, "store"), maxLossMs: 100, ...store },
    };
    this.#daemon = new RunningDaemon(this.folder, config, {
      ...this.hub.environment("gateway"),
      ...environment,
    });
    this.#daemon.start();
  }

  /** Whatever state it is in; its hub goes with it. */
  async remove(): Promise<void> {
    await this.#daemon?.kill();
    await this.hub.stop();
  }

  /** In the middle of whatever it does; it can be started again. */
  kill(): Promise<void> {
    return this.#running.kill();
  }

  /** On the same store, when it has ended. */
  restart(): void {
    this.#running.start();
  }

  /** Ends in order. */
  stop(): Promise<void> {
    return this.#running.stop();
  }

  status(): Promise<DaemonStatus | undefined> {
    return this.#running.status();
  }

  untilStatus(what: string, condition: (status: DaemonStatus) => boolean): Promise<DaemonStatus> {
    return this.#running.untilStatus(what, condition);
  }

  untilState(source: string, state: string): Promise<DaemonStatus> {
    return this.untilStatus(`${source} is ${state}`, ({ sources }) => sources[source]?.state === state);
  }

  async reasonOf(source: string): Promise<string> {
    return (await this.status())?.sources[source]?.reason ?? "";
  }

  async discardsOf(source: string): Promise<Balance["frameDiscards"] | undefined> {
    return (await this.status())?.store.books[source]?.frameDiscards;
  }

  /** The channels of each reading of a device that is at the hub. */
  readingsOf(device: string): Entry["channels"][] {
    return this.hub.messages
      .flatMap((message) => JSON.parse(message.body.toString("utf8")) as Entry[])
      .filter((entry) => entry.device === device && entry.kind === "reading")
      .map(({ channels }) => channels);
  }

  get #running(): RunningDaemon {
    if (!this.#daemon) throw new Error("the daemon was not started");
    return this.#daemon;
  }
}
