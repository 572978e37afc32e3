import { branch, shuffled } from "../../support/random.ts";
import type { Part, PartOptions, PartResult } from "../part.ts";
import { fieldPhases, killInField } from "./field-kills.ts";
import { Tally } from "./tally.ts";

/** Daemons at once. */
const lanes = 2;

/** A round is a kill. */
export const kills: Part = {
  name: "kills",
  about: "kills in named phases",
  async run({ rounds = 100, random, folder }: PartOptions): Promise<PartResult> {
    const names = Object.keys(fieldPhases);
    const tally = new Tally(names);
    // All phases get the same number, in an order that differs from seed to seed.
    const phases = shuffled(
      Array.from({ length: rounds }, (_, index) => names[index % names.length] ?? "commit"),
      random,
    );
    await Promise.all(
      Array.from({ length: lanes }, (_, lane) => {
        // Each lane draws its own, or their order would depend on which one is quicker.
        const own = branch(random);
        const mine = phases.filter((_phase, index) => index % lanes === lane);
        return killInField(mine, `lane-${lane}`, { random: own, folder }, tally);
      }),
    );
    return tally.result;
  },
};
