import type { Drained } from "../field.ts";
import type { PartResult } from "../part.ts";

const missedPhase = "(phase not reached)";
export const isMissedPhase = (problem: string): boolean => problem.endsWith(missedPhase);

/** Kills and what they cost, counted. */
export class Tally {
  readonly #kills: Record<string, number> = {};
  #atRandom = 0;
  readonly #problems: string[] = [];
  readonly #counts = {
    readingsCommitted: 0,
    committedReadingsLost: 0,
    readingsSent: 0,
    windows: 0,
    entriesThatDiffer: 0,
    entriesRepeated: 0,
    readingsLostLaterThanPromised: 0,
    latestLossMs: 0,
  };

  constructor(phases: readonly string[]) {
    for (const phase of phases) this.#kills[phase] = 0;
  }

  kill(phase: string): void {
    this.#kills[phase] = (this.#kills[phase] ?? 0) + 1;
  }

  /** It did not come to its phase, and was killed from outside. */
  missed(): void {
    this.#atRandom++;
  }

  problem(problem: string): void {
    this.#problems.push(problem);
  }

  lostLate(count: number, longestMs: number): void {
    this.#counts.readingsLostLaterThanPromised += count;
    this.#counts.latestLossMs = Math.max(this.#counts.latestLossMs, Math.round(longestMs));
  }

  drained(name: string, drained: Drained): void {
    const counts = this.#counts;
    counts.readingsCommitted += drained.committed;
    counts.committedReadingsLost += drained.committedLost;
    counts.readingsSent += drained.sent;
    counts.windows += drained.windows;
    counts.entriesThatDiffer += drained.entriesThatDiffer;
    counts.entriesRepeated += drained.repeats;
    for (const problem of drained.problems) this.#problems.push(`${name}: ${problem}`);
  }

  /** How far it has come, for whoever waits. */
  get progress(): string {
    const kills = Object.values(this.#kills).reduce((sum, count) => sum + count, 0);
    const { readingsCommitted, committedReadingsLost, entriesThatDiffer } = this.#counts;
    const judged = `${readingsCommitted} committed readings, ${committedReadingsLost} lost, ${entriesThatDiffer} entries differ`;
    return `${kills} kills in their phase so far; judged: ${judged}`;
  }

  /** A phase without a kill is a problem: the campaign would say nothing of it. */
  get result(): PartResult {
    const phases = Object.entries(this.#kills);
    const empty = phases.filter(([, count]) => count === 0).map(([phase]) => phase);
    return {
      counts: {
        kills: phases.reduce((sum, [, count]) => sum + count, this.#atRandom),
        ...Object.fromEntries(phases.map(([phase, count]) => [`kills in ${phase}`, count])),
        "kills in no phase": this.#atRandom,
        ...this.#counts,
      },
      problems: [...this.#problems, ...empty.map((phase) => `${phase}: 0 kills ${missedPhase}`)],
    };
  }
}
