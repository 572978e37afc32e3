import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import { within } from "../src/core/deadline.ts";
import { compileShim, Shim } from "../test/faults/shim/shim.ts";
import { monotonicMs, sleep } from "../test/faults/time.ts";
import { SerialDevice } from "../test/support/serial-device.ts";
import type { Figures, Setting } from "./cell.ts";
import { Devices } from "./devices.ts";
import { workFolder } from "./load-run.ts";
import { startMosquitto } from "./mosquitto.ts";
import { headgate } from "./programs/headgate.ts";
import { inFilter, outPrefix } from "./reading.ts";
import { type Percentiles, percentiles } from "./statistics.ts";

export interface LatencyFigures extends Figures, Percentiles {
  readonly alarms: number;
  /** What is left of the 99th percentile when two syncs are taken off. */
  readonly p99BeyondTwoSyncsMs: number;
}

export interface LatencyLoad {
  /** Readings/s over MQTT that come in besides. */
  readonly rate: number;
  /** How much longer each sync takes. */
  readonly syncDelayMs: number;
}

/** Sensors on serial lines; each commit that an alarm hastens is at least a second behind the last of its source. */
const sensors = 10;
const leastPauseMs = 1_050;
const pauseSpreadMs = 400;
const lastMs = 15_000;

/**
 * A value leaves its range, or comes back, and the time from its sending on a serial line until the broker has the
 * alarm: what is on the wire (0.6 ms at a million baud) is in it. The broker acknowledges a message and hands it to its
 * subscribers in one go, so its arrival here stands for the acknowledgement.
 */
export async function measureLatency(
  { rate, syncDelayMs }: LatencyLoad,
  setting: Setting,
): Promise<LatencyFigures> {
  const { children, quick } = setting;
  const folder = workFolder();
  const place = join(folder, "program");
  mkdirSync(place);
  const shim = new Shim(compileShim(folder), place, join(folder, "shim"));
  shim.syncDelay(syncDelayMs);
  const devices = Array.from({ length: sensors }, () => new SerialDevice());
  for (const { line } of devices) line.plug();
  const broker = await startMosquitto(folder, children);
  const hub = mqtt.connect(broker.url, { protocolVersion: 4, clientId: "hub", reconnectPeriod: 0 });
  const sentMs = new Map<string, number>();
  const latencies: number[] = [];
  hub.on("message", (_topic, payload) => {
    const atMs = monotonicMs();
    for (const entry of JSON.parse(payload.toString("utf8")) as {
      kind: string;
      device: string;
      value?: number;
    }[]) {
      if (entry.kind !== "alarm") continue;
      const key = `${entry.device} ${entry.value}`;
      const since = sentMs.get(key);
      sentMs.delete(key);
      if (since !== undefined) latencies.push(atMs - since);
    }
  });
  await hub.subscribeAsync(`${outPrefix}/#`, { qos: 1 });
  const sources = Object.fromEntries(
    devices.map(({ path }, i) => [
      `line${i}`,
      {
        type: "serial",
        path,
        decode: { format: "json" },
        device: `sensor-${i}`,
        framing: { kind: "lines", first: "keep" },
      },
    ]),
  );
  const program = headgate({
    from: setting.from,
    moreSources: sources,
    sections: {
      alarms: { minSpacingMs: 100 },
      validate: { range: { channels: { v: { max: 999_999 } } } },
    },
    environment: shim.environment(),
  });
  const running = program.start({ folder: place, url: broker.url, children });
  await broker.subscribed(inFilter);
  const load =
    rate > 0
      ? new Devices({ target: { way: "mqtt", port: broker.port, qos: 1 }, rate, devices: 10 }, children)
      : undefined;
  await sleep(3_000);
  const endMs = monotonicMs() + (quick ? 15_000 : 60_000);
  let sent = 0;
  const send = async (device: SerialDevice, index: number) => {
    // The first value is good and no alarm; from then on each changes the quality.
    await device.send(`{"v":0}\n`);
    for (let n = 1; monotonicMs() < endMs; n++) {
      await sleep(leastPauseMs + Math.random() * pauseSpreadMs);
      const value = n % 2 === 1 ? 1_000_000 + n : n;
      sentMs.set(`sensor-${index} ${value}`, monotonicMs());
      sent++;
      await device.send(`{"v":${value}}\n`);
    }
  };
  await within(Promise.all(devices.map(send)), 2 * (endMs - monotonicMs()) + 30_000, "the sensors send");
  for (const until = monotonicMs() + lastMs; latencies.length < sent && monotonicMs() < until; )
    await sleep(50);
  const total = await load?.stop();
  await children.end(running.child);
  await hub.endAsync(true);
  await broker.stop();
  await Promise.all(devices.map((device) => device.stop()));
  const problems: string[] = [];
  if (latencies.length !== sent) problems.push(`${latencies.length} of ${sent} alarms arrived`);
  if (total && total.skipped > 0)
    problems.push(`the devices could not send ${total.skipped} readings in time`);
  if (problems.length === 0) rmSync(folder, { recursive: true, force: true });
  const told = percentiles(latencies);
  return {
    alarms: latencies.length,
    ...told,
    p99BeyondTwoSyncsMs: told.p99Ms - 2 * syncDelayMs,
    problems,
  };
}
