import { execFile, fork } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { askStatus } from "../../../src/api/status-socket.ts";
import { startEmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import type { GatewayStatus } from "../../../src/gateway-status.ts";
import type { LedgerReport } from "../../../src/ledger/ledger-report.ts";
import { randomFrom } from "../../support/random.ts";
import { RunningDaemon } from "../running-daemon.ts";
import { monotonicMs, sleep } from "../time.ts";
import { type ArrivalCounts, Arrivals } from "./arrivals.ts";
import { startBroker } from "./broker.ts";
import { Children } from "./children.ts";
import { Outages } from "./outages.ts";
import type { PublisherOrder, PublisherProgress } from "./publisher.ts";
import { type KeptSample, Samples } from "./samples.ts";
import { memorySettingsOfTheImage, soakConfig, sourceName } from "./soak-config.ts";

export interface SoakOptions {
  readonly folder: string;
  readonly minutes: number;
  readonly rate: number;
  readonly seed: number;
  readonly maxBytes: number;
  /** What V8 holds is told as well, per thread. */
  readonly heap: boolean;
  readonly say: (line: string) => void;
}

export interface SoakRun {
  readonly broker: string;
  readonly seconds: number;
  readonly drainSeconds: number;
  readonly published: PublisherProgress;
  readonly arrived: ArrivalCounts;
  readonly outages: Readonly<Record<string, number>>;
  readonly ledger: LedgerReport;
  /** Of `headgate ledger`: of the running gateway, and of its store after its end. */
  readonly ledgerCodes: readonly number[];
  readonly largestStore: { readonly bytes: number; readonly atSeconds: number };
  readonly samples: readonly KeptSample[];
  readonly drained: boolean;
}

const devices = 10;
const drainDeadlineMs = 600_000;
const launcher = fileURLToPath(new URL("../../../bin/headgate.js", import.meta.url));
const heapReport = new URL("./heap-report.ts", import.meta.url).href;

/** Runs the gateway under load for as long as asked, lets everything run out, and tells what came of it. */
export async function runSoak(options: SoakOptions): Promise<SoakRun> {
  const { folder, minutes, rate, seed, maxBytes, heap, say } = options;
  const children = new Children();
  const store = join(folder, "store");
  mkdirSync(store, { recursive: true });
  const broker = await startBroker(folder, children);
  const hub = await startEmbeddedHub({ limits: { record: { maxMessages: 10, maxBytes: 1_000_000 } } });
  const arrivals = new Arrivals(hub);
  const image = memorySettingsOfTheImage();
  const daemon = new RunningDaemon(folder, soakConfig({ store, brokerPort: broker.port, maxBytes }), {
    ...hub.environment("gateway"),
    ...image,
    ...(heap
      ? {
          NODE_OPTIONS: `${image.NODE_OPTIONS ?? ""} --import ${heapReport}`,
          HEADGATE_HEAP_REPORT: join(folder, "heap.jsonl"),
        }
      : {}),
  });
  daemon.start();
  const status = async () => (await askStatus(store, 20_000)) as unknown as GatewayStatus;
  await daemon.untilStatus("it listens", (told) => {
    const { sources } = told as unknown as GatewayStatus;
    return sources[sourceName]?.state === "open";
  });

  let published: PublisherProgress = { sent: 0, acked: 0, skipped: 0 };
  const publisher = fork(fileURLToPath(new URL("./publisher.ts", import.meta.url)), [], {
    execArgv: ["--disable-warning=ExperimentalWarning"],
  });
  children.add(publisher);
  publisher.on("message", (progress) => {
    published = progress as PublisherProgress;
  });
  const publisherEnded = new Promise<number | null>((resolve) => publisher.once("exit", resolve));
  publisher.send({ port: broker.port, rate, devices } satisfies PublisherOrder);

  const outages = new Outages({
    hub,
    random: randomFrom(seed),
    longAfterMs: minutes * 60_000 * 0.25,
    longestMs: minutes * 60_000 * 0.5,
    isEvicted: () => (samples.last?.evicted ?? 0) > 0,
    say,
  });
  const samples: Samples = new Samples({
    file: join(folder, "samples.jsonl"),
    pid: daemon.pid,
    store,
    rest: async () => {
      const { store: told, intake } = await status();
      const book = told.books[sourceName];
      return {
        hub: outages.state,
        acked: published.acked,
        skipped: published.skipped,
        frames: book?.frames ?? 0,
        arrived: arrivals.counts.readings,
        evicted: book?.discards.evicted ?? 0,
        outboxEntries: told.outbox.entries,
        outboxBytes: told.outbox.bytes,
        messages: told.outbox.messages,
        position: told.position,
        commits: intake.commits,
        overshootMs: intake.overshootMs,
        queuedBytes: intake.queuedBytes,
        book,
      };
    },
  });
  const died = daemon.ended.then((code) => {
    throw new Error(`the daemon ended with code ${code}; see ${folder}/daemon.log`);
  });
  const started = monotonicMs();
  say(
    `${broker.kind} (${broker.pid}), the gateway (${daemon.pid}) and ${devices} devices run; see ${folder}`,
  );
  await Promise.race([sleep(minutes * 60_000), died, samples.failed]);

  publisher.send("stop");
  const publisherCode = await Promise.race([publisherEnded, died]);
  if (publisherCode !== 0) throw new Error(`the publisher ended with code ${publisherCode}`);
  await outages.stop();
  const seconds = Math.round((monotonicMs() - started) / 1_000);
  say(`${seconds} s: the devices are silent, the hub is well; everything runs out`);
  const drained = await Promise.race([drain(status, () => published.acked), died]);
  const drainSeconds = Math.round((monotonicMs() - started) / 1_000) - seconds;
  await samples.stop();
  died.catch(() => undefined);
  const whileRunning = await askLedgerCommand(folder);
  await daemon.stop();
  const afterwards = await askLedgerCommand(folder);
  await hub.stop();
  await broker.stop();
  return {
    broker: broker.kind,
    seconds,
    drainSeconds,
    published,
    arrived: arrivals.counts,
    outages: outages.counts,
    ledger: afterwards.report,
    ledgerCodes: [whileRunning.code, afterwards.code],
    largestStore: samples.largestStore,
    samples: samples.kept,
    drained,
  };
}

/** Waits until the gateway has all that the broker took, and the hub all that the gateway held. */
async function drain(status: () => Promise<GatewayStatus>, acked: () => number): Promise<boolean> {
  for (const end = monotonicMs() + drainDeadlineMs; monotonicMs() < end; await sleep(500)) {
    const { store } = await status();
    const book = store.books[sourceName];
    const isOut = store.openWindows === 0 && store.outbox.entries === 0 && book?.held === 0;
    if (isOut && book.frames >= acked()) return true;
  }
  return false;
}

async function askLedgerCommand(folder: string): Promise<{ code: number; report: LedgerReport }> {
  const args = [launcher, "ledger", "--json", "--config", join(folder, "headgate.json")];
  const { code, out } = await promisify(execFile)(process.execPath, args).then(
    ({ stdout }) => ({ code: 0, out: stdout }),
    (error: { code?: number; stdout?: string }) => ({ code: error.code ?? -1, out: error.stdout ?? "" }),
  );
  return { code, report: JSON.parse(out) as LedgerReport };
}
