/**
 * The benchmark: the gateway beside a bare program, Node-RED, and what the machine gives at most.
 *
 *     npm run bench -- [cell…] [--quick] [--rounds 5] [--from build|sources] [--json]
 *     npm run bench -- --list
 *     npm run bench -- --report
 *
 * A cell is named by its beginning: `cost` runs all cells of that name. In each round all that a cell compares is
 * measured one after the other; what is told is the median of the rounds' ratios. Finished rounds are kept in
 * `bench/rounds/`, quick ones in `bench/results/`, and a call that was ended goes on with the rounds that are missing; a
 * change of the gateway's code begins anew. `--report` measures nothing, and writes what was measured last, but not
 * quickly, into docs/performance.md. Exit code 0 when everything was measured, whether it meets its target or not.
 */
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Children } from "../test/faults/soak/children.ts";
import {
  type Cell,
  type Figures,
  type Member,
  type Setting,
  type Summary,
  summaryOf,
  whyUnknown,
} from "./cell.ts";
import { cells } from "./cells.ts";
import { short } from "./plot.ts";
import { buildFolder, buildHeadgate } from "./programs/headgate.ts";
import { writeReport } from "./report.ts";
import { keyOf, Results, resultsFolder, roundsFolder } from "./results.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    rounds: { type: "string" },
    from: { type: "string", default: "build" },
    list: { type: "boolean", default: false },
    report: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

const say = (line: string) => {
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
};

function chosen(): Cell[] {
  if (positionals.length === 0) return [...cells];
  const found = cells.filter(({ name }) =>
    positionals.some((asked) => name === asked || name.startsWith(`${asked}-`)),
  );
  if (found.length > 0) return found;
  throw new Error(`no cell is named ${positionals.join(", ")}; npm run bench -- --list tells their names`);
}

async function measure(cell: Cell, rounds: number, key: string, results: Results, setting: Setting) {
  say(`${cell.name}: ${cell.title}`);
  const finished = () => results.rounds<Figures & Record<string, unknown>>(cell.name, key);
  for (let done = finished(); done.length < rounds; done = finished()) {
    const before = done.at(-1)?.runs;
    const runs: Record<string, Figures> = {};
    const runOne = async ({ name, run }: Member) => {
      runs[name] = await run(setting, before?.[name]);
      say(`  round ${done.length + 1}, ${name}: ${describe(runs[name])}`);
    };
    if (cell.isTogether) await Promise.all(cell.members.map(runOne));
    else for (const member of cell.members) await runOne(member);
    results.add({ cell: cell.name, key, at: new Date().toISOString(), machine: thisMachine(), runs });
  }
  return summaryOf(cell, finished());
}

function thisMachine(): string {
  const [cpu] = cpus();
  return `${cpus().length} × ${cpu?.model.trim()}, ${Math.round(totalmem() / 1e9)} GB, Node ${process.version}`;
}

function describe({ problems, ...figures }: Figures): string {
  const numbers = Object.entries(figures).filter(([, value]) => typeof value === "number");
  const told = numbers.map(([name, value]) => `${name} ${short(value as number)}`).join(", ");
  return problems.length > 0 ? `${told}; DOES NOT COUNT: ${problems.join("; ")}` : told;
}

function tell({ rounds, ratios, verdicts, problems }: Summary): void {
  say(`  medians of ${rounds} rounds:`);
  for (const [name, value] of Object.entries(ratios)) say(`    ${name} ${short(value)}`);
  for (const verdict of verdicts) {
    const { name, value, target, isMet } = verdict;
    const told = value === undefined ? whyUnknown(verdict) : short(value);
    say(
      `    ${isMet === undefined ? "UNKNOWN" : isMet ? "met" : "MISSED"}: ${name} ${told}, target ${target}`,
    );
  }
  for (const [name, found] of Object.entries(problems))
    say(`    ${name}: ${found.length} rounds do not count, such as for: ${found[0]}`);
}

async function main(): Promise<number> {
  if (values.list) {
    for (const { name, title } of cells) say(`${name}: ${title}`);
    return 0;
  }
  if (values.report) {
    say(`docs/performance.md tells of ${writeReport(cells, new Results(roundsFolder)).join(", ")}`);
    return 0;
  }
  const from = values.from === "sources" ? "sources" : "build";
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
  const setting: Setting = { quick: values.quick, from, children: new Children(), say };
  const asked = chosen();
  buildHeadgate();
  // The build is the same as the sources, and names them.
  const key = keyOf(buildFolder, { quick: values.quick, from, node: process.version });
  const results = new Results(values.quick ? join(resultsFolder, "rounds") : roundsFolder);
  const summaries: Summary[] = [];
  for (const cell of asked) {
    const summary = await measure(cell, rounds, key, results, setting);
    tell(summary);
    summaries.push(summary);
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ quick: values.quick, cells: summaries })}\n`);
  return 0;
}

// Ends the processes that are still there.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
process.exit(
  await main().catch((error) => {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
    return 1;
  }),
);
