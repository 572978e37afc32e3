/**
 * The fault campaign: kills in named phases, power cuts, damaged files, disks, clocks and hubs in trouble, and bytes that are no
 * frames, each many times, each judged by oracles that share no code with the gateway.
 *
 *     npm run test:faults -- [--seed N] [--rounds N] [--only kills|power|damage|trouble|decoders] [--json]
 *     npm run test:faults -- --short
 *     npm run test:faults -- --planted
 *
 * `--short` is a little of everything, always with the same seed; it runs with every build.
 * The same seed repeats the same choices; when they strike depends on the machine. `--planted` proves that the
 * campaign finds what it is for: it breaks a copy of the gateway in known ways. Needs a C compiler.
 * Exit code 0 when nothing was found, 1 otherwise; the folder of a part that found something is kept.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { randomFrom } from "../support/random.ts";
import stripSources, { nodeOptions } from "../support/strip-sources.ts";
import { damage } from "./damage.ts";
import { decoders } from "./decoders/decoders.ts";
import { kills } from "./kills/kills.ts";
import type { Part, PartResult } from "./part.ts";
import { runPlanted } from "./planted-run.ts";
import { power } from "./power/power.ts";
import { trouble } from "./trouble/trouble.ts";

/** In the order in which they run; another kind of fault is another line. */
const parts: readonly Part[] = [kills, power, damage, trouble, decoders];

const shownProblems = 20;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    rounds: { type: "string" },
    only: { type: "string", multiple: true },
    json: { type: "boolean", default: false },
    planted: { type: "boolean", default: false },
    short: { type: "boolean", default: false },
  },
});

const say = (line: string) => {
  // With --json the output is for programs; people still see that something goes on.
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
};

function number(name: "seed" | "rounds"): number | undefined {
  const given = values[name];
  if (given === undefined) return undefined;
  if (!/^\d+$/.test(given)) usage(`--${name} takes a whole number`);
  return Number(given);
}

function usage(problem: string): never {
  process.stderr.write(`test:faults: ${problem}\n`);
  process.exit(2);
}

interface Outcome extends PartResult {
  readonly part: string;
  readonly seconds: number;
  /** Kept, because something was found. */
  readonly folder?: string;
}

/** Enough to see that every fault still does what it should: under two minutes, each time a project is built. */
const shortRounds: Readonly<Record<string, number>> = {
  kills: 10,
  power: 10,
  damage: 24,
  trouble: 1,
  decoders: 3,
};

async function runPart(part: Part, seed: number, rounds: number | undefined): Promise<Outcome> {
  const system = tmpdir().length > 40 ? "/tmp" : tmpdir();
  const folder = realpathSync(mkdtempSync(join(system, `headgate-${part.name}-`)));
  const started = performance.now();
  say(`${part.name}: ${part.about}`);
  let result: PartResult;
  try {
    // Each part draws from its own seed: one that is added or left out changes nothing in the others.
    const own = [...part.name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) | 0, seed);
    const { short: isShort } = values;
    const options = {
      random: randomFrom(own),
      rounds,
      isShort,
      folder,
      say: (line: string) => say(`  ${line}`),
    };
    result = await part.run(options);
  } catch (error) {
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    result = { counts: {}, problems: [`the part could not go on: ${reason}`] };
  }
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  const isGood = result.problems.length === 0;
  if (isGood) rmSync(folder, { recursive: true, force: true });
  else mkdirSync(folder, { recursive: true });
  return { part: part.name, seconds, ...result, ...(isGood ? {} : { folder }) };
}

function print({ part, seconds, counts, problems, folder }: Outcome): void {
  for (const [what, count] of Object.entries(counts)) say(`  ${what}: ${count}`);
  for (const problem of problems.slice(0, shownProblems)) say(`  PROBLEM ${problem}`);
  if (problems.length > shownProblems) say(`  … and ${problems.length - shownProblems} more`);
  say(`${part}: ${problems.length === 0 ? "nothing found" : `${problems.length} problems, see ${folder}`}`);
  say(`${part}: ${seconds} s`);
}

async function main(): Promise<number> {
  const seed = number("seed") ?? (values.short ? 1 : Date.now() % 1_000_000);
  const rounds = number("rounds");
  if (values.planted) {
    say(`seed ${seed}`);
    return (await runPlanted(seed, say)) ? 0 : 1;
  }
  if (values.short) {
    // Most of what a start costs; long campaigns start as anybody does.
    stripSources();
    process.env.NODE_OPTIONS = nodeOptions;
  }
  const chosen = parts.filter(({ name }) => values.only?.includes(name) ?? true);
  const unknown = values.only?.find((name) => !parts.some((part) => part.name === name));
  if (unknown !== undefined)
    usage(`no part ${unknown}; there are ${parts.map(({ name }) => name).join(", ")}`);
  say(`seed ${seed}`);
  const outcomes: Outcome[] = [];
  for (const part of chosen) {
    const outcome = await runPart(part, seed, rounds ?? (values.short ? shortRounds[part.name] : undefined));
    print(outcome);
    outcomes.push(outcome);
  }
  const isGood = outcomes.every(({ problems }) => problems.length === 0);
  if (values.json) process.stdout.write(`${JSON.stringify({ seed, ok: isGood, parts: outcomes })}\n`);
  return isGood ? 0 : 1;
}

// Ends the daemons that are still there.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
process.exit(await main());
