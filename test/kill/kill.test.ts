/**
 * The daemon is killed over and over while a device sends numbered readings and the hub comes and goes.
 * What arrived is compared with what an oracle recomputes from the committed bytes.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { askStatus } from "../../src/api/status-socket.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { randomFrom } from "../support/random.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { until } from "../support/until.ts";
import { alarmProblems, compare, compareReadings, readArrived } from "./arrived.ts";
import { readJournal, expect as recompute } from "./oracle.ts";

const launcher = fileURLToPath(new URL("../../bin/headgate.js", import.meta.url));
const sizeMs = 1_000;
const latenessMs = 2_000;
/** Above it a temperature is bad, where there are alarms; the device sends 0 to 70. */
const maxGood = 50;

let folder: string;
let hub: EmbeddedHub;
let device: SerialDevice;
let daemon: ChildProcess | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-kill-"));
  hub = await startEmbeddedHub({ messageLog: join(folder, "messages.jsonl") });
  device = new SerialDevice();
  device.line.plug();
});

afterEach(async () => {
  daemon?.kill("SIGKILL");
  await device.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const store = () => join(folder, "store");

function start(): ChildProcess {
  const log = openSync(join(folder, "daemon.log"), "a");
  const child = spawn(process.execPath, [launcher, "run", "--config", join(folder, "headgate.json")], {
    env: { ...process.env, ...hub.environment("gateway") },
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  daemon = child;
  return child;
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once("exit", (code) => resolve(code)));
}

interface Status {
  readonly store: {
    readonly openWindows: number;
    readonly outbox: { readonly entries: number };
    readonly books: Readonly<Record<string, Balance>>;
  };
}
interface Balance {
  readonly held: number;
}

/** What the daemon says, or undefined while it does not answer. */
async function status(): Promise<Status | undefined> {
  try {
    return (await askStatus(store(), 5_000)) as unknown as Status;
  } catch {
    return undefined;
  }
}

function configure(tellsAll: boolean): void {
  const config = {
    gateway: { name: "box" },
    sources: {
      oven: {
        type: "serial",
        path: device.path,
        framing: { kind: "lines", first: "keep" },
        decode: { format: "json", time: { field: "t" }, ignore: ["seq"] },
        device: { field: "id" },
        idleMs: 3_600_000,
      },
    },
    windows: { second: { sizeMs, allowedLatenessMs: latenessMs } },
    publish: { maxDelayMs: 50, maxMessageBytes: 2_000, readings: tellsAll ? "all" : "none" },
    validate: { v: { channels: { temperature: tellsAll ? { max: maxGood } : {} } } },
    alarms: { minSpacingMs: 200 },
    // The device has its own times; how good the clock of the test machine is must not matter.
    clock: { maxHoldMs: 0 },
    hub: { type: "edge", sendTimeoutMs: 1_000, closeTimeoutMs: 200 },
    // Small enough that snapshots and trims happen between the kills; the journal below them is kept for the oracle.
    store: { path: store(), maxLossMs: 40, snapshotEvery: 100, replayBytes: 100_000_000 },
  };
  writeFileSync(join(folder, "headgate.json"), JSON.stringify(config));
}

test.each([
  { kills: 12, what: "windows", tellsAll: false },
  { kills: 8, what: "windows, readings and alarms", tellsAll: true },
])(
  "$kills kills at random moments: every committed entry of $what arrives, equal, and repeats are repeats",
  async ({ kills, tellsAll }) => {
    const seed = Number(process.env.HEADGATE_TEST_SEED ?? Date.now() % 1_000_000);
    const random = randomFrom(seed);
    configure(tellsAll);

    // The device sends all the time, about 100 readings a second of its own time each 20 ms, some late, some garbled.
    let deviceMs = Math.floor(Date.now() / sizeMs) * sizeMs - 7_200_000;
    let seq = 0;
    let sending = true;
    const sent = (async () => {
      while (sending) {
        deviceMs += 20 + Math.floor(random() * 60);
        const lateMs = random() < 0.05 ? Math.floor(random() * 5_000) : 0;
        const reading = { id: random() < 0.5 ? "oven-1" : "oven-2", t: deviceMs - lateMs, seq: seq++ };
        const text = JSON.stringify({ ...reading, temperature: Math.round(random() * 7_000) / 100 });
        await device.send(`${random() < 0.02 ? text.slice(0, 20) : text}\n`);
        await sleep(5);
      }
    })();
    const hubLife = (async () => {
      while (sending) {
        await sleep(300 + random() * 1_700);
        if (random() < 0.5) hub.setFault("acceptThenLosePuback", { next: 1 });
        await hub.stopListening();
        await sleep(random() * 2_500);
        await hub.startListening();
      }
    })();

    let position = 0;
    const lines: string[] = [];
    const collect = () => {
      // Killed before its first commit: there is nothing to read yet.
      if (!existsSync(join(store(), "headgate.db"))) return;
      const more = readJournal(join(store(), "headgate.db"), position);
      lines.push(...more.lines);
      position = more.position;
    };

    for (let kill = 0; kill < kills; kill++) {
      const child = start();
      const exit = ended(child);
      // Half of the kills hit a start, half a daemon that reads and sends; the first one, however slow the machine is.
      if (kill === 0 || random() < 0.5)
        await until("it runs", async () => (await status()) !== undefined, 60_000);
      await sleep(kill === 0 ? 2_000 : random() * 2_000);
      child.kill("SIGKILL");
      expect(await exit, "it was killed, and did not end by itself").toBeNull();
      collect();
    }

    // The last run is left alone until everything is out, and stopped in order.
    const child = start();
    const exit = ended(child);
    await sleep(3_000);
    sending = false;
    await Promise.all([sent, hubLife]);
    await hub.startListening();
    // Closes every window, and is itself the only reading that stays behind.
    await device.send(
      `${JSON.stringify({ id: "end", t: deviceMs + 3_600_000, seq: seq++, temperature: 1 })}\n`,
    );
    await until(
      "everything is out",
      async () => {
        const now = await status();
        const isOut = now?.store.outbox.entries === 0 && now.store.openWindows === 1;
        return isOut && now.store.books.oven?.held === (tellsAll ? 0 : 1);
      },
      60_000,
    );
    // The last change of a channel is told when the spacing is over.
    await sleep(1_000);
    const books = (await status())?.store.books;
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
    collect();

    const expected = recompute(lines, sizeMs, latenessMs, tellsAll ? maxGood : undefined);
    expect(books?.oven).toMatchObject({
      frames: expected.frames,
      decoded: expected.readings,
      ingested: expected.readings,
      ...(tellsAll
        ? { discards: {}, published: expected.readings, held: 0 }
        : { discards: { late: expected.late }, published: expected.readings - expected.late - 1, held: 1 }),
    });

    const arrived = readArrived(join(folder, "messages.jsonl"));
    const endKey = [...expected.windows.keys()].find((key) => key.startsWith("end "));
    expected.windows.delete(endKey ?? "");
    expect(compare(expected, arrived)).toEqual([]);
    const kinds = [...arrived.entries.values()].map(({ kind }) => kind);
    expect(kinds.includes("alarm")).toBe(tellsAll);
    expect(kinds.includes("reading")).toBe(tellsAll);
    if (tellsAll) {
      expect(compareReadings(lines, arrived, maxGood)).toEqual([]);
      expect(alarmProblems(lines, arrived, maxGood)).toEqual([]);
    }
    const windows = [...arrived.final.values()];
    const revised = windows.filter((entry) => entry.revision > 0).length;
    process.stdout.write(
      `seed ${seed}: ${kills} kills, ${expected.readings} readings committed of ${seq} sent, ${expected.late} late, ` +
        `${expected.garbled} garbled, ${windows.length} windows, ${revised} revised, ${arrived.repeats} entries repeated\n`,
    );
    expect(expected.readings).toBeGreaterThan(kills);
  },
  240_000,
);
