import { mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../../src/core/errors.ts";
import { startEmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { type ArrivedEntry, readArrived } from "../../kill/arrived.ts";
import { branch } from "../../support/random.ts";
import { HubLife } from "../hub-life.ts";
import { type KeptJournal, readKeptJournal } from "../kept-journal.ts";
import { NumberedDevice, type SentReading } from "../numbered-device.ts";
import type { PartOptions } from "../part.ts";
import { RunningDaemon } from "../running-daemon.ts";
import { daemonConfig } from "../shared-config.ts";
import { Shim } from "../shim/shim.ts";
import { TearableLink } from "../tearable-link.ts";
import { monotonicMs } from "../time.ts";
import { type DiskOperation, readOperations } from "./op-log.ts";

/** What the lives promise: the least that can be set, and the last one what a disk whose syncs take longer can keep. */
export const shortestLossMs = 20;
export const easyLossMs = 200;
const sizeMs = 500;
const latenessMs = 1_000;

/** One life of a daemon on a recorded disk. */
export interface Life {
  /** Files when it began, by path; all durable. */
  readonly base: ReadonlyMap<string, Buffer>;
  readonly operations: readonly DiskOperation[];
  /** How it ended: killed, or in order. */
  readonly end: "killed" | "stopped";
  /** When it was asked to end, CLOCK_MONOTONIC ms. */
  readonly askedMs: number;
  /** Its `store.maxLossMs`. */
  readonly maxLossMs: number;
}

export interface Gathered {
  readonly config: ReturnType<typeof daemonConfig>;
  readonly root: string;
  readonly lives: readonly Life[];
  readonly sent: readonly SentReading[];
  /** The journal when all was over, where it was kept. */
  readonly journal: KeptJournal | undefined;
  /** By `id revision`. */
  readonly arrived: ReadonlyMap<string, ArrivedEntry>;
  /** What was wrong before any cut. */
  readonly problems: readonly string[];
}

export interface GatherOptions extends Pick<PartOptions, "folder" | "random"> {
  readonly library: string;
  /** How many commits each life lasts. */
  readonly livesCommits: readonly number[];
  readonly journal: "kept" | "trimmed";
}

/** Runs a daemon some times on one store, under the shim, with a device that sends and a hub in trouble. */
export async function gather(options: GatherOptions): Promise<Gathered> {
  const { folder, random, library, livesCommits } = options;
  mkdirSync(folder, { recursive: true });
  const root = join(folder, "disk");
  const shim = new Shim(library, root, folder);
  const hub = await startEmbeddedHub({ messageLog: join(folder, "messages.jsonl") });
  const link = await TearableLink.to(hub);
  const device = new NumberedDevice({ random: branch(random), pauseMs: 2, sizeMs, ownTime: true });
  const config = daemonConfig({
    store: join(root, "store"),
    port: device.path,
    sizeMs,
    latenessMs,
    maxLossMs: shortestLossMs,
    ownTime: true,
    moreStore: { minCommitMs: 2, ...(options.journal === "trimmed" ? { replayBytes: 0 } : {}) },
  });
  const daemon = new RunningDaemon(folder, config, link.environment(hub, "gateway"));
  const lives: Life[] = [];
  const problems: string[] = [];
  const life = new HubLife(hub, link, random);
  device.start();
  try {
    for (const [index, commits] of livesCommits.entries()) {
      const base = filesBelow(root);
      const log = join(folder, `operations-${index}`);
      const maxLossMs = index === livesCommits.length - 1 ? easyLossMs : shortestLossMs;
      const promised = { HEADGATE__store__maxLossMs: String(maxLossMs) };
      daemon.start(undefined, { ...shim.environment(log), ...promised });
      const { store } = await daemon.untilStatus("it runs", () => true);
      const end = store.position + commits;
      await daemon.untilStatus("it stores readings", (status) => status.store.position >= end);
      const askedMs = monotonicMs();
      const kind = index % 2 === 0 ? "killed" : "stopped";
      if (kind === "killed") await daemon.kill();
      else await daemon.stop();
      lives.push({ base, operations: readOperations(readFileSync(log)), end: kind, askedMs, maxLossMs });
    }
  } catch (error) {
    // What was recorded until then is cut all the same: it says more than that a daemon does not come up.
    if (lives.length === 0) throw error;
    problems.push(`life ${lives.length} of a ${options.journal} journal: ${messageOf(error)}`);
  } finally {
    await daemon.kill();
    await device.stop();
    await life.stop();
    await link.stop();
    await hub.stop();
    shim.close();
  }
  const arrived = readArrived(join(folder, "messages.jsonl"));
  problems.push(...arrived.twofold.map((problem) => `before any cut: ${problem}`));
  const database = join(root, "store", "headgate.db");
  const journal = options.journal === "kept" ? readKeptJournal(database) : undefined;
  return { config, root, lives, sent: device.sent, journal, arrived: arrived.entries, problems };
}

/** By path. */
export function filesBelow(root: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const name of readdirSync(root, { recursive: true, encoding: "utf8" })) {
    const path = join(root, name);
    if (statSync(path).isFile()) files.set(path, readFileSync(path));
  }
  return files;
}
