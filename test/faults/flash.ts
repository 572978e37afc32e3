/**
 * What a quiet gateway writes: ten serial sensors, 20 readings/s together, windows of a minute, a hub that is well, with
 * `store.maxLossMs` of 5 and of 10 seconds side by side. Counts what the kernel says was written for the process
 * (`write_bytes` of /proc/PID/io: pages of 4 KiB, without what the file system adds), and which tables' pages the
 * commits wrote.
 *
 *     npm run test:flash -- [--minutes 12] [--json]
 *
 * Snapshots come every 10,000 readings (500 s), checkpoints of the log every 16 MB: a shorter run has none of them.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { askStatus } from "../../src/api/status-socket.ts";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import type { GatewayStatus } from "../../src/gateway-status.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { readWalPages } from "./flash/wal-pages.ts";
import { RunningDaemon } from "./running-daemon.ts";
import { figuresOf } from "./soak/process-figures.ts";
import { monotonicMs, sleep } from "./time.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "12" }, json: { type: "boolean", default: false } },
});

const say = (line: string) => {
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
};

const sensors = 10;
const perSecond = 2;

async function measure(root: string, maxLossMs: number, minutes: number) {
  const folder = join(root, `loss-${maxLossMs}`);
  const store = join(folder, "store");
  mkdirSync(store, { recursive: true });
  const hub = await startEmbeddedHub();
  const devices = Array.from({ length: sensors }, () => new SerialDevice());
  const sources = devices.map(({ path }, i) => [
    `sensor-${i}`,
    {
      type: "serial",
      path,
      framing: { kind: "lines", first: "keep" },
      decode: { format: "json" },
      device: `sensor-${i}`,
    },
  ]);
  const daemon = new RunningDaemon(
    folder,
    {
      gateway: { name: "box" },
      sources: Object.fromEntries(sources),
      windows: { minute: { sizeMs: 60_000 } },
      clock: { maxHoldMs: 0 },
      hub: { type: "edge" },
      api: { state: "off" },
      store: { path: store, maxLossMs },
    } as { store: { path: string } },
    hub.environment("gateway"),
  );
  daemon.start();
  let going = true;
  const sending = devices.map(async (device, i) => {
    device.line.plug();
    for (let seq = i, dueMs = monotonicMs(); going; seq++) {
      const wave = Math.sin(seq / 100 + i);
      const values = { temperature: round(21 + 3 * wave), humidity: round(45 + 10 * wave) };
      await device.send(`${JSON.stringify(values)}\n`);
      dueMs += 1_000 / perSecond;
      await sleep(dueMs - monotonicMs());
    }
  });
  const look = async () => {
    const { intake, store: told, publisher } = (await askStatus(store, 20_000)) as unknown as GatewayStatus;
    const frames = Object.values(told.books).reduce((sum, book) => sum + book.frames, 0);
    return {
      atMs: monotonicMs(),
      ...figuresOf(daemon.pid),
      commits: intake.commits,
      frames,
      sent: publisher.sent,
    };
  };
  await daemon.untilStatus("readings come in", (told) => told.store.position > 5);
  const first = await look();
  await sleep(minutes * 60_000);
  const last = await look();
  const wal = readWalPages(store);
  const ledgerBytes = statSync(join(store, "headgate.db.ledger"), { throwIfNoEntry: false })?.size ?? 0;
  going = false;
  await Promise.all(sending);
  await daemon.stop();
  await Promise.all(devices.map((device) => device.stop()));
  await hub.stop();
  const seconds = (last.atMs - first.atMs) / 1_000;
  const commits = last.commits - first.commits;
  const written = last.writtenBytes - first.writtenBytes;
  return {
    maxLossMs,
    seconds: Math.round(seconds),
    readingsPerSecond: round((last.frames - first.frames) / seconds),
    commits,
    commitsPerMinute: round((commits / seconds) * 60),
    messages: last.sent - first.sent,
    written,
    bytesPerCommit: Math.round(written / commits),
    megabytesPerDay: round((written / seconds) * 0.0864),
    ledgerBytes,
    wal,
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

async function main(root: string): Promise<number> {
  const minutes = Number(values.minutes);
  const results = await Promise.all([5_000, 10_000].map((maxLossMs) => measure(root, maxLossMs, minutes)));
  for (const { wal, ...figures } of results) {
    for (const [name, figure] of Object.entries(figures)) say(`  ${name}: ${figure}`);
    const tables = Object.entries(wal.byTable).sort(([, a], [, b]) => b - a);
    say(`  pages per commit: ${round(wal.pages / wal.commits)} (${wal.commits} commits in the log)`);
    for (const [table, pages] of tables) say(`    ${table}: ${round(pages / wal.commits)}`);
    say(`  a checkpoint writes ${wal.distinct} pages for ${wal.pages} in the log`);
  }
  if (values.json) process.stdout.write(`${JSON.stringify(results)}\n`);
  return 0;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
const root = realpathSync(mkdtempSync(join(tmpdir().length > 40 ? "/tmp" : tmpdir(), "headgate-flash-")));
const code = await main(root).catch((error) => {
  process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
  return 1;
});
if (code === 0) rmSync(root, { recursive: true, force: true });
process.exit(code);
