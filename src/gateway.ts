import { AlarmPeek } from "./alarm-peek.ts";
import { directMethods } from "./api/direct-methods.ts";
import { LocalApi } from "./api/local-api.ts";
import { metricsText } from "./api/metrics.ts";
import { PictureRequests } from "./api/picture-requests.ts";
import { Readings } from "./api/readings.ts";
import { RegisterWrites } from "./api/register-writes.ts";
import type { SocketAnswers } from "./api/status-socket.ts";
import { Changes } from "./changes.ts";
import { type CheckedConfig, pipelineConfig } from "./config/check.ts";
import { Configuration } from "./config/configuration.ts";
import { aborted } from "./core/deadline.ts";
import { messageOf, TransientError } from "./core/errors.ts";
import { bootId, clockQuality } from "./core/libc.ts";
import { enterPhase } from "./core/phase.ts";
import type { GatewayOptions } from "./gateway-options.ts";
import { boxState, type GatewayStatus } from "./gateway-status.ts";
import { type HubInForce, hubOf } from "./hub-move.ts";
import { HubSide } from "./hub-side.ts";
import { Intake } from "./journal/intake.ts";
import { intakeSettings } from "./journal/intake-contract.ts";
import { type LedgerReport, ledgerReport } from "./ledger/ledger-report.ts";
import { ClockWatch } from "./observe/clock-watch.ts";
import { flashWear } from "./observe/health.ts";
import { billStatus } from "./outbox/bill.ts";
import { KeptPictures } from "./pictures/kept-pictures.ts";
import { ScoringSide } from "./scoring-side.ts";
import { Door } from "./sources/door.ts";
import { HubInbox } from "./sources/hub-inbox.ts";
import { SourceSet } from "./sources/source-set.ts";
import { stopTimes } from "./stop-times.ts";
import type { Opened, StoreStatus } from "./store/contract.ts";
import { StoreClient } from "./store/store-client.ts";
import { storeSettings, unopened } from "./store/store-settings.ts";
import { logOpened, opens, refuseSecond } from "./store-opening.ts";
import { TwinSide } from "./twin-side.ts";
import { version } from "./version.ts";

const housekeepingMs = 10_000;
/** While the clock was never known good, because readings may wait for that. */
const impatientMs = 1_000;
/** The composition root: builds every stage, from the hub backwards, and stops them from the sensor forwards. */
export class Gateway {
  /** Where the store is open; a configuration that was rolled back may name another. */
  readonly storeFolder: string;
  readonly #options: GatewayOptions;
  readonly #configuration: Configuration;
  readonly #store: StoreClient;
  readonly #intake: Intake;
  readonly #peek: AlarmPeek;
  readonly #sources: SourceSet;
  readonly #readings: Readings;
  readonly #writes: RegisterWrites;
  readonly #scoring: ScoringSide;
  readonly #pictures: PictureRequests;
  readonly #api: LocalApi;
  readonly #hub: HubSide;
  readonly #changes: Changes;
  readonly #twin: TwinSide;
  readonly #stop = new AbortController();
  #storeStatus: StoreStatus = unopened;
  #pipelineHash: string | undefined;
  /** The start was noted, because the store was this process's own. */
  #hasBegun = false;
  readonly #clockWatch: ClockWatch;
  #housekeeping: Promise<void> | undefined;

  /**
   * Starts a gateway: resolves when it reads its sources.
   * @throws ConfigError without any usable configuration; PermanentError or TransientError of the store.
   */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { configFile, environment, clock, log } = options;
    enterPhase("start");
    const store = options.store ?? new StoreClient(options.onFatal);
    const openings: Opened[] = [];
    let onOpened = (opened: Opened): void => {
      openings.push(opened);
    };
    try {
      const configuration = new Configuration(configFile, environment, log);
      const folder = configuration.current.config.store.path;
      await refuseSecond(folder);
      const settings = storeSettings(configuration.current.config);
      const isOpen = await opens(
        store.open(folder, settings, (opened) => onOpened(opened)),
        log,
      );
      // Behind the store's lock: a second process on the same store must not count as a crash of the first.
      if (isOpen) configuration.begin(clock.wall());
      for (const { path, message } of configuration.startProblems)
        log.error({ path }, `configuration: ${message}`);
      const { config } = configuration.current;
      const hub = await hubOf(config.hub, config.gateway.name, environment);
      const gateway = new Gateway(options, configuration, folder, store, openings[0], hub);
      for (const opened of openings) gateway.#opened(opened);
      onOpened = (opened) => gateway.#opened(opened);
      await gateway.#begin(isOpen);
      return gateway;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  private constructor(
    options: GatewayOptions,
    configuration: Configuration,
    storeFolder: string,
    store: StoreClient,
    opened: Opened | undefined,
    hub: HubInForce,
  ) {
    const { environment, clock, log, onFatal } = options;
    const { config } = configuration.current;
    this.storeFolder = storeFolder;
    this.#options = options;
    this.#configuration = configuration;
    this.#store = store;
    this.#clockWatch = new ClockWatch(options.clockQuality ?? clockQuality, bootId(), opened?.boot);
    this.#intake = new Intake(
      {
        store,
        clock,
        log: log.child({ stage: "journal" }),
        // What the hub does not take stays loose, so that a full store can make room of it.
        demand: () => this.#hub.demand,
        onCommit: (s) => this.#committed(s),
        onFatal,
      },
      intakeSettings(config),
    );
    const apiDoor = new Door();
    const sourceLog = log.child({ stage: "source" });
    const inbox = new HubInbox(clock, sourceLog);
    const next = (after: number) => store.texts(after);
    this.#scoring = new ScoringSide({ storeFolder, environment, next, target: this.#intake, clock, log });
    const gateway = config.gateway.name;
    const pictures = { scorer: this.#scoring.models, kept: new KeptPictures(storeFolder, clock) };
    const { door: scores, feeds: scorer } = this.#scoring;
    const place = { gateway, environment, api: apiDoor, scores, inbox, pictures, scorer };
    this.#pictures = new PictureRequests(
      (...of) => this.#sources.takePicture(...of),
      pictures.kept,
      () => configuration.current.config.sources,
      log.child({ stage: "pictures" }),
    );
    this.#peek = new AlarmPeek(this.#intake, clock);
    this.#sources = new SourceSet(this.#peek, clock, sourceLog, place);
    this.#writes = new RegisterWrites((...write) => this.#sources.write(...write), sourceLog);
    const waiting = () => this.#storeStatus.texts;
    this.#readings = new Readings({ intake: this.#intake, clock, keys: opened?.keys, waiting });
    const views = {
      status: () => this.status,
      ledger: () => this.ledger,
      deadLetters: async () => ({ deadLetters: await store.deadLetters() }),
      metrics: () => metricsText(this.status, storeFolder, clock.wall()),
    };
    this.#api = new LocalApi({
      config: config.api,
      maxQueueBytes: config.store.maxQueueBytes,
      storeFolder,
      environment,
      readings: this.#readings,
      scoring: this.#scoring,
      pictures: pictures.kept,
      views,
      onStatus: ({ state, reason }) => apiDoor.set({ state: state === "off" ? "failed" : state, reason }),
      clock,
      log: log.child({ stage: "api" }),
    });
    this.#hub = new HubSide(
      {
        next: (done, isBackfillWanted) => store.next(done, isBackfillWanted),
        acknowledge: (sequence) => this.#intake.acknowledge(sequence),
        reject: (sequence, reason) => this.#intake.reject(sequence, reason),
        compose: () => this.#intake.compose(),
        hub: (to) => hubOf(to, gateway, environment),
        outbox: () => this.#storeStatus.outbox,
        onConnected: (client) => this.#twin.connected(client),
        onDesired: (patch) => this.#twin.patch(patch),
        method: directMethods(views, this.#writes, this.#pictures),
        inbox,
        onOtherTwin: () => this.#twin.forget(),
        onFatal,
        clock,
        log,
      },
      hub,
      config.publish,
    );
    this.#changes = new Changes({
      configuration,
      move: this.#hub.move,
      inbox,
      enforce: (checked) => this.#enforce(checked),
      clock,
      log,
    });
    this.#twin = new TwinSide(
      {
        apply: (twin, desiredVersion, patch) => this.#changes.twin(twin, desiredVersion, patch),
        withTwin: (call) => this.#hub.move.withTwin(call),
        connected: (signal) => this.#hub.link.connected(signal),
        box: () => boxState(this.status, storeFolder, clock.monotonic()),
        clock,
        log: log.child({ stage: "twin" }),
      },
      config.report,
    );
  }

  get status(): GatewayStatus {
    const { config, hash } = this.#configuration.current;
    const intake = this.#intake.status;
    return {
      version,
      gateway: config.gateway.name,
      healthy: intake.state === "ok",
      configHash: hash,
      ...this.#twin.answered,
      hub: { type: config.hub.type, ...this.#hub.status },
      upstream: this.#hub.upstream.status,
      sources: this.#sources.status,
      clock: this.#clockWatch.quality,
      intake,
      publisher: this.#hub.publisher.status,
      bill: billStatus(this.#storeStatus.bill, config.publish.blockBytes, this.#options.clock.wall()),
      store: this.#storeStatus,
      flash: flashWear(),
      writes: this.#writes.counts,
      uploads: this.#pictures.uploads,
      ...this.#scoring.status,
      api: this.#api.status,
    };
  }

  /** The books as of the last commit. */
  get ledger(): LedgerReport {
    return ledgerReport(this.#storeStatus.storeId, this.#storeStatus.books);
  }

  /** What the command line asks over the socket. */
  get answers(): SocketAnswers {
    return { "/status": () => this.status, "/ledger": () => this.ledger };
  }

  /** The books, with `held` counted anew from windows and rows. */
  audit(): Promise<StoreStatus["books"]> {
    return this.#store.audit();
  }

  /** Reads the configuration file again. Never rejects; the log tells the outcome. */
  reload(): Promise<void> {
    return this.#changes.reload();
  }

  /** Stops in order: what was received is durable afterwards. Ends soon after `deadline` in any case. */
  async stop(deadline: AbortSignal): Promise<void> {
    const { log } = this.#options;
    enterPhase("shutdown");
    this.#stop.abort();
    await this.#housekeeping;
    // First, or a change that comes now would start sources again. A change under way may wait for a store that fails.
    const settled = Promise.all([this.#changes.stop(), this.#twin.settle()]);
    const within = (ms: number) => AbortSignal.any([deadline, AbortSignal.timeout(ms)]);
    this.#scoring.refuseAll(within(stopTimes.model));
    await Promise.all([this.#sources.stop(within(stopTimes.sources)), this.#api.stop(within(stopTimes.api))]);
    await Promise.race([settled, aborted(deadline)]);
    const drained = within(stopTimes.drain);
    // A store that fails keeps its flush waiting; the deadline ends that.
    const flushed = this.#intake
      .flush()
      .catch((error: unknown) => log.error({ reason: messageOf(error) }, "flush failed"));
    await Promise.race([flushed, aborted(drained)]);
    await this.#hub.drain(drained);
    // Whatever the hub does, there must be time left for the last commit.
    const idle = Promise.all([this.#hub.stop(), this.#twin.stop()]);
    await Promise.race([idle, aborted(within(stopTimes.hub))]);
    const isDurable = await this.#intake.stop(deadline);
    await this.#store.close();
    if (this.#hasBegun) this.#configuration.ended();
    // Behind the last commit, which nothing of a runtime is to endanger.
    await Promise.race([this.#scoring.stop(), aborted(deadline)]);
    if (!isDurable) {
      const { queuedBytes, reason } = this.#intake.status;
      throw new TransientError(
        "STORE_UNUSABLE",
        `${queuedBytes} bytes could not be stored before the end: ${reason}`,
      );
    }
    log.info({}, "stopped");
  }

  /** The store was opened, at the start or again after trouble with its disk. */
  #opened(opened: Opened): void {
    const { log } = this.#options;
    const { status, configHash, uncleanSinceMs, sources, keys } = opened;
    logOpened(opened, this.storeFolder, this.#storeStatus.damage, log);
    const isFirst = this.#storeStatus === unopened;
    this.#storeStatus = status;
    this.#hub.publisher.restart();
    this.#readings.remember(keys);
    this.#scoring.opened();
    // Only the first finds what another process left; this one's own configuration may be missing from a new store.
    if (!isFirst) {
      if (configHash !== this.#pipelineHash) this.#tellAnew();
      return;
    }
    this.#pipelineHash = configHash;
    if (uncleanSinceMs === undefined) return;
    log.warn({ since: new Date(uncleanSinceMs).toISOString() }, "the last process did not stop in order");
    for (const source of sources) this.#intake.gap(source, uncleanSinceMs, "unknown", "uncleanStop");
  }

  async #begin(isOpen: boolean): Promise<void> {
    const { log, onFatal } = this.#options;
    this.#hasBegun = isOpen;
    this.#intake.start();
    this.#intake.clock(this.#clockWatch.bootId, this.#clockWatch.quality);
    // Committed before the first byte is read: from here on a crash is noticed at the next start.
    const committed = this.#journalConfiguration()
      .then(() => this.#intake.flush())
      .then(() => this.#configuration.confirm(this.#options.clock.wall()));
    // A store that cannot be opened now must not keep the box from reading: memory holds what it can.
    if (isOpen) await committed;
    else committed.catch(onFatal);
    this.#hub.publisher.start();
    this.#twin.start();
    await this.#scoring.configure(this.#configuration.current.config);
    await this.#api.start();
    await this.#sources.configure(this.#configuration.current.config.sources);
    this.#scoring.start();
    // Last, because a connection brings the twin, which may configure the sources anew.
    this.#hub.start();
    this.#housekeeping = this.#housekeep();
    log.info({ gateway: this.#configuration.current.config.gateway.name, version }, "running");
  }

  async #enforce({ config }: CheckedConfig): Promise<void> {
    this.#intake.configure(intakeSettings(config));
    await this.#store.configure(storeSettings(config));
    this.#hub.publisher.configure(config.publish);
    this.#twin.configure(config.report);
    // Frames read by the old configuration stand before it in the journal, those of the new one behind.
    await this.#sources.retire(config.sources);
    await this.#journalConfiguration();
    await this.#scoring.configure(config);
    await this.#sources.configure(config.sources);
  }

  async #journalConfiguration(): Promise<void> {
    const { current } = this.#configuration;
    const pipeline = pipelineConfig(current);
    const isKnown = pipeline.hash === this.#pipelineHash;
    const journaled = isKnown ? undefined : this.#intake.configuration(pipeline);
    // In the same breath: what callers bring from here on is checked with what the pipeline will have then.
    this.#readings.configure(pipeline, current.config.sources);
    this.#peek.configure(pipeline, current.config);
    await journaled;
    this.#pipelineHash = pipeline.hash;
  }

  /** A store that was made anew knows neither clock nor configuration, and what waits for its commit needs both. */
  #tellAnew(): void {
    const { bootId: boot, quality } = this.#clockWatch;
    this.#intake.tellAnew(boot, quality, pipelineConfig(this.#configuration.current));
  }

  #committed(status: StoreStatus): void {
    if (status.lastFault !== this.#storeStatus.lastFault) {
      this.#options.log.error({ reason: status.lastFault }, "a frame was discarded because of a bug");
    }
    const { alarms = [], skipped = [], raised = [], feeds = [], ...told } = status;
    for (const frame of skipped) this.#options.log.debug(frame, "a frame brought no reading");
    this.#storeStatus = told;
    this.#sources.feed(feeds, status.storeId);
    this.#hub.publisher.offer(alarms);
    this.#sources.raised(raised);
    this.#scoring.committed(status);
    if (status.outbox.messages > 0) this.#hub.publisher.wake();
  }

  async #housekeep(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const sleepMs = this.#clockWatch.quality === "unsynced" ? impatientMs : housekeepingMs;
      await clock.sleep(sleepMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      if (this.#clockWatch.look()) this.#intake.clock(this.#clockWatch.bootId, this.#clockWatch.quality);
      this.#changes.prove();
    }
  }
}
