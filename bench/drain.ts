import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import { askStatus } from "../src/api/status-socket.ts";
import type { GatewayStatus } from "../src/gateway-status.ts";
import { figuresOf } from "../test/faults/soak/process-figures.ts";
import { freePort } from "../test/faults/start-time/measured-start.ts";
import { monotonicMs, sleep } from "../test/faults/time.ts";
import type { Figures, Setting } from "./cell.ts";
import { Devices } from "./devices.ts";
import { workFolder } from "./load-run.ts";
import { startMosquitto } from "./mosquitto.ts";
import { headgate } from "./programs/headgate.ts";
import { inFilter, outPrefix } from "./reading.ts";
import { quantile } from "./statistics.ts";

export interface DrainFigures extends Figures {
  readonly backlog: number;
  /** From the first message behind the outage until the backlog is at the hub; 0 without one. */
  readonly drainSeconds: number;
  /** What the gateway computed meanwhile, for what came in then as well. */
  readonly drainCpuSeconds: number;
  /** From a reading's receipt until the hub has it, of those that came in while the backlog went out. */
  readonly liveP50Ms: number;
  readonly liveP99Ms: number;
}

const liveRate = 1_000;
const fillRate = 20_000;

interface Entry {
  readonly time: string;
}

/** The hub is away until so many readings wait; then it comes back, while a thousand a second go on coming in. */
export async function measureDrain(backlog: number, setting: Setting): Promise<DrainFigures> {
  const { children, quick } = setting;
  const folder = workFolder();
  const place = join(folder, "program");
  mkdirSync(place);
  const broker = await startMosquitto(folder, children);
  const target = { way: "mqtt", port: broker.port, qos: 1 } as const;
  const hubPort = await freePort();
  const program = headgate({
    from: setting.from,
    windows: {},
    publish: {
      maxDelayMs: 0,
      readings: "all",
      backfill: { messagesPerSecond: 1_000, bytesPerSecond: 100_000_000 },
    },
    hub: {
      type: "mqtt",
      url: `mqtt://127.0.0.1:${hubPort}`,
      topic: `${outPrefix}/{output}`,
    },
  });
  const running = program.start({ folder: place, url: broker.url, children });
  await broker.subscribed(inFilter);
  if (backlog > 0) {
    const filling = new Devices({ target, rate: fillRate, devices: 10 }, children);
    while ((await filling.progress()).acked < backlog) await sleep(500);
    const { acked } = await filling.stop();
    // The broker has what the gateway could not take as fast.
    const ingested = async () =>
      ((await askStatus(join(place, "store"), 5_000)) as unknown as GatewayStatus).store.books.plant
        ?.ingested ?? 0;
    for (const until = monotonicMs() + 120_000; (await ingested()) < acked && monotonicMs() < until; )
      await sleep(500);
    // What is older than this is backlog (`publish.backfill.afterMs`).
    await sleep(31_000);
  }
  // What came in before is the backlog, also the few messages that were composed before they grew old.
  const returnMs = Date.now();
  const hubFolder = join(folder, "hub");
  mkdirSync(hubFolder);
  const hubBroker = await startMosquitto(hubFolder, children, hubPort);
  const hub = mqtt.connect(hubBroker.url, { protocolVersion: 4, clientId: "hub", reconnectPeriod: 0 });
  const live: number[] = [];
  let drained = 0;
  let firstMs: number | undefined;
  let lastMs = 0;
  hub.on("message", (_topic, payload) => {
    const wallMs = Date.now();
    firstMs ??= monotonicMs();
    for (const { time } of JSON.parse(payload.toString("utf8")) as Entry[]) {
      const receivedMs = Date.parse(time);
      if (receivedMs < returnMs) {
        drained++;
        lastMs = monotonicMs();
      } else if (backlog === 0 || drained < backlog) live.push(wallMs - receivedMs);
    }
  });
  await hub.subscribeAsync(`${outPrefix}/#`, { qos: 1 });
  const giveUpMs = monotonicMs() + 1_200_000;
  // How long it takes until the gateway tries to connect again is not asked here.
  while (backlog > 0 && firstMs === undefined && monotonicMs() < giveUpMs) await sleep(10);
  const devices = new Devices({ target, rate: liveRate, devices: 10 }, children);
  // What is live is only of interest while the backlog goes out.
  const endMs = monotonicMs() + (backlog > 0 ? 0 : quick ? 20_000 : 30_000);
  const cpuMs = () => figuresOf(running.child.pid ?? 0).cpuMs;
  const beforeMs = cpuMs();
  while (drained < backlog && monotonicMs() < giveUpMs) await sleep(50);
  const drainCpuMs = cpuMs() - beforeMs;
  while (monotonicMs() < endMs) await sleep(200);
  await devices.stop();
  await children.end(running.child);
  await hub.endAsync(true);
  await hubBroker.stop();
  await broker.stop();
  const problems = drained < backlog ? [`${drained} of ${backlog} readings of the backlog arrived`] : [];
  if (problems.length === 0) rmSync(folder, { recursive: true, force: true });
  return {
    backlog: drained,
    drainSeconds: firstMs === undefined || drained === 0 ? 0 : (lastMs - firstMs) / 1_000,
    drainCpuSeconds: backlog === 0 ? 0 : drainCpuMs / 1_000,
    liveP50Ms: quantile(live, 0.5),
    liveP99Ms: quantile(live, 0.99),
    problems,
  };
}
