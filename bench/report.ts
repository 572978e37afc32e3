import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Cell, type Figures, type Summary, summaryOf, whyUnknown } from "./cell.ts";
import { barPlot, growthPlot, short } from "./plot.ts";
import type { Results, Round } from "./results.ts";

const docs = fileURLToPath(new URL("../docs", import.meta.url));
const begin = "<!-- Written by npm run bench -- --report: begin -->";
const end = "<!-- end -->";

/** What is told of each member, where it has it: figure, heading, and what it is divided by. */
const columns: readonly (readonly [figure: string, heading: string, divisor: number])[] = [
  ["cpuSecondsPerMillion", "CPU s per million", 1],
  ["rssBytes", "resident MB", 1e6],
  ["sustainedPerSecond", "readings/s held", 1],
  ["behindMs", "behind, ms", 1],
  ["latestMs", "latest window, ms", 1],
  ["commits", "commits", 1],
  ["writtenPerReading", "written, bytes per reading", 1],
  ["writtenPerByte", "written per byte received", 1],
  ["bytesPerCommit", "written per commit, bytes", 1],
  ["megabytesPerDay", "MB a day", 1],
  ["p50Ms", "p50, ms", 1],
  ["p99Ms", "p99, ms", 1],
  ["p999Ms", "p99.9, ms", 1],
  ["p99BeyondTwoSyncsMs", "p99 without two syncs, ms", 1],
  ["readingsPerSecond", "readings/s", 1],
  ["busShare", "bus busy", 1],
  ["missedShare", "polls missed", 1],
  ["longestMs", "longest between two polls, ms", 1],
  ["wireShare", "wire busy", 1],
  ["coreShare", "CPU, of one core", 1],
  ["drainSeconds", "drained in, s", 1],
  ["drainCpuSeconds", "CPU meanwhile, s", 1],
  ["liveP50Ms", "live p50, ms", 1],
  ["liveP99Ms", "live p99, ms", 1],
  ["startMs", "start, ms", 1],
  ["startCpuMs", "CPU of the start, ms", 1],
  ["readingsPerCpuSecond", "readings per CPU second", 1],
  ["frameBytes", "bytes of a frame", 1],
  ["syncsPerSecond", "syncs/s", 1],
  ["rowsPerSecond", "synced rows/s", 1],
  ["mqttPerSecond", "MQTT QoS 1 /s", 1],
  ["mqttCpuSecondsPerMillion", "CPU s per million of it", 1],
];

/** Columns of the quick look that a kind of cell does not need. */
const uninteresting: Readonly<Record<string, readonly string[]>> = {
  cost: ["writtenPerByte", "bytesPerCommit", "megabytesPerDay", "commits"],
  ways: ["writtenPerByte", "bytesPerCommit", "megabytesPerDay"],
  growth: ["writtenPerByte", "bytesPerCommit", "megabytesPerDay"],
  memory: [
    "behindMs",
    "latestMs",
    "writtenPerReading",
    "writtenPerByte",
    "megabytesPerDay",
    "cpuSecondsPerMillion",
  ],
  disk: ["behindMs", "latestMs", "rssBytes", "cpuSecondsPerMillion"],
};

/** Writes what was measured last into `docs/performance.md`, with plots beside it. Cells without rounds are left out. */
export function writeReport(cells: readonly Cell[], results: Results): string[] {
  const measured = cells.flatMap((cell) => {
    const rounds = results.latest<Figures & Record<string, unknown>>(cell.name);
    return rounds.length > 0 ? [{ cell, rounds, summary: summaryOf(cell, rounds) }] : [];
  });
  const file = join(docs, "performance.md");
  const text = readFileSync(file, "utf8");
  const [before, after] = [text.split(begin)[0], text.split(end)[1]];
  if (after === undefined) throw new Error(`${file} has no place for the results`);
  const parts = [
    machines(measured),
    targets(measured.map(({ summary }) => summary)),
    ...plots(measured),
    ...measured.map(({ cell, rounds, summary }) => table(cell, rounds, summary)),
  ];
  writeFileSync(file, `${before}${begin}\n\n${parts.join("\n\n")}\n\n${end}${after}`);
  return measured.map(({ cell }) => cell.name);
}

interface Measured {
  readonly cell: Cell;
  readonly rounds: readonly Round<Figures>[];
  readonly summary: Summary;
}

function machines(measured: readonly Measured[]): string {
  const found = new Set(measured.flatMap(({ rounds }) => rounds.flatMap(({ machine }) => machine ?? [])));
  return `Measured on: ${[...found].join("; ")}.`;
}

function targets(summaries: readonly Summary[]): string {
  const rows = summaries.flatMap(({ cell, verdicts }) =>
    verdicts.map((verdict) => {
      const { name, value, target, rounds, isMet } = verdict;
      const told = value === undefined ? "" : short(value);
      const known = isMet ? "met" : "**missed**";
      const judged = isMet === undefined ? `unknown: ${whyUnknown(verdict)}` : known;
      return `| ${cell} | ${name} | ${target} | ${told} | ${rounds} | ${judged} |`;
    }),
  );
  return [
    "## Targets",
    "",
    "| cell | figure | target | measured | rounds that count | |",
    "|---|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function table({ name, title, members }: Cell, rounds: readonly Round[], summary: Summary): string {
  const hidden = uninteresting[name.split("-")[0] ?? ""] ?? [];
  const shown = columns.filter(
    ([figure]) =>
      !hidden.includes(figure) &&
      members.some((member) => summary.figures[member.name]?.[figure] !== undefined),
  );
  const rows = members.map((member) => {
    const figures = summary.figures[member.name] ?? {};
    const cells = shown.map(([figure, , divisor]) => {
      const value = figures[figure];
      return value === undefined ? "" : short(value / divisor);
    });
    return `| ${member.name} | ${cells.join(" | ")} |`;
  });
  const ratios = Object.entries(summary.ratios).map(([ratio, value]) => `\`${ratio}\` ${short(value)}`);
  const problems = Object.entries(summary.problems).map(
    ([member, found]) =>
      `${member}: ${found.length} of ${rounds.length} rounds do not count, such as for: ${found[0]}.`,
  );
  return [
    `### ${name}`,
    "",
    `${title[0]?.toUpperCase()}${title.slice(1)}; medians of ${rounds.length} rounds, the last on ${rounds.at(-1)?.at.slice(0, 10)}.`,
    "",
    `| | ${shown.map(([, heading]) => heading).join(" | ")} |`,
    `|---|${"---|".repeat(shown.length)}`,
    ...rows,
    ...(ratios.length > 0 ? ["", `Medians of the rounds' ratios: ${ratios.join(", ")}.`] : []),
    ...problems.flatMap((problem) => ["", problem]),
  ].join("\n");
}

function plots(measured: readonly Measured[]): string[] {
  const folder = join(docs, "performance");
  mkdirSync(folder, { recursive: true });
  const shown: string[] = [];
  const put = (name: string, title: string, svg: string) => {
    writeFileSync(join(folder, `${name}.svg`), svg);
    shown.push(`![${title}](performance/${name}.svg)`);
  };
  const costs = measured.filter(({ cell }) => cell.name.startsWith("cost-"));
  const programs = ["bare", "headgate", "nodeRedFunction", "nodeRedCore"];
  for (const [figure, title, unit, divisor] of [
    ["cpuSecondsPerMillion", "Cost of the main job", "CPU seconds per million readings", 1],
    ["rssBytes", "Memory of the main job", "MB resident", 1e6],
  ] as const) {
    const groups = costs.map(({ cell, summary }) => ({
      label: `${cell.name.slice("cost-".length).replace("-", "/s, ")} devices`,
      values: programs.map((name) => {
        const value = summary.figures[name]?.[figure];
        return value === undefined ? undefined : value / divisor;
      }),
    }));
    if (groups.length > 0)
      put(figure === "rssBytes" ? "memory" : "cost", title, barPlot(title, unit, programs, groups));
  }
  for (const { cell, summary } of measured.filter(({ cell }) => cell.name.startsWith("growth-"))) {
    const what = cell.name.slice("growth-".length);
    const [figure, unit, factor] =
      what === "backlog"
        ? (["drainCpuSeconds", "CPU seconds", 1] as const)
        : (["cpuShare", "% of one core", 100] as const);
    const points = cell.members.flatMap(({ name }) => {
      const value = summary.figures[name]?.[figure];
      return value === undefined ? [] : [{ x: Number(name.slice(2)), y: value * factor }];
    });
    const title = `Growth with ${what}`;
    if (points.length > 1) put(cell.name, title, growthPlot(title, what, unit, points));
  }
  return shown;
}
