import { resolve } from "node:path";
import { askStatus } from "../api/status-socket.ts";
import { checkConfig } from "../config/check.ts";
import { layersBelowTwin, storePath } from "../config/configuration.ts";
import type { SourceConfig } from "../config/schema.ts";
import { systemClock } from "../core/clock.ts";
import { ConfigError, TransientError } from "../core/errors.ts";
import { isObject } from "../core/json.ts";
import { FeedScorer } from "../infer/feed-scorer.ts";
import { createLog } from "../observe/log.ts";
import { Door } from "../sources/door.ts";
import { HubInbox } from "../sources/hub-inbox.ts";
import { SourceSet } from "../sources/source-set.ts";
import { version } from "../version.ts";
import { CaptureWriter } from "./capture-writer.ts";
import { exitCode } from "./exit-code.ts";
import { parseDuration, stdoutClosed } from "./lifetime.ts";

export interface RecordOptions {
  readonly config?: string;
  readonly source: string;
  readonly out: string;
  readonly for?: string;
  readonly maxBytes: string;
  readonly json?: boolean;
  readonly logLevel: string;
}

const askDeadlineMs = 2_000;
const leastBytes = 4_096;

/** `headgate record`: what one source receives, into a capture file; there is no store and no hub. */
export async function record(options: RecordOptions, signal: Promise<unknown>): Promise<void> {
  const { source: name, out } = options;
  const { runMs, maxBytes } = parse(options);
  const layers = layersBelowTwin(options.config, process.env);
  // A module finds its hub by itself, and a capture needs none.
  const { config } = checkConfig({ hub: { type: "edge" }, ...layers });
  const source = recordable(name, config.sources);
  await refuseShared(name, source, storePath(layers));
  const clock = systemClock;
  const log = await createLog({ level: options.logLevel, pretty: process.stderr.isTTY === true });
  const header = {
    by: version,
    source: name,
    startedAt: new Date(clock.wall()).toISOString(),
    config: source,
  };
  const writer = await CaptureWriter.create(out, header, maxBytes, clock);
  const target = {
    frame: (_: string, bytes: Uint8Array, origin?: string) => writer.frame(bytes, origin),
    discard: (_: string, reason: Parameters<CaptureWriter["discard"]>[0], bytes: number) =>
      writer.discard(reason, bytes),
    hasRoom: () => writer.hasRoom(),
    committed: () => writer.written(),
  };
  const place = {
    gateway: config.gateway.name,
    environment: process.env,
    api: new Door(),
    scores: new Door(),
    inbox: new HubInbox(clock, log),
    scorer: new FeedScorer({ get: () => undefined }),
  };
  const sources = new SourceSet(target, clock, log, place);
  await sources.configure({ [name]: apart(name, source, place.gateway) });

  const timer = new AbortController();
  const over = runMs === undefined ? [] : [clock.sleep(runMs, timer.signal).catch(() => undefined)];
  const ended = await Promise.race([
    ...[signal, stdoutClosed(), ...over].map(async (reason) => reason.then(() => "asked" as const)),
    writer.ended,
  ]);
  timer.abort();
  const status = sources.status[name];
  const seconds = writer.elapsedMs / 1_000;
  // For good: a broker need keep nothing of a recording.
  await sources.retire({});
  await sources.stop(AbortSignal.timeout(1_000));
  if (ended instanceof Error) throw ended;
  await writer.close();
  const { counts } = writer;
  const isEmpty = counts.frames === 0 && status?.state !== "open";
  const why = isEmpty ? { state: status?.state, reason: status?.reason } : {};
  const result = { out: resolve(out), ...counts, seconds, isFull: ended === "full", ...why };
  process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${describe(result)}\n`);
  process.exitCode = isEmpty ? exitCode.crashed : exitCode.stopped;
}

function parse({ for: duration, maxBytes: text }: RecordOptions): {
  runMs: number | undefined;
  maxBytes: number;
} {
  const wrong = (path: string, message: string) => new ConfigError("CONFIG_INVALID", [{ path, message }]);
  const runMs = duration === undefined ? undefined : parseDuration(duration);
  if (duration !== undefined && runMs === undefined)
    throw wrong("--for", `${duration} is not a duration such as 30s`);
  const maxBytes = Number(text);
  if (!Number.isSafeInteger(maxBytes) || maxBytes < leastBytes)
    throw wrong("--max-bytes", `${text} is not a whole number of at least ${leastBytes}`);
  return { runMs, maxBytes };
}

/** @throws ConfigError when there is no such source, or nothing of its own to listen to */
function recordable(name: string, sources: Readonly<Record<string, SourceConfig>>): SourceConfig {
  const source = sources[name];
  const wrong = (path: string, message: string, hint: string) =>
    new ConfigError("CONFIG_INVALID", [{ path, message, hint }]);
  if (!source) {
    const known = Object.keys(sources).join(", ");
    throw wrong(
      `sources.${name}`,
      "there is no such source",
      known === "" ? "there is none" : `there are: ${known}`,
    );
  }
  if (["http", "hub", "sentiment", "model"].includes(source.type)) {
    const hint = "record where its messages come from";
    throw wrong(`sources.${name}.type`, "comes in through a running gateway, and cannot be recorded", hint);
  }
  if ("model" in source) {
    const hint = "keep a copy of the pictures";
    throw wrong(`sources.${name}.type`, "needs a model, which a recording does not load", hint);
  }
  return { ...source, state: "on" };
}

/** A broker ends the gateway's connection when another comes with its client id (MQTT 3.1.1 section 3.1.4). */
function apart(name: string, source: SourceConfig, gateway: string): SourceConfig {
  if (source.type !== "mqtt") return source;
  return { ...source, clientId: `${source.clientId ?? `headgate-${gateway}-${name}`}-record-${process.pid}` };
}

/** @throws TransientError when a gateway reads the source, and only one can. */
async function refuseShared(name: string, source: SourceConfig, store: string): Promise<void> {
  if (["mqtt", "oneWire", "sysfs", "replay"].includes(source.type)) return;
  const status = await askStatus(store, askDeadlineMs).catch(() => undefined);
  const read = status && isObject(status.sources) ? status.sources[name] : undefined;
  if (read === undefined) return;
  throw new TransientError(
    "SOURCE_IN_USE",
    `the gateway that runs on the store in ${store} reads ${name}, and only one can`,
  );
}

interface Result {
  readonly out: string;
  readonly frames: number;
  readonly discards: Readonly<Record<string, number>>;
  readonly lost: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly isFull: boolean;
  readonly state?: string | undefined;
  readonly reason?: string | undefined;
}

function describe({ out, frames, discards, lost, bytes, seconds, isFull, state, reason }: Result): string {
  const discarded = Object.entries(discards).map(([why, count]) => `${why} ${count}`);
  return [
    `${frames} frames in ${seconds.toFixed(1)} s, ${bytes} bytes in ${out}`,
    ...(discarded.length === 0 ? [] : [`discarded: ${discarded.join(", ")}`]),
    ...(lost === 0 ? [] : [`lost: ${lost}, because the disk was too slow or the file full`]),
    ...(isFull ? ["the file is as large as --max-bytes lets it be"] : []),
    ...(state === undefined ? [] : [`nothing came: the source is ${state}${reason ? `, ${reason}` : ""}`]),
  ].join("\n");
}
