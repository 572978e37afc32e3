import { once } from "node:events";
import type { ClientRequest, IncomingMessage } from "node:http";
import type { HubConfig } from "../config/schema.ts";
import type { Clock } from "../core/clock.ts";
import { within } from "../core/deadline.ts";
import { messageOf, TransientError } from "../core/errors.ts";
import { get } from "../core/http.ts";
import type { Logger } from "../core/logger.ts";
import type { HoldBack, UpstreamState } from "../publish/hold-back.ts";

/**
 * What edge hub's metrics say at one moment (Azure/iotedge doc/BuiltInMetrics.md). A metric appears with its first
 * count; one that is not there counts as 0.
 */
export interface UpstreamSample {
  /** Changes with a restart of edge hub, which begins its counts anew. */
  readonly instance: string;
  /** `edgehub_queue_length` of the endpoint `iothub`: what waits for the cloud, of all modules. */
  readonly queueLength: number;
  /** `edgehub_offline_count_total`: rises when edge hub takes itself for disconnected. */
  readonly offlineCount: number;
  /**
   * `edgehub_offline_duration_seconds_count`: rises when that ends, and with the first connection, because edge hub
   * starts as disconnected (`DeviceConnectivityManager.cs`). undefined before.
   */
  readonly offlineEnds: number | undefined;
  /** `edgehub_messages_dropped_total` with reason `ttl_expiry`. */
  readonly expired: number;
  /** `edgehub_messages_sent_total` to `upstream`: what the cloud acknowledged. */
  readonly sent: number;
}

export type UpstreamSettings = Extract<HubConfig, { type: "edge" }>["upstream"];

/** undefined where no edge hub stands between, and where nobody is to ask. */
export function upstreamSettings(hub: HubConfig): UpstreamSettings | undefined {
  return hub.type === "edge" && hub.upstream.state === "on" ? hub.upstream : undefined;
}

export interface UpstreamStatus {
  readonly state: UpstreamState;
  /** Why the last look brought nothing. */
  readonly reason: string | undefined;
  readonly queueLength: number | undefined;
  /** Messages wait in the store. */
  readonly holding: boolean;
  /** How long they did since the start. */
  readonly heldMs: number;
}

/** A real one has some kilobytes per module; what is larger is something else. */
const maxBytes = 4_194_304;
const deadlineMs = 5_000;
/** Where no metrics are, they are looked for less often by this: a name that does not resolve may cost metered bytes. */
const patience = 6;

export interface UpstreamWatchOptions {
  readonly holdBack: (settings: UpstreamSettings | undefined) => HoldBack;
  readonly clock: Clock;
  readonly log: Logger;
  /** A message may be handed over that might not before. */
  readonly wake: () => void;
}

/** Looks at edge hub's metrics every so often, and lets `HoldBack` judge them. Without metrics nothing is held back. */
export class UpstreamWatch {
  readonly #options: UpstreamWatchOptions;
  /** undefined: nobody asks. */
  #settings: UpstreamSettings | undefined;
  #holdBack: HoldBack;
  #stop = new AbortController();
  #running: Promise<void> | undefined;
  #reason: string | undefined;
  #queueLength: number | undefined;
  #heldMs = 0;
  #heldSince: number | undefined;

  constructor(options: UpstreamWatchOptions, settings: UpstreamSettings | undefined) {
    this.#options = options;
    this.#settings = settings;
    this.#holdBack = options.holdBack(settings);
  }

  /** undefined where no edge hub stands between, or nobody asks. */
  get status(): UpstreamStatus | undefined {
    const { clock } = this.#options;
    if (!this.#settings) return undefined;
    const { state, holding } = this.#holdBack;
    const present = this.#heldSince === undefined ? 0 : clock.monotonic() - this.#heldSince;
    const heldMs = Math.round(this.#heldMs + present);
    return { state, reason: this.#reason, queueLength: this.#queueLength, holding, heldMs };
  }

  get isHolding(): boolean {
    return this.#holdBack.holding;
  }

  get mayHandOver(): boolean {
    return this.#holdBack.mayHandOver(this.#options.clock.monotonic());
  }

  /** A message is on its way to the hub. */
  handedOver(): void {
    this.#holdBack.handedOver(this.#options.clock.monotonic());
  }

  start(): void {
    if (this.#settings) this.#running ??= this.#run(this.#settings);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new TransientError("HUB_LOST", "stopped"));
    await this.#running;
    this.#running = undefined;
  }

  /** Another hub: what was known of the one before says nothing of it. */
  async configure(settings: UpstreamSettings | undefined): Promise<void> {
    await this.stop();
    this.#settings = settings;
    this.#holdBack = this.#options.holdBack(settings);
    this.#reason = undefined;
    this.#queueLength = undefined;
    this.#release();
    this.#stop = new AbortController();
    this.start();
    this.#options.wake();
  }

  async #run({ url, intervalMs }: UpstreamSettings): Promise<void> {
    const { clock } = this.#options;
    const holdBack = this.#holdBack;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const before = holdBack.state;
      const isKnown = await this.#look(url);
      if (signal.aborted) return;
      this.#settle(before);
      const pauseMs = isKnown || holdBack.state !== "unknown" ? intervalMs : intervalMs * patience;
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }

  async #look(url: string): Promise<boolean> {
    const { log } = this.#options;
    const holdBack = this.#holdBack;
    const { signal } = this.#stop;
    let sample: UpstreamSample | undefined;
    let reason = "these are not the metrics of an edge hub";
    try {
      sample = readSample(await fetchText(url, signal));
    } catch (error) {
      reason = messageOf(error);
    }
    if (signal.aborted) return false;
    this.#queueLength = sample?.queueLength;
    if (sample) {
      this.#reason = undefined;
      holdBack.observe(sample);
      return true;
    }
    // Told once, also where there never were any.
    if (this.#reason === undefined) log.info({ url, reason }, "no metrics of edge hub");
    this.#reason = `${url}: ${reason}`;
    holdBack.missed();
    return false;
  }

  #settle(before: UpstreamState): void {
    const { clock, log, wake } = this.#options;
    const { state, holding } = this.#holdBack;
    if (holding) this.#heldSince ??= clock.monotonic();
    else this.#release();
    if (state !== before) {
      const line = { upstream: state, queueLength: this.#queueLength };
      if (holding)
        log.warn(line, "edge hub has no way to the cloud, or a slow one: messages wait in the store");
      else log.info(line, "messages are handed over to edge hub");
    }
    // Also while it holds: a message may be due as a probe.
    if (this.mayHandOver) wake();
  }

  #release(): void {
    if (this.#heldSince === undefined) return;
    this.#heldMs += this.#options.clock.monotonic() - this.#heldSince;
    this.#heldSince = undefined;
  }
}

async function fetchText(url: string, signal: AbortSignal): Promise<string> {
  const request = get(url, { agent: false });
  // What comes after the deadline is of no interest, and must not be an unhandled event.
  request.on("error", () => undefined);
  try {
    return await within(body(request), deadlineMs, "metrics", signal);
  } finally {
    request.destroy();
  }
}

async function body(request: ClientRequest): Promise<string> {
  const [response]: IncomingMessage[] = await once(request, "response");
  if (response?.statusCode !== 200)
    throw new TransientError("HUB_UNREACHABLE", `answered with status ${response?.statusCode}`);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new TransientError("HUB_UNREACHABLE", `more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Reads the few lines that matter of Prometheus' text format; undefined when it is not edge hub's. */
export function readSample(text: string): UpstreamSample | undefined {
  if (!/^(?:# \w+ )?edgehub_/m.test(text)) return undefined;
  const sums = { queueLength: 0, offlineCount: 0, expired: 0, sent: 0 };
  let offlineEnds: number | undefined;
  let instance = "";
  for (const [, name, labels = "", number] of text.matchAll(/^(edgehub_\w+)\{(.*)\} (\S+)/gm)) {
    const has = (label: string) => `,${labels},`.includes(`,${label},`);
    const value = Number(number);
    if (!Number.isFinite(value)) continue;
    instance ||= /(?:^|,)instance_number="([^"]*)"/.exec(labels)?.[1] ?? "";
    if (name === "edgehub_queue_length" && has('endpoint="iothub"')) sums.queueLength += value;
    else if (name === "edgehub_offline_count_total") sums.offlineCount += value;
    else if (name === "edgehub_offline_duration_seconds_count") offlineEnds = (offlineEnds ?? 0) + value;
    else if (name === "edgehub_messages_dropped_total" && has('reason="ttl_expiry"')) sums.expired += value;
    else if (name === "edgehub_messages_sent_total" && has('to="upstream"')) sums.sent += value;
  }
  return { instance, offlineEnds, ...sums };
}
