import { join } from "node:path";
import { messageOf } from "../../../src/core/errors.ts";
import { branch } from "../../support/random.ts";
import { Field } from "../field.ts";
import type { Part, PartOptions, PartResult } from "../part.ts";
import { compileShim, Shim } from "../shim/shim.ts";
import { sleep } from "../time.ts";
import { type Scenario, scenarios } from "./scenarios.ts";

/** Scenarios at once: they sleep more than they work. */
const lanes = 3;
const maxLossMs = 100;

/** A round is each scenario once. */
export const trouble: Part = {
  name: "trouble",
  about: "disks, clocks and hubs in trouble",
  async run({ rounds = 1, isShort, random, folder, say }: PartOptions): Promise<PartResult> {
    // One of each kind, as they stand in the list.
    const chosen = isShort ? scenarios.filter((_, index) => index % 5 === 0) : scenarios;
    const library = compileShim(folder);
    const problems: string[] = [];
    const counts = {
      scenarios: 0,
      readingsCommitted: 0,
      committedReadingsLost: 0,
      readingsLost: 0,
      readingsLate: 0,
      windows: 0,
      entriesThatDiffer: 0,
      entriesRepeated: 0,
    };
    const waiting = Array.from({ length: rounds }, (_, round) =>
      chosen.map((scenario, index) => ({
        scenario,
        random: branch(random),
        own: join(folder, `${round}-${index}`),
      })),
    ).flat();
    const work = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) {
        const { scenario, own } = next;
        counts.scenarios++;
        try {
          const { lost, drained } = await play(scenario, library, own, next.random);
          counts.readingsCommitted += drained.committed;
          counts.committedReadingsLost += drained.committedLost;
          counts.readingsLost += lost;
          counts.entriesThatDiffer += drained.entriesThatDiffer;
          counts.readingsLate += drained.late;
          counts.windows += drained.windows;
          counts.entriesRepeated += drained.repeats;
          const found = [...drained.problems];
          if (drained.late > 0 && !scenario.ownTime)
            found.push(`${drained.late} readings are discarded as late`);
          if (lost > 0) found.push(`${lost} readings are lost`);
          problems.push(...found.map((problem) => `${scenario.name}: ${problem}`));
          say(`${scenario.name}: ${found.length === 0 ? "nothing found" : `${found.length} problems`}`);
        } catch (error) {
          problems.push(`${scenario.name}: ${messageOf(error)}`);
          say(`${scenario.name}: ${messageOf(error)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: lanes }, work));
    return { counts, problems };
  },
};

async function play(scenario: Scenario, library: string, folder: string, random: () => number) {
  const { ownTime, more } = scenario;
  const root = join(folder, "disk");
  const field = await Field.open({ folder, root, random, maxLossMs, ownTime, ...(more ? { more } : {}) });
  const shim = new Shim(library, root, folder);
  const { hub, link, daemon } = field;
  const start = () => daemon.start(undefined, shim.environment());
  try {
    start();
    await daemon.untilStatus("readings arrive", ({ store }) => (store.books.oven?.published ?? 0) > 0);
    await sleep(1_000 + random() * 1_000);
    await scenario.play({ shim, hub, link, daemon, random, start });
    await daemon.untilStatus("the store takes data", ({ intake }) => intake.state === "ok");
    await sleep(1_000);
    hub.clearFaults();
    await hub.startListening();
    const drained = await field.drain();
    return { drained, lost: scenario.isDeadly ? 0 : field.lost.length };
  } finally {
    await field.close();
    shim.close();
  }
}
