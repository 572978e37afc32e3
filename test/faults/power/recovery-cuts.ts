/**
 * Power cuts while a store is put right: after a damage that has to be salvaged, or after an earlier power cut.
 * Whenever the power goes, what is found in the end must be what is found without that.
 */
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkConfig } from "../../../src/config/check.ts";
import { messageOf } from "../../../src/core/errors.ts";
import type { JsonObject } from "../../../src/core/json.ts";
import { startEmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { imbalances } from "../../../src/ledger/ledger.ts";
import { StoreKeeper } from "../../../src/store/store-keeper.ts";
import { storeSettings } from "../../../src/store/store-settings.ts";
import type { ArrivedEntry } from "../../kill/arrived.ts";
import { behind } from "../../support/composing.ts";
import { again } from "../again.ts";
import { readStore } from "../kept-journal.ts";
import { damage, prefilled } from "../kills/stores.ts";
import type { PartOptions } from "../part.ts";
import { RunningDaemon } from "../running-daemon.ts";
import { daemonConfig } from "../shared-config.ts";
import { Shim } from "../shim/shim.ts";
import { at, writeFiles } from "./cut-judge.ts";
import { Disk } from "./disk.ts";
import { filesBelow } from "./gather.ts";
import { type DiskOperation, readOperations } from "./op-log.ts";

type Config = ReturnType<typeof daemonConfig>;
type Files = ReadonlyMap<string, Buffer>;

export interface Patient {
  readonly name: string;
  /** Its folder `store` holds the store. */
  readonly root: string;
  readonly files: Files;
  readonly config: Config;
}

/** What a store holds once it is open. */
interface Found {
  readonly position: number;
  readonly wasDamaged: boolean;
  /** The text of each entry that waits, by `id revision`; without those that tell of gaps, which have new times. */
  readonly waiting: ReadonlyMap<string, string>;
}

export interface RecoveryCuts {
  readonly counts: {
    readonly cutsInSalvage: number;
    readonly cutsInRecovery: number;
    readonly salvaged: number;
    readonly entriesThatDiffer: number;
  };
  readonly problems: readonly string[];
}

/** Stores with entries that wait, and sectors that are not what was written. */
export function damagedStores(count: number, folder: string, random: () => number): Patient[] {
  return Array.from({ length: count }, (_, index) => {
    const root = join(folder, `damaged-${index}`);
    const config = daemonConfig({
      store: join(root, "store"),
      port: join(root, "no-device"),
      sizeMs: 1_000,
      latenessMs: 2_000,
      maxLossMs: 20,
      ownTime: true,
    });
    prefilled(root, config, 600);
    damage(join(root, "store"), random);
    return { name: `a salvage ${index}`, root, files: filesBelow(root), config };
  });
}

/** Cuts the power in the recovery of each so many times. */
export async function cutRecoveries(
  patients: readonly Patient[],
  cutsEach: number,
  { folder, random, library }: Pick<PartOptions, "folder" | "random"> & { readonly library: string },
): Promise<RecoveryCuts> {
  const counts = { cutsInSalvage: 0, cutsInRecovery: 0, salvaged: 0, entriesThatDiffer: 0 };
  const problems: string[] = [];
  const scratch = join(folder, "cut");
  for (const [index, patient] of patients.entries()) {
    try {
      const wanted = open(patient, patient.files, scratch);
      if (wanted.wasDamaged) counts.salvaged++;
      const operations = await record(patient, join(folder, `recovery-${index}`), library);
      const disk = new Disk(patient.files);
      let applied = 0;
      for (const point of points(operations, cutsEach, random)) {
        while (applied < point) disk.apply(at(operations, applied++));
        if (wanted.wasDamaged) counts.cutsInSalvage++;
        else counts.cutsInRecovery++;
        const name = `the cut behind operation ${point} of ${operations.length} of ${patient.name}`;
        const differences = tryToFind(wanted, () => open(patient, disk.cut(random), scratch));
        counts.entriesThatDiffer += differences.length;
        problems.push(...differences.slice(0, 3).map((difference) => `${name}: ${difference}`));
      }
    } catch (error) {
      problems.push(`${patient.name}: ${messageOf(error)}`);
    }
  }
  rmSync(scratch, { recursive: true, force: true });
  return { counts, problems };
}

/** A daemon puts the store right, works on it, and stops; returns what it did to the disk. The hub is away. */
async function record(
  { root, files, config }: Patient,
  folder: string,
  library: string,
): Promise<DiskOperation[]> {
  mkdirSync(folder, { recursive: true });
  rmSync(root, { recursive: true, force: true });
  const shim = new Shim(library, root, folder);
  writeFiles(files, root, root);
  const hub = await startEmbeddedHub({ messageLog: join(folder, "messages.jsonl") });
  const environment = hub.environment("gateway");
  await hub.stopListening();
  const own = { ...config, store: { ...config.store, path: join(root, "store") } };
  const daemon = new RunningDaemon(folder, own, environment);
  try {
    const log = join(folder, "operations");
    daemon.start(undefined, shim.environment(log));
    await daemon.untilStatus("it runs", ({ store }) => store.position > 0);
    await daemon.stop();
    return readOperations(readFileSync(log));
  } finally {
    await daemon.kill();
    await hub.stop();
    shim.close();
  }
}

/** Half of them anywhere, half right behind what changes names. */
function points(operations: readonly DiskOperation[], count: number, random: () => number): number[] {
  const naming = operations.flatMap(({ kind }, index) =>
    kind === "rename" || kind === "unlink" ? [index] : [],
  );
  const drawn = Array.from({ length: count }, () => {
    const any = Math.floor(random() * operations.length);
    const chosen = naming[Math.floor(random() * naming.length)];
    const index = chosen === undefined || random() < 0.5 ? any : chosen + Math.floor(random() * 4);
    return Math.min(index + 1, operations.length);
  });
  return drawn.sort((a, b) => a - b);
}

function open({ root, config }: Patient, files: Files, scratch: string): Found {
  rmSync(scratch, { recursive: true, force: true });
  const path = writeFiles(files, root, scratch);
  const settings = storeSettings(checkConfig(config as unknown as JsonObject).config);
  const keeper = new StoreKeeper(dirname(path), settings, () => undefined);
  let wasDamaged: boolean;
  let position: number;
  try {
    // Damage deep in the outbox shows when its entries are read.
    const unbalanced = again(() => {
      for (let message = keeper.next(behind(0)); message; ) message = keeper.next(behind(message.sequence));
      return imbalances(keeper.audit());
    });
    if (unbalanced.length > 0) throw new Error(unbalanced.join("; "));
    wasDamaged = keeper.status?.damage !== undefined;
    position = keeper.status?.position ?? 0;
  } finally {
    keeper.close();
  }
  const entries = readStore(path).waiting.map((body) => ({
    body,
    entry: JSON.parse(body) as ArrivedEntry,
  }));
  const waiting = new Map(
    entries
      .filter(({ entry }) => entry.kind !== "gap")
      .map(({ body, entry }) => [`${entry.id} ${entry.revision}`, body]),
  );
  return { position, wasDamaged, waiting };
}

function tryToFind(wanted: Found, find: () => Found): string[] {
  let found: Found;
  try {
    found = find();
  } catch (error) {
    return [messageOf(error)];
  }
  const differences: string[] = [];
  if (found.wasDamaged !== wanted.wasDamaged)
    differences.push(wanted.wasDamaged ? "nothing tells of the damage" : "the store is taken for damaged");
  if (found.position < wanted.position)
    differences.push(`it ends at position ${found.position}, not ${wanted.position}`);
  for (const [key, body] of wanted.waiting) {
    const other = found.waiting.get(key);
    if (other === undefined) differences.push(`${key} is missing`);
    else if (other !== body) differences.push(`${key} is ${other}, not ${body}`);
  }
  for (const key of found.waiting.keys())
    if (!wanted.waiting.has(key)) differences.push(`${key} is too much`);
  return differences;
}
