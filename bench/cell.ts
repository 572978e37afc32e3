import type { Children } from "../test/faults/soak/children.ts";
import type { Round } from "./results.ts";
import { medianOf, medianRatio } from "./statistics.ts";

/** How everything is measured in one call of the benchmark. */
export interface Setting {
  readonly quick: boolean;
  readonly from: "build" | "sources";
  readonly children: Children;
  readonly say: (line: string) => void;
}

/** What one member of a cell came to in one round. */
export interface Figures {
  /** Why it counts for nothing; empty when it counts. */
  readonly problems: readonly string[];
}

/** One of those that are measured one after the other. */
export interface Member {
  readonly name: string;
  /** `before` is what it came to in the round before, if there was one: where a search may begin. */
  readonly run: (setting: Setting, before?: Figures) => Promise<Figures>;
}

/** A comparison inside each round, of which the median over the rounds is told. */
export interface Ratio {
  readonly name: string;
  readonly figure: string;
  readonly of: string;
  readonly to: string;
  /** The median may be no more, or no less. */
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** A bound for a figure itself. */
export interface Bound {
  readonly figure: string;
  readonly of: string;
  readonly atMost: number;
}

export interface Cell {
  /** Names a file; its parts go from the general to the special. */
  readonly name: string;
  readonly title: string;
  readonly members: readonly Member[];
  /** They are measured at the same time, and not one after the other: what they do does not depend on the machine's speed. */
  readonly isTogether?: true;
  readonly ratios: readonly Ratio[];
  readonly bounds?: readonly Bound[];
}

export interface Verdict {
  readonly name: string;
  readonly target: string;
  /** In how many rounds everything that it compares counts. Without one nothing is known, and that is told. */
  readonly rounds: number;
  readonly value: number | undefined;
  readonly isMet: boolean | undefined;
  /** Those of whom no round counts: most often they did not keep up. */
  readonly missing: readonly string[];
}

export interface Summary {
  readonly cell: string;
  readonly rounds: number;
  /** Medians over the rounds that count, per member. */
  readonly figures: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly ratios: Readonly<Record<string, number>>;
  readonly verdicts: readonly Verdict[];
  /** Of each member: for each of its rounds that does not count, why. */
  readonly problems: Readonly<Record<string, readonly string[]>>;
}

type AnyRound = Round<Figures & Readonly<Record<string, unknown>>>;

export function summaryOf(cell: Cell, rounds: readonly AnyRound[]): Summary {
  const figures: Record<string, Record<string, number>> = {};
  const problems: Record<string, readonly string[]> = {};
  for (const { name } of cell.members) {
    const runs = rounds.flatMap(({ runs }) => (runs[name] ? [runs[name]] : []));
    const found = runs.flatMap(({ problems }) => (problems.length > 0 ? [problems.join("; ")] : []));
    if (found.length > 0) problems[name] = found;
    const keys = new Set(runs.flatMap((run) => Object.keys(run)));
    const medians: Record<string, number> = {};
    for (const key of keys) {
      const value = medianOf(rounds, figureOf(name, key));
      if (value !== undefined) medians[key] = value;
    }
    figures[name] = medians;
  }
  const ratios: Record<string, number> = {};
  const verdicts: Verdict[] = [];
  const judge = (
    name: string,
    compared: readonly (readonly [member: string, figure: string])[],
    value: number | undefined,
    atMost?: number,
    atLeast?: number,
  ) => {
    if (atMost === undefined && atLeast === undefined) return;
    const target = atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`;
    const isMet =
      value === undefined ? undefined : atMost === undefined ? value >= (atLeast ?? 0) : value <= atMost;
    const counts = (round: AnyRound, [member, figure]: (typeof compared)[number]) =>
      figureOf(member, figure)(round) !== undefined;
    const counting = rounds.filter((round) => compared.every((of) => counts(round, of))).length;
    const missing = compared.filter((of) => !rounds.some((round) => counts(round, of)));
    verdicts.push({ name, target, rounds: counting, value, isMet, missing: missing.map(([of]) => of) });
  };
  for (const { name, figure, of, to, atMost, atLeast } of cell.ratios) {
    const value = medianRatio(rounds, figureOf(of, figure), figureOf(to, figure));
    if (value !== undefined) ratios[name] = value;
    const compared = [of, to].map((member) => [member, figure] as const);
    judge(name, compared, value, atMost, atLeast);
  }
  for (const { figure, of, atMost } of cell.bounds ?? []) {
    judge(`${of} ${figure}`, [[of, figure]], figures[of]?.[figure], atMost);
  }
  return { cell: cell.name, rounds: rounds.length, figures, ratios, verdicts, problems };
}

/** Why nothing is known. Those that are compared may each have rounds that count, and none together. */
export const whyUnknown = ({ missing }: Verdict): string =>
  missing.length > 0 ? `no round of ${missing.join(" and ")} counts` : "no round counts";

/** A number of a member's run, of a round in which that run counts. */
function figureOf(member: string, figure: string): (round: AnyRound) => number | undefined {
  return ({ runs }) => {
    const run = runs[member];
    const value = run?.problems.length === 0 ? run[figure] : undefined;
    return typeof value === "number" && Number.isFinite(value) ? value : undefined;
  };
}
