import { closeSync, fdatasyncSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import type { Children } from "../test/faults/soak/children.ts";
import { monotonicMs, sleep } from "../test/faults/time.ts";
import type { Figures } from "./cell.ts";
import { Answering, Devices } from "./devices.ts";
import { workFolder } from "./load-run.ts";
import { startMosquitto } from "./mosquitto.ts";
import type { RawProgress } from "./processes/raw-subscriber.ts";
import { inFilter } from "./reading.ts";
import { type Percentiles, percentiles } from "./statistics.ts";

/** What the machine gives at most, whoever asks. */
export interface Ceilings {
  /** 4 KiB appended and synced, one after the other. */
  readonly syncsPerSecond: number;
  /** SQLite, write-ahead log, every transaction synced, 100 rows of 200 bytes each. */
  readonly rowsPerSecond: number;
  /** QoS 1 through Mosquitto to a Node process that only answers. */
  readonly mqttPerSecond: number;
  /** Of that process. */
  readonly mqttCpuSecondsPerMillion: number;
  /** A folder in memory syncs nothing, and no figure of the disk says anything. */
  readonly isInMemory: boolean;
  readonly problems: readonly string[];
}

/** `TMPFS_MAGIC` (statfs(2)). */
const tmpfs = 0x01021994;

export async function measureCeilings(ms: number, children: Children): Promise<Ceilings> {
  const folder = workFolder();
  try {
    const isInMemory = statfsSync(folder).type === tmpfs;
    return {
      syncsPerSecond: syncRate(folder, ms),
      rowsPerSecond: rowRate(folder, ms),
      ...(await mqttRate(folder, ms, children)),
      isInMemory,
      problems: isInMemory ? [`${folder} is in memory: set TMPDIR to a folder on a disk`] : [],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the disk takes for a sync now and then: some pages appended ten times a second, and nothing else. */
export async function measureSyncs(ms: number): Promise<Figures & Percentiles> {
  const folder = workFolder();
  const file = openSync(join(folder, "synced"), "w");
  const pages = Buffer.alloc(16_384, 1);
  const times: number[] = [];
  for (const untilMs = monotonicMs() + ms; monotonicMs() < untilMs; await sleep(100)) {
    const beganMs = monotonicMs();
    writeSync(file, pages);
    fdatasyncSync(file);
    times.push(monotonicMs() - beganMs);
  }
  closeSync(file);
  rmSync(folder, { recursive: true, force: true });
  return { ...percentiles(times), problems: [] };
}

function syncRate(folder: string, ms: number): number {
  const file = openSync(join(folder, "synced"), "w");
  const page = Buffer.alloc(4_096, 1);
  const rate = perSecond(ms, () => {
    writeSync(file, page);
    fdatasyncSync(file);
    return 1;
  });
  closeSync(file);
  return rate;
}

function rowRate(folder: string, ms: number): number {
  const database = new Database(join(folder, "rows.db"));
  database.exec(
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (body BLOB NOT NULL)",
  );
  const insert = database.prepare("INSERT INTO rows VALUES (?)");
  const body = Buffer.alloc(200, 1);
  const hundred = database.transaction(() => {
    for (let i = 0; i < 100; i++) insert.run(body);
  });
  const rate = perSecond(ms, () => {
    hundred();
    return 100;
  });
  database.close();
  return rate;
}

function perSecond(ms: number, step: () => number): number {
  const beganMs = monotonicMs();
  let count = 0;
  while (monotonicMs() - beganMs < ms) count += step();
  return (count / (monotonicMs() - beganMs)) * 1_000;
}

async function mqttRate(folder: string, ms: number, children: Children) {
  const broker = await startMosquitto(folder, children);
  const raw = new Answering<RawProgress>("raw-subscriber", [String(broker.port), inFilter], children);
  await broker.subscribed(inFilter);
  const devices = new Devices(
    { target: { way: "mqtt", port: broker.port, qos: 1 }, rate: 0, devices: 10 },
    children,
  );
  await sleep(500);
  const beganMs = monotonicMs();
  const first = await raw.ask("tell");
  await sleep(ms);
  const last = await raw.ask("tell");
  const seconds = (monotonicMs() - beganMs) / 1_000;
  await devices.stop();
  raw.end();
  await broker.stop();
  const received = last.received - first.received;
  return {
    mqttPerSecond: received / seconds,
    mqttCpuSecondsPerMillion: ((last.cpuMs - first.cpuMs) / 1_000 / received) * 1e6,
  };
}
