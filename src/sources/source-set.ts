import { pictureField } from "../config/decoding.ts";
import type { Config, ModbusSourceConfig, SocketSourceConfig, SourceConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { aborted } from "../core/deadline.ts";
import { InvariantError, messageOf } from "../core/errors.ts";
import { fingerprint } from "../core/json.ts";
import type { Logger } from "../core/logger.ts";
import type { FrameDiscard } from "../core/reading.ts";
import { skipped } from "../core/skipped.ts";
import type { RaisedAlarm } from "../detect/raised-alarms.ts";
import type { FeedNews } from "../feed/pending.ts";
import type { FeedScorer } from "../infer/feed-scorer.ts";
import type { Door } from "./door.ts";
import { FeedInbox } from "./feed-inbox.ts";
import { HttpSource } from "./http-source.ts";
import type { HubInbox } from "./hub-inbox.ts";
import { HubSource } from "./hub-source.ts";
import type { ModbusLines } from "./modbus-lines.ts";
import { ModelSource } from "./model-source.ts";
import { OneWireDevice } from "./one-wire-device.ts";
import type { PicturePlace } from "./picture-scoring.ts";
import { PollingSource } from "./polling-source.ts";
import { refused, type WriteOutcome } from "./register-write.ts";
import { ReplaySource } from "./replay-source.ts";
import { SerialSource } from "./serial-source.ts";
import { SocketClient } from "./socket-client.ts";
import { SocketServer } from "./socket-server.ts";
import type { Source, SourceStatus, WaitingSink } from "./source.ts";
import { SysfsDevice } from "./sysfs-device.ts";
import { Turns } from "./turns.ts";

/** Where all sources deliver to. */
export interface FrameTarget {
  frame(source: string, bytes: Uint8Array, origin?: string): boolean;
  discard(source: string, reason: FrameDiscard, bytes: number): void;
  hasRoom(bytes: number): boolean;
  committed(): Promise<void>;
}

/** What sources with a peer of their own need to know of this box. */
export interface Place {
  /** The gateway's name when the process started. */
  readonly gateway: string;
  readonly environment: NodeJS.ProcessEnv;
  /** Where readings come in that callers of the API bring. */
  readonly api: Door;
  /** Where scores of texts come in. */
  readonly scores: Door;
  /** Where messages of the hub come in. */
  readonly inbox: HubInbox;
  /** Absent where no models are loaded. */
  readonly pictures?: PicturePlace;
  /** What runs models over readings. */
  readonly scorer: Pick<FeedScorer, "standing" | "score">;
}

interface Running {
  readonly source: Source;
  /** Fingerprint of what the port needs to know; a change of the rest leaves the port open. */
  readonly transport: string;
  /** Fingerprint of what the other end keeps for it, across its stops. */
  readonly session: string | undefined;
}

/** What became of a picture that somebody asked for. */
export type PictureTaken =
  | { readonly kind: "taken"; readonly scores: Record<string, number> }
  | { readonly kind: "unknownSource" }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "late" };

/** Longer than any source takes to stop. */
const usualStopTimeoutMs = 10_000;

/** The running sources, brought to what the configuration says. */
export class SourceSet {
  readonly #target: FrameTarget;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #place: Place;
  readonly #stopTimeoutMs: number;
  readonly #running = new Map<string, Running>();
  /** Names of running sources that were to stop and did not. */
  readonly #givenUp = new Set<string>();
  readonly #status = new Map<string, SourceStatus>();
  /** Of buses that several sources share. */
  readonly #turns = new Turns();
  readonly #feeds = new FeedInbox();
  #lines: ModbusLines | undefined;
  /** Undefined while a change is under way. */
  #wanted: Config["sources"] | undefined;
  #stopped = false;

  constructor(
    target: FrameTarget,
    clock: Clock,
    log: Logger,
    place: Place,
    stopTimeoutMs = usualStopTimeoutMs,
  ) {
    this.#target = target;
    this.#clock = clock;
    this.#log = log;
    this.#place = place;
    this.#stopTimeoutMs = stopTimeoutMs;
  }

  get status(): Readonly<Record<string, SourceStatus>> {
    return Object.fromEntries(this.#status);
  }

  /** What the models of sources are to be fed with, by which store. */
  feed(news: readonly FeedNews[], storeId: string): void {
    this.#feeds.take(news, storeId);
  }

  /** Sets a value in a source's device. Never rejects. */
  async write(name: string, channel: string, value: number): Promise<WriteOutcome> {
    const running = this.#running.get(name);
    if (!running) return refused("unknownSource", `there is no source ${JSON.stringify(name)} that is on`);
    return (
      (await running.source.write?.(channel, value)) ?? refused("notWritable", `source ${name} only reads`)
    );
  }

  /** Tells them all of alarms that were committed. */
  raised(alarms: readonly RaisedAlarm[]): void {
    for (const alarm of alarms) for (const { source } of this.#running.values()) source.raised?.(alarm);
  }

  /** Takes a picture now, or as soon as the source's spacing lets it. Never rejects. */
  async takePicture(name: string, signal: AbortSignal): Promise<PictureTaken> {
    const taking = this.#running.get(name)?.source.takePicture?.();
    if (!taking) return { kind: "unknownSource" };
    const asked = await Promise.race([taking, aborted(signal)]);
    if (!asked) return { kind: "late" };
    if (asked.kind === "failed") return asked;
    const { [pictureField]: _, ...scores } = JSON.parse(Buffer.from(asked.frame).toString("utf8"));
    return { kind: "taken", scores };
  }

  /**
   * Stops the sources that a configuration no longer has or wants to read differently. One that does not stop is given
   * up: what it still brings belongs to no configuration and is discarded, and nobody takes its place before it ends.
   */
  async retire(config: Config["sources"]): Promise<void> {
    this.#wanted = undefined;
    const gone = this.#gone(config);
    await Promise.race([this.#end(gone, config), aborted(AbortSignal.timeout(this.#stopTimeoutMs))]);
    for (const [name, running] of gone) {
      if (this.#running.get(name) !== running) continue;
      this.#givenUp.add(name);
      const reason = "it does not stop, and what the configuration says of it now waits for that";
      this.#status.set(name, { state: "failed", reason });
      this.#log.error({ source: name, reason }, "source given up");
    }
  }

  /** Starts the sources that do not run yet, after retiring those that must not. */
  async configure(config: Config["sources"]): Promise<void> {
    await this.retire(config);
    // Of one that could not be made.
    for (const name of this.#status.keys()) if (!this.#running.has(name)) this.#status.delete(name);
    this.#feeds.keep((name) => config[name]?.type === "model" && config[name].state === "on");
    this.#wanted = config;
    await this.#startWanted();
  }

  /** For good: what comes afterwards starts nothing. At `deadline` it goes on without those that do not stop. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopped = true;
    this.#place.inbox.close();
    await Promise.race([this.#end(this.#gone({}), {}), aborted(deadline)]);
    const sources = [...this.#running.keys()];
    if (sources.length > 0) this.#log.error({ sources }, "sources do not stop; what they brought is stored");
  }

  #gone(config: Config["sources"]): [string, Running][] {
    return [...this.#running].filter(([name, { transport }]) => {
      const next = config[name];
      return next === undefined || next.state === "off" || transportOf(next) !== transport;
    });
  }

  /** Resolves when all of them have stopped. */
  async #end(gone: readonly [string, Running][], config: Config["sources"]): Promise<void> {
    const end = async ([name, running]: [string, Running]) => {
      // A stop of the whole gateway comes with no configuration, and is for a while only.
      const resumes = this.#stopped || sessionOf(config[name]) === running.session;
      await running.source.stop(!resumes);
      // A later change may have waited for it as well.
      if (this.#running.get(name) !== running) return;
      this.#running.delete(name);
      this.#status.delete(name);
      if (!this.#givenUp.delete(name)) return;
      this.#log.info({ source: name }, "the source that was given up has stopped");
      await this.#startWanted().catch((error: unknown) => {
        this.#log.error({ source: name, reason: messageOf(error) }, "its place is not taken");
      });
    };
    await Promise.all(gone.map(end));
  }

  async #startWanted(): Promise<void> {
    const wanted = this.#wanted;
    for (const [name, source] of Object.entries(wanted ?? {})) {
      if (this.#stopped || source.state === "off" || this.#running.has(name)) continue;
      const made = await this.#make(name, source).catch(messageOf);
      // Several may be at this when one that was given up has stopped.
      if (this.#stopped || this.#wanted !== wanted || this.#running.has(name)) continue;
      if (typeof made === "string") {
        // The others are to start all the same, and the hub to be reached, or nobody could set it right.
        this.#status.set(name, { state: "failed", reason: made });
        this.#log.error({ source: name, reason: made }, "source cannot be made");
        continue;
      }
      this.#running.set(name, { source: made, transport: transportOf(source), session: sessionOf(source) });
      made.start();
    }
  }

  async #make(name: string, config: SourceConfig): Promise<Source> {
    const log = this.#log.child({ source: name });
    const sink = {
      frame: (bytes: Uint8Array, origin?: string) => {
        if (!this.#givenUp.has(name)) return this.#target.frame(name, bytes, origin);
        this.#target.discard(name, "unknownSource", bytes.length);
        return true;
      },
      discard: (reason: FrameDiscard, bytes: number, frame?: Uint8Array) => {
        this.#target.discard(name, reason, bytes);
        if (frame) log.debug({ ...skipped(name, reason, frame), bytes }, "a frame brought no reading");
      },
      // Where the other end can wait, nothing of what it has is lost by that.
      hasRoom: (bytes: number) => !this.#givenUp.has(name) && this.#target.hasRoom(bytes),
      committed: () => this.#target.committed(),
      status: (status: SourceStatus) => {
        if (this.#givenUp.has(name)) return;
        this.#status.set(name, status);
        const lost = status.state === "absent" || status.state === "failed";
        log[lost ? "warn" : "info"]({ ...status }, `source ${status.state}`);
      },
    };
    switch (config.type) {
      case "serial":
        return new SerialSource(config, sink, this.#clock);
      case "socket":
        return socketSource(config, sink, this.#clock);
      case "mqtt": {
        // Loaded when it is needed: the library costs 9 MB.
        const { MqttSource } = await import("./mqtt-source.ts");
        return new MqttSource(name, config, sink, this.#clock, this.#place);
      }
      case "http":
        return new HttpSource(sink, this.#place.api);
      case "sentiment":
        return new HttpSource(sink, this.#place.scores);
      case "hub":
        return new HubSource(config, sink, this.#place.inbox);
      case "i2c": {
        // Loaded when it is needed, as few boxes have a bus.
        const { I2cDevice } = await import("./i2c-device.ts");
        const device = new I2cDevice(config, this.#clock, this.#turns);
        return new PollingSource(device, config.intervalMs, sink, this.#clock);
      }
      case "oneWire": {
        const device = new OneWireDevice(config, this.#turns);
        return new PollingSource(device, config.intervalMs, sink, this.#clock);
      }
      case "sysfs":
        return new PollingSource(new SysfsDevice(config), config.intervalMs, sink, this.#clock);
      case "modbus": {
        // Loaded when they are needed, as few boxes have a line.
        const { ModbusDevice } = await import("./modbus-device.ts");
        const { ModbusLines } = await import("./modbus-lines.ts");
        this.#lines ??= new ModbusLines(this.#clock, this.#turns);
        const device = new ModbusDevice(config, this.#clock, this.#lines);
        return new PollingSource(device, config.intervalMs, sink, this.#clock);
      }
      case "imageFolder": {
        // Loaded when it is needed, as few boxes have a camera.
        const { ImageFolderSource } = await import("./image-folder-source.ts");
        return new ImageFolderSource(name, config, sink, this.#clock, this.#pictures());
      }
      case "imageUrl": {
        const { ImageUrlDevice } = await import("./image-url-device.ts");
        const { ImageUrlSource } = await import("./image-url-source.ts");
        const device = new ImageUrlDevice(name, config, this.#place.environment, this.#pictures());
        return new ImageUrlSource(device, config, sink, this.#clock);
      }
      case "model":
        return new ModelSource(name, config, sink, this.#clock, this.#feeds, this.#place.scorer);
      case "replay":
        return new ReplaySource(config, sink, this.#clock);
      default:
        return config satisfies never;
    }
  }

  #pictures(): PicturePlace {
    const { pictures } = this.#place;
    if (!pictures) throw new InvariantError("a source of pictures where nothing scores them");
    return pictures;
  }
}

function socketSource(
  { connect, listen, framing, idleTimeoutMs, maxConnections, mode }: SocketSourceConfig,
  sink: WaitingSink,
  clock: Clock,
): Source {
  if (connect !== undefined)
    return new SocketClient(connect, { framing, first: "discard", idleTimeoutMs }, sink, clock);
  if (listen === undefined) throw new InvariantError("a socket source that no check lets through");
  const stream = { framing, first: "keep", idleTimeoutMs } as const;
  const options = { ...stream, address: listen, maxConnections, mode: Number.parseInt(mode, 8) };
  return new SocketServer(options, sink, clock);
}

/** What the pipeline or the store reads, and no source does. */
const beyondTransport = [
  "decode",
  "dedupe",
  "silentMs",
  "readings",
  "idleMs",
  "priority",
  "share",
  "whenFull",
];

function transportOf(config: SourceConfig): string {
  const isBeyond = (key: string) => {
    // Only the source still knows the properties of a message, of which one may name the device; and whose a result is.
    if (key === "device") return config.type !== "hub" && config.type !== "model";
    // One that asks its device goes by the interval.
    if (key === "intervalMs") return "decode" in config || config.type === "imageFolder";
    return beyondTransport.includes(key);
  };
  const known = config.type === "modbus" ? { ...config, registers: askedOf(config.registers) } : config;
  return fingerprint(Object.entries(known).filter(([key]) => !isBeyond(key)));
}

/** Registers without what is only known of their values: neither a question nor a write goes by it. */
function askedOf(registers: ModbusSourceConfig["registers"]): object {
  const asked = Object.entries(registers).map(
    ([channel, { unit: _, min: __, max: ___, words: ____, ...register }]) => [channel, register] as const,
  );
  return Object.fromEntries(asked);
}

/** Undefined when nothing is kept. */
function sessionOf(config: SourceConfig | undefined): string | undefined {
  if (config?.type !== "mqtt" || config.state === "off") return undefined;
  const { url, topic, clientId } = config;
  return fingerprint([url, topic, clientId ?? ""]);
}
