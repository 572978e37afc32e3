import { branch, shuffled } from "../../support/random.ts";
import type { Part, PartOptions, PartResult } from "../part.ts";
import { fieldPhases, killInField } from "./field-kills.ts";
import { killOnStores, storePhases } from "./store-kills.ts";
import { Tally } from "./tally.ts";

/** Daemons at once. */
const lanes = 3;

/** A round is a kill. */
export const kills: Part = {
  name: "kills",
  about: "kills in named phases",
  async run({ rounds = 100, random, folder, say }: PartOptions): Promise<PartResult> {
    const inField = Object.keys(fieldPhases);
    const tally = new Tally([...inField, ...storePhases]);
    // A sixth of the kills is for the phases that need a store of their own, at least one each.
    const each = Math.max(1, Math.round(rounds / 6 / storePhases.length));
    const onStores = Object.fromEntries(storePhases.map((phase) => [phase, each]));
    const rest = Math.max(1, rounds - each * storePhases.length);
    // The others get the same number each, in an order that differs from seed to seed.
    const phases = shuffled(
      Array.from({ length: rest }, (_, index) => inField[index % inField.length] ?? "commit"),
      random,
    );
    // Each lane draws its own, or their order would depend on which one is quicker.
    const lane = async (number: number) => {
      const own = { folder, say, random: branch(random) };
      const mine = phases.filter((_phase, index) => index % lanes === number);
      await killInField(mine, `lane-${number}`, own, tally);
    };
    await Promise.all([
      ...Array.from({ length: lanes }, (_, number) => lane(number)),
      killOnStores(onStores, { folder, random: branch(random) }, tally),
    ]);
    return tally.result;
  },
};
