/**
 * The soak: readings at a steady rate over MQTT at QoS 1 for a long time, with hub outages that fill the store.
 *
 *     npm run test:soak -- [--minutes 30] [--rate 5000] [--devices 50] [--seed N] [--samples FILE] [--json]
 *
 * At the end everything drains. What was sent, what the books say and what the hub got must be the same number;
 * the files must have stayed within `store.maxBytes`; memory must not grow. Exit code 0 when all of that holds.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type EmbeddedHub, startEmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { type Balance, imbalances } from "../../../src/ledger/ledger.ts";
import type { GapEntryBody, WindowEntryBody } from "../../../src/outbox/entry-schema.ts";
import { randomFrom } from "../../support/random.ts";
import { until } from "../../support/until.ts";
import { RunningDaemon } from "../running-daemon.ts";
import { sleep } from "../time.ts";
import { append, median, type Sample, sample, slopePerHour } from "./samples.ts";

const maxBytes = 6_000_000;
const sampleMs = 10_000;
const warmUpSeconds = 600;
const maxGrowthPerHour = 5_000_000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    rate: { type: "string", default: "5000" },
    devices: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    samples: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const say = (line: string) => process.stderr.write(`${line}\n`);

interface Told {
  readonly port: number;
  readonly sent: number;
  readonly answered: number;
}

class Field {
  readonly #child: ChildProcess;
  told: Told = { port: 0, sent: 0, answered: 0 };

  constructor(rate: string, devices: string) {
    const file = fileURLToPath(new URL("soak-field.ts", import.meta.url));
    const execArgv = ["--disable-warning=ExperimentalWarning"];
    this.#child = fork(file, [rate, devices], { execArgv });
    this.#child.on("message", (told: Told) => {
      this.told = told;
    });
  }

  order(order: "start" | "stop"): void {
    this.#child.send(order);
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }
}

/** Adds up what the hub got, each `(id, revision)` once, and forgets the rest. */
class Received {
  readonly #seen = new Set<string>();
  #messages = 0;
  readings = 0;
  evicted = 0;
  thinned = 0;
  repeats = 0;

  take(hub: EmbeddedHub): void {
    for (; this.#messages < hub.messages.length; this.#messages++) {
      const text = hub.messages[this.#messages]?.body.toString("utf8") ?? "[]";
      for (const body of JSON.parse(text) as (WindowEntryBody | GapEntryBody)[]) this.#add(body);
    }
  }

  #add(body: WindowEntryBody | GapEntryBody): void {
    const key = `${body.id} ${body.revision}`;
    if (this.#seen.has(key)) {
      this.repeats++;
      return;
    }
    this.#seen.add(key);
    if (body.kind === "gap") this.evicted += body.reason === "evicted" ? Number(body.count) : 0;
    else {
      this.readings += body.count;
      if (body.thinned !== undefined) this.thinned++;
    }
  }
}

/** A hub that works for a while, and then is away, slow or late for a while; now and then long enough to fill a store. */
async function hubLife(hub: EmbeddedHub, random: () => number, isOver: () => boolean): Promise<number> {
  let outages = 0;
  while (!isOver()) {
    await sleepUnless(isOver, 10_000 + random() * 40_000);
    const kind = random();
    if (kind < 0.25) hub.setFault("delayPuback", { ms: 300, forMs: 15_000 });
    else if (kind < 0.4) hub.setFault("withholdPuback", { ms: 2_000, next: 3 });
    else {
      outages++;
      await hub.stopListening();
      await sleepUnless(isOver, kind < 0.8 ? 5_000 + random() * 25_000 : 60_000 + random() * 90_000);
      await hub.startListening();
    }
  }
  hub.clearFaults();
  return outages;
}

async function sleepUnless(isOver: () => boolean, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!isOver() && performance.now() < endMs) await sleep(200);
}

function configOf(folder: string, port: number) {
  return {
    gateway: { name: "soak" },
    sources: {
      field: {
        type: "mqtt",
        url: `mqtt://127.0.0.1:${port}`,
        topic: "field/+/data",
        device: { topicLevel: 1 },
        decode: { format: "json", ignore: ["seq", "note"] },
      },
    },
    windows: { second: { sizeMs: 1_000 } },
    publish: { maxDelayMs: 1_000 },
    store: { path: join(folder, "store"), maxLossMs: 1_000, maxBytes },
    clock: { maxHoldMs: 0 },
    api: { state: "off" },
    hub: { type: "edge", sendTimeoutMs: 5_000 },
  };
}

async function main(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "headgate-soak-"));
  mkdirSync(join(folder, "store"));
  const file = values.samples ?? join(folder, "samples.jsonl");
  const hub = await startEmbeddedHub();
  const field = new Field(values.rate, values.devices);
  await until("the broker listens", () => field.told.port > 0);
  const daemon = new RunningDaemon(folder, configOf(folder, field.told.port), hub.environment("gateway"));
  daemon.start();
  await daemon.untilStatus("it reads", (status) => sourceState(status) === "open");

  const samples: Sample[] = [];
  const received = new Received();
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1_000;
  const endSeconds = Number(values.minutes) * 60;
  let isOver = false;
  const life = hubLife(hub, randomFrom(Number(values.seed)), () => isOver);
  field.order("start");
  while (seconds() < endSeconds) {
    await sleep(sampleMs);
    received.take(hub);
    const now = sample(daemon.pid, daemon.store, seconds());
    samples.push(now);
    const status = await daemon.status();
    append(file, { ...now, ...field.told, books: status?.store.books.field, outbox: status?.store.outbox });
  }
  isOver = true;
  field.order("stop");
  const outages = await life;
  await until("the broker has answered everything", () => field.told.answered === field.told.sent, 120_000);
  const { sent } = field.told;
  const last = await daemon.untilStatus("everything is out", ({ store }) => {
    return store.openWindows === 0 && store.outbox.entries === 0 && ingested(store.books) >= sent;
  });
  received.take(hub);
  await daemon.stop();
  field.end();
  await hub.stop();

  const book = last.store.books.field as Balance;
  const steady = samples.filter(({ seconds: at }) => at >= Math.min(warmUpSeconds, endSeconds / 3));
  const slope = slopePerHour(steady);
  // What a start warms up is no growth.
  const isLong = endSeconds >= 2 * warmUpSeconds;
  const third = Math.floor(steady.length / 3);
  const megabytes = (bytes: number) => Math.round(bytes / 1e5) / 10;
  const result = {
    minutes: Number(values.minutes),
    sent,
    perSecond: Math.round(sent / endSeconds),
    ingested: book.ingested,
    published: book.published,
    evicted: book.discards.evicted ?? 0,
    outages,
    hubGot: {
      readings: received.readings,
      evicted: received.evicted,
      thinned: received.thinned,
      repeats: received.repeats,
    },
    largestStoreMB: megabytes(Math.max(...samples.map(({ storeBytes }) => storeBytes))),
    maxBytesMB: megabytes(maxBytes),
    residentMB: {
      firstThird: megabytes(median(steady.slice(0, third).map((one) => one.residentBytes))),
      lastThird: megabytes(median(steady.slice(-third).map((one) => one.residentBytes))),
      growthPerHour: slope && megabytes(slope.perHour),
      standardError: slope && megabytes(slope.error),
    },
    cpuPercent: Math.round(((samples.at(-1)?.cpuSeconds ?? 0) / (samples.at(-1)?.seconds ?? 1)) * 1_000) / 10,
    writtenPerReceivedReading: Math.round((samples.at(-1)?.writtenBytes ?? 0) / sent),
  };
  const problems = [
    ...imbalances(last.store.books),
    ...(book.ingested === sent ? [] : [`${sent} readings were sent and answered, ${book.ingested} ingested`]),
    ...(received.readings === book.published
      ? []
      : [`${book.published} readings were published, and the hub got ${received.readings}`]),
    ...(received.evicted === result.evicted
      ? []
      : [`${result.evicted} readings were evicted, and the hub was told of ${received.evicted}`]),
    ...(result.largestStoreMB <= megabytes(maxBytes) * 1.1 ? [] : ["the store grew beyond its bound"]),
    ...(slope && isLong && slope.perHour - 2 * slope.error > maxGrowthPerHour ? ["memory grows"] : []),
  ];
  process.stdout.write(
    `${JSON.stringify({ ok: problems.length === 0, ...result, problems }, null, values.json ? 0 : 2)}\n`,
  );
  if (problems.length === 0) rmSync(folder, { recursive: true, force: true });
  else say(`kept ${folder}`);
  return problems.length === 0 ? 0 : 1;
}

const ingested = (books: Readonly<Record<string, Balance>>) => books.field?.ingested ?? 0;
const sourceState = (status: object) =>
  (status as { sources?: Record<string, { state: string }> }).sources?.field?.state;

process.exit(await main());
