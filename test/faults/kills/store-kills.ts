import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../../src/core/errors.ts";
import { startEmbeddedHub } from "../../../src/embedded-hub/embedded-hub.ts";
import { imbalances } from "../../../src/ledger/ledger.ts";
import { type ArrivedEntry, arrivedOf, readArrived } from "../../kill/arrived.ts";
import { branch } from "../../support/random.ts";
import type { PartOptions } from "../part.ts";
import { type DaemonStatus, RunningDaemon } from "../running-daemon.ts";
import { daemonConfig } from "../shared-config.ts";
import { sleep } from "../time.ts";
import { damage, fixture, prefilled } from "./stores.ts";
import type { Tally } from "./tally.ts";

type Config = ReturnType<typeof daemonConfig>;

/** A phase that only a store in a certain state comes through: each kill has a copy of such a store. */
interface StoreScenario {
  readonly phase: string;
  readonly occurrences: number;
  readonly moreStore?: Readonly<Record<string, unknown>>;
  /** The hub while the daemon is killed; afterwards it is there. */
  readonly hub: "there" | "away";
  /** Puts the store there; the same one for every kill. Returns the entries that wait in it. */
  make(folder: string, config: Config): readonly ArrivedEntry[];
  /** Something is done to the copy, each time otherwise. */
  prepare?(folder: string, random: () => number): void;
  /** Whether what arrives in the end must be what arrives without a kill. */
  readonly loses: "nothing" | "something";
}

const scenarios: readonly StoreScenario[] = [
  { phase: "migration", occurrences: 2, hub: "there", make: fixture, loses: "nothing" },
  {
    phase: "salvage",
    occurrences: 4,
    hub: "there",
    make: (folder, config) => prefilled(folder, config, 2_000),
    prepare: damage,
    loses: "something",
  },
  {
    phase: "evict",
    occurrences: 2,
    hub: "away",
    make: (folder, config) => prefilled(folder, config, 16_000),
    moreStore: { maxBytes: 4_194_304, replayBytes: 0 },
    loses: "something",
  },
];

export const storePhases: readonly string[] = scenarios.map(({ phase }) => phase);

/** So many may miss the phase, and as many again as are wanted. */
const enoughMisses = 8;

/** Kills daemons in those phases, so many times each; then each starts again, and must be well. */
export async function killOnStores(
  counts: Readonly<Record<string, number>>,
  { random, folder }: Pick<PartOptions, "random" | "folder">,
  tally: Tally,
): Promise<void> {
  // Most of their time they wait. Each draws its own, or their order would depend on which one is quicker.
  const all = scenarios.flatMap((scenario) => {
    const wanted = counts[scenario.phase] ?? 0;
    const half = Math.floor(wanted / 2);
    return [half, wanted - half].map((kills, index) => {
      const own = { folder: join(folder, `${scenario.phase}-${index}`), random: branch(random) };
      return kills > 0 ? killIn(scenario, kills, own, tally) : undefined;
    });
  });
  await Promise.all(all);
}

async function killIn(
  scenario: StoreScenario,
  wanted: number,
  { random, folder }: Pick<PartOptions, "random" | "folder">,
  tally: Tally,
): Promise<void> {
  const model = join(folder, "model");
  const waiting = scenario.make(model, configFor(scenario, model));
  const unkilled = join(folder, "unkilled");
  if (scenario.loses === "nothing") cpSync(model, unkilled, { recursive: true });
  const reference = scenario.loses === "nothing" ? await run(scenario, unkilled, waiting) : undefined;
  let killed = 0;
  // One that misses its phase is repeated; where all do, the phase does not exist.
  for (let round = 0; killed < wanted && round < 2 * wanted + enoughMisses; round++) {
    const order = {
      phase: scenario.phase,
      occurrence: 1 + Math.floor(random() * scenario.occurrences),
      waitMs: random() < 0.5 ? 0 : random() * 3,
    };
    const place = join(folder, `${round}`);
    cpSync(join(model, "store"), join(place, "store"), { recursive: true });
    scenario.prepare?.(join(place, "store"), random);
    try {
      const arrived = await run(scenario, place, waiting, { order, tally });
      if (!arrived) continue;
      killed++;
      const missing = reference?.filter((key) => !arrived.includes(key)) ?? [];
      const more = reference ? arrived.filter((key) => !reference.includes(key)) : [];
      for (const key of missing)
        tally.problem(`a kill in ${scenario.phase}: ${key} is missing; see ${place}`);
      for (const key of more) tally.problem(`a kill in ${scenario.phase}: ${key} is too much; see ${place}`);
      rmSync(join(place, "store"), { recursive: true, force: true });
    } catch (error) {
      tally.problem(`a kill in ${scenario.phase}: ${messageOf(error)}; see ${place}`);
    }
  }
}

function configFor({ moreStore }: StoreScenario, folder: string): Config {
  return daemonConfig({
    store: join(folder, "store"),
    // Nobody is there; what counts is what the store holds.
    port: join(folder, "no-device"),
    sizeMs: 1_000,
    latenessMs: 2_000,
    maxLossMs: 100,
    ownTime: true,
    ...(moreStore ? { moreStore } : {}),
  });
}

const settleMs = 1_500;
const isEmpty = ({ store }: DaemonStatus) => store.outbox.entries === 0 && store.position > 0;

/**
 * Lets a daemon run on the store until everything that waits is out, after one that was killed.
 * Returns `id revision` of what arrived, or undefined when the phase was not reached.
 */
async function run(
  scenario: StoreScenario,
  place: string,
  waiting: readonly ArrivedEntry[],
  kill?: { order: Parameters<RunningDaemon["start"]>[0] & object; tally: Tally },
): Promise<string[] | undefined> {
  const messages = join(place, "messages.jsonl");
  const hub = await startEmbeddedHub({ messageLog: messages });
  const config = configFor(scenario, place);
  const daemon = new RunningDaemon(place, config, hub.environment("gateway"));
  try {
    if (kill) {
      if (scenario.hub === "away") await hub.stopListening();
      daemon.start(kill.order);
      await daemon.killsItself();
      if (!daemon.killed) {
        kill.tally.missed();
        return undefined;
      }
      kill.tally.kill(scenario.phase);
      await hub.startListening();
    }
    daemon.start();
    await daemon.untilStatus("everything that waits is out", isEmpty);
    // A window may be due that the first commits have not closed yet: it waits, and would be told after the next start.
    await sleep(settleMs);
    const status = await daemon.untilStatus("what fell due is out as well", isEmpty);
    await daemon.stop();
    const unbalanced = imbalances(status.store.books);
    if (unbalanced.length > 0) throw new Error(unbalanced.join("; "));
    const arrived = readArrived(messages);
    const both = arrivedOf([...waiting, ...arrived.entries.values()]);
    const twofold = [...arrived.twofold, ...both.twofold];
    if (twofold.length > 0) throw new Error(twofold.join("; "));
    return [...arrived.entries.keys()];
  } finally {
    await daemon.kill();
    await hub.stop();
  }
}
