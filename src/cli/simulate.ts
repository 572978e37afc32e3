import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { StatusSocket } from "../api/status-socket.ts";
import { systemClock } from "../core/clock.ts";
import { ConfigError } from "../core/errors.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../embedded-hub/embedded-hub.ts";
import { messageJson } from "../embedded-hub/messages.ts";
import { Gateway } from "../gateway.ts";
import { createLog } from "../observe/log.ts";
import {
  type SimulatedContainer,
  startSentimentContainer,
} from "../simulated-devices/sentiment-container.ts";
import { type SimulatedField, startSimulatedField } from "../simulated-devices/simulated-field.ts";
import { fatal, parseDuration, stdoutClosed, untilStopped } from "./lifetime.ts";
import { SimulationView } from "./simulation-view.ts";

export interface SimulateOptions {
  readonly for?: string;
  readonly json?: boolean;
  readonly fieldLog?: string;
  readonly window: string;
  readonly devices: string;
  readonly seed: string;
  readonly store?: string;
  readonly logLevel: string;
}

const intervalMs = 200;
const baudRate = 115_200;

/** `headgate simulate`: devices on pseudo-terminals, the gateway, and an embedded hub, in one process. */
export async function simulate(options: SimulateOptions, signal: Promise<unknown>): Promise<void> {
  const { sizeMs, devices, seed, runMs } = parse(options);
  const reasons: Promise<unknown>[] = [signal, stdoutClosed()];
  const pretty = process.stderr.isTTY === true;
  const log = await createLog({ level: options.logLevel, pretty });
  const onFatal = fatal(log);
  process.on("uncaughtException", onFatal);
  process.on("unhandledRejection", onFatal);

  const folder = mkdtempSync(join(tmpdir(), "headgate-"));
  const names = Array.from({ length: devices }, (_, i) => `env-${i + 1}`);
  const hub = await startEmbeddedHub({ deviceId: "simulated", modules: ["gateway"], metricsPort: 0 });
  if (options.json)
    hub.on("message", (message) => process.stdout.write(`${JSON.stringify(messageJson(message))}\n`));
  const field = await startSimulatedField({
    devices: names.map((name) => ({ name, device: name, intervalMs, baudRate, timed: true })),
    directory: folder,
    seed,
    ...(options.fieldLog === undefined ? {} : { fieldLog: resolve(options.fieldLog) }),
  });

  const container = await startSentimentContainer();
  log.info({ url: container.url }, "a stand-in for the sentiment container listens: it only counts words");

  const configFile = join(folder, "headgate.json");
  const store = options.store === undefined ? join(folder, "store") : resolve(options.store);
  writeFileSync(configFile, JSON.stringify(simulationConfig(field, hub, container, store, sizeMs), null, 2));
  // The SDK, if it is chosen, reads its identity from the process's own environment, as in a module.
  Object.assign(process.env, hub.environment("gateway"));
  const { env: environment } = process;
  const gateway = await Gateway.start({ configFile, environment, clock: systemClock, log, onFatal });
  const socket = new StatusSocket(gateway.storeFolder, gateway.answers, log);
  await socket.start();

  const view = options.json
    ? undefined
    : new SimulationView({ hub, field, gateway, configFile, store, sizeMs, out: process.stdout });
  view?.start();
  if (runMs !== undefined) reasons.push(systemClock.sleep(runMs));
  const stop = async (deadline: AbortSignal) => {
    view?.stop();
    await socket.stop();
    // The devices last: pulled out from under the gateway, they would be reported as unplugged.
    await gateway.stop(deadline);
    await field.stop();
    await container.stop();
    await hub.stop();
    await drained(process.stdout);
    rmSync(folder, { recursive: true, force: true });
  };
  await untilStopped(reasons, stop, log);
}

/** stdout to a pipe is asynchronous, and the process ends by `exit`. */
function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write("", () => resolve()));
}

/** What is simulated is configured like a box: this very file could be copied to one. */
function simulationConfig(
  field: SimulatedField,
  hub: EmbeddedHub,
  container: SimulatedContainer,
  store: string,
  sizeMs: number,
): object {
  const sources = [...field.sensors.values()].map(({ name, path }) => [
    name,
    {
      type: "serial",
      path,
      baudRate,
      // A simulated device begins with a whole line.
      framing: { kind: "lines", first: "keep" },
      decode: { format: "json", time: { field: "time" }, ignore: ["seq"] },
      device: { field: "id" },
      intervalMs,
      idleMs: 3_000,
    },
  ]);
  return {
    gateway: { name: "simulated-box" },
    sources: Object.fromEntries(sources),
    calibrate: {
      "env-1": {
        device: "env-1",
        channels: { temperature: { kind: "linear", slope: 1.02, intercept: -0.4 } },
      },
    },
    windows: { short: { kind: "tumbling", sizeMs } },
    publish: { maxDelayMs: 200 },
    // A try does not wait for a clock that nobody sets; on a box, leave it out.
    clock: { maxHoldMs: 0 },
    report: { intervalMs: 10_000, minSpacingMs: 1_000 },
    sentiment: { url: container.url },
    store: { path: store, maxLossMs: 1_000 },
    // Any free port: a gateway, or another simulation, may have the usual one.
    api: { port: 0 },
    hub: { type: "edge", upstream: { url: hub.metricsUrl, intervalMs: 1_000 } },
  };
}

function parse(options: SimulateOptions): {
  sizeMs: number;
  devices: number;
  seed: number;
  runMs: number | undefined;
} {
  const wrong = (path: string, message: string) => new ConfigError("CONFIG_INVALID", [{ path, message }]);
  const sizeMs = parseDuration(options.window);
  if (sizeMs === undefined || sizeMs < 100 || sizeMs > 5_000) {
    throw wrong("--window", `${options.window} is not a duration from 100ms to 5s`);
  }
  const devices = Number(options.devices);
  if (!Number.isInteger(devices) || devices < 1 || devices > 20) {
    throw wrong("--devices", `${options.devices} is not a whole number from 1 to 20`);
  }
  const seed = Number(options.seed);
  if (!Number.isInteger(seed)) throw wrong("--seed", `${options.seed} is not a whole number`);
  const runMs = options.for === undefined ? undefined : parseDuration(options.for);
  if (options.for !== undefined && runMs === undefined)
    throw wrong("--for", `${options.for} is not a duration such as 30s`);
  return { sizeMs, devices, seed, runMs };
}
