import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { within } from "../test/faults/running-daemon.ts";
import { figuresOf } from "../test/faults/soak/process-figures.ts";
import { monotonicMs, sleep } from "../test/faults/time.ts";
import { SerialDevice } from "../test/support/serial-device.ts";
import type { Figures, Setting } from "./cell.ts";
import { workFolder } from "./load-run.ts";
import { startMosquitto } from "./mosquitto.ts";
import { headgate } from "./programs/headgate.ts";
import { type Place, type Program, startNode } from "./programs/program.ts";
import { inFilter } from "./reading.ts";
import { resultsFolder } from "./results.ts";
import { median } from "./statistics.ts";

export interface Start extends Figures {
  /** From the start of the process until it is subscribed at the broker: from then on it gets readings. */
  readonly startMs: number;
  /** What the process computed for it, in steps of 10 ms. */
  readonly startCpuMs: number;
  readonly startRssBytes: number;
}

/** Starts a program once, on nothing. */
export async function measureStart(program: Program, { children }: Setting): Promise<Start> {
  await program.prepare();
  const folder = workFolder();
  const broker = await startMosquitto(folder, children);
  const place = join(folder, "program");
  mkdirSync(place);
  const beganMs = monotonicMs();
  const { child } = program.start({ folder: place, url: broker.url, children });
  const readyMs = await within(broker.subscribed(inFilter), `${program.name} subscribes; see ${place}`);
  const { cpuMs, rssBytes } = figuresOf(child.pid ?? 0);
  await children.end(child);
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
  return { startMs: readyMs - beganMs, startCpuMs: cpuMs, startRssBytes: rssBytes, problems: [] };
}

/** The packages that the gateway loads for the main job, and what it does with them to be ready: nothing. */
const packages = ["commander", "zod", "pino", "koffi", "better-sqlite3"];

/** A program that imports what the gateway imports, and subscribes. */
export const bareImport: Program = {
  name: "bareImport",
  async prepare() {
    mkdirSync(join(resultsFolder, "bare"), { recursive: true });
    const imports = packages.map((name) => `import "${name}";`).join("\n");
    const source = `${imports}
import mqtt from "mqtt";
const client = mqtt.connect(process.argv[2], { protocolVersion: 4, clientId: "imports" });
client.on("connect", () => client.subscribe(process.argv[3], { qos: 1 }));
`;
    writeFileSync(join(resultsFolder, "bare/bare-import.js"), source);
  },
  start: (place) => ({
    child: startNode(place, [join(resultsFolder, "bare/bare-import.js"), place.url, inFilter]),
  }),
};

export interface Idle extends Figures {
  readonly rssBytes: number;
  readonly cpuShare: number;
}

const sensors = 20;

/** The gateway with twenty sensors on serial lines, one reading a second each, and a hub over MQTT or the SDK. */
export async function measureIdle(
  hubType: "mqtt" | "sdk",
  { quick, from, children }: Setting,
): Promise<Idle> {
  const folder = workFolder();
  const broker = await startMosquitto(folder, children);
  const hub = hubType === "sdk" ? await startEmbeddedHub() : undefined;
  const devices = Array.from({ length: sensors }, () => new SerialDevice());
  for (const { line } of devices) line.plug();
  const source = (path: string, i: number) => ({
    type: "serial",
    path,
    framing: { kind: "lines", first: "keep" },
    decode: { format: "json" },
    device: `sensor-${i}`,
  });
  const program = headgate({
    from,
    sources: Object.fromEntries(devices.map(({ path }, i) => [`sensor-${i}`, source(path, i)])),
    windows: { minute: { sizeMs: 60_000 } },
    publish: {},
    ...(hub ? { hub: { type: "edge" }, environment: hub.environment("gateway") } : {}),
  });
  const place: Place = { folder: join(folder, "program"), url: broker.url, children };
  mkdirSync(place.folder);
  const { child, counters } = program.start(place);
  let going = true;
  const sending = devices.map(async (device, i) => {
    for (let n = 0; going; n++) {
      await device.send(`{"temperature":${20 + (n % 7)},"humidity":${40 + i}}\n`);
      await sleep(1_000);
    }
  });
  await sleep(quick ? 8_000 : 20_000);
  const first = figuresOf(child.pid ?? 0);
  const before = await counters?.();
  const rss: number[] = [];
  const seconds = quick ? 8 : 20;
  for (let i = 0; i < seconds; i++) {
    rss.push(figuresOf(child.pid ?? 0).rssBytes);
    await sleep(1_000);
  }
  const cpuMs = figuresOf(child.pid ?? 0).cpuMs - first.cpuMs;
  const after = await counters?.();
  going = false;
  await Promise.all(sending);
  await children.end(child);
  await Promise.all(devices.map((device) => device.stop()));
  await hub?.stop();
  await broker.stop();
  const frames = (after?.frames ?? 0) - (before?.frames ?? 0);
  const isFed = frames >= (sensors * seconds) / 2;
  if (isFed) rmSync(folder, { recursive: true, force: true });
  return {
    rssBytes: median(rss),
    cpuShare: cpuMs / 1_000 / seconds,
    problems: isFed ? [] : [`only ${frames} readings came in; see ${folder}`],
  };
}
