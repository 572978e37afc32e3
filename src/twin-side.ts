import type { Clock } from "./core/clock.ts";
import { HeadgateError } from "./core/errors.ts";
import type { Logger } from "./core/logger.ts";
import type { HubClient, TwinClient } from "./hub/hub-client.ts";
import { Desired, type DesiredOptions, type DesiredStatus } from "./twin/desired.ts";
import { type BoxState, reportedProperties } from "./twin/reported.ts";
import { Reporter, type ReporterSettings } from "./twin/reporter.ts";

export interface TwinSideOptions {
  readonly apply: DesiredOptions["apply"];
  /** Of the present connection. */
  readonly withTwin: <T>(call: (twin: TwinClient) => Promise<T>) => Promise<T>;
  readonly connected: (signal: AbortSignal) => Promise<void>;
  readonly box: () => Omit<BoxState, "lastDesiredVersion" | "lastDesiredStatus">;
  readonly clock: Clock;
  readonly log: Logger;
}

interface ReportSettings extends ReporterSettings {
  readonly state: "on" | "off";
  readonly freeRam: "on" | "off";
}

/** Between repetitions of a twin request that the hub refused, each of which may be billed. */
const twinRetryMs = 30_000;

/** Both halves of the twin: desired configurations in, with their answers and the box's state out. */
export class TwinSide {
  readonly #options: TwinSideOptions;
  #settings: ReportSettings;
  readonly #desired: Desired;
  readonly #reporter: Reporter;
  readonly #stop = new AbortController();
  #last: { version: number | undefined; status: DesiredStatus } | undefined;

  constructor(options: TwinSideOptions, settings: ReportSettings) {
    const { apply, withTwin, connected, clock, log } = options;
    this.#options = options;
    this.#settings = settings;
    this.#desired = new Desired({
      apply,
      answered: (version, status) => {
        this.#last = { version, status };
        this.#reporter.look();
      },
      refresh: () => this.#insist(() => withTwin((twin) => twin.get())),
      log,
    });
    const report = (patch: Parameters<TwinClient["report"]>[0]) => withTwin((twin) => twin.report(patch));
    this.#reporter = new Reporter(
      { properties: () => this.#reported(), connected, report, clock, log },
      settings,
    );
  }

  /** The last desired version that was answered, and how. */
  get answered(): Pick<BoxState, "lastDesiredVersion" | "lastDesiredStatus"> {
    return { lastDesiredVersion: this.#last?.version, lastDesiredStatus: this.#last?.status };
  }

  configure(settings: ReportSettings): void {
    this.#settings = settings;
    this.#reporter.configure(settings);
  }

  start(): void {
    this.#reporter.start();
  }

  /** A connection stands: its twin is read, applied and answered. */
  async connected({ twin }: HubClient): Promise<void> {
    if (!twin) return;
    this.#desired.connecting();
    const document = await this.#insist(async () => {
      await twin.subscribe();
      return await twin.get();
    });
    this.#reporter.synchronize(document.reported);
    this.#desired.full(document);
  }

  /** The next connection brings the twin of another hub. */
  forget(): void {
    this.#last = undefined;
    this.#desired.forget();
    this.#reporter.forget();
  }

  patch(patch: Parameters<Desired["patch"]>[0]): void {
    this.#desired.patch(patch);
  }

  /** No desired configuration is applied any more; resolves when the one under way is done with. */
  async settle(): Promise<void> {
    this.#stop.abort();
    await this.#desired.stop();
  }

  async stop(): Promise<void> {
    await this.#reporter.stop();
  }

  /** A hub that refuses a twin request still takes messages: the connection stays, and the request is repeated. */
  async #insist<T>(request: () => Promise<T>): Promise<T> {
    const { clock, log } = this.#options;
    for (let refused = ""; ; ) {
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof HeadgateError) || error.code !== "HUB_REJECTED") throw error;
        if (error.message !== refused) log.warn({ reason: error.message }, "the hub refuses the twin");
        refused = error.message;
        await clock.sleep(twinRetryMs, this.#stop.signal);
      }
    }
  }

  #reported() {
    return reportedProperties({ ...this.#options.box(), ...this.answered }, this.#settings);
  }
}
