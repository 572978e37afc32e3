import { join, relative } from "node:path";
import { branch } from "../../support/random.ts";
import type { Part, PartOptions, PartResult } from "../part.ts";
import { compileShim } from "../shim/shim.ts";
import { commitsIn } from "./commits.ts";
import { at, type Cut, CutJudge } from "./cut-judge.ts";
import { Disk } from "./disk.ts";
import { type Gathered, gather, type Life } from "./gather.ts";
import { cutRecoveries, damagedStores, type Patient } from "./recovery-cuts.ts";
import { runOn } from "./whole-daemon.ts";

/** Every so many cuts a whole daemon starts on what is left. */
const wholeDaemonEvery = 50;

/** So many cuts per one while a store is put right. */
const cutsPerRecoveryCut = 2;
/** Which of a journal's cuts is recovered from under further cuts: one of a long life, one of a short one. */
const recoveredCuts = [0.4, 0.9];

/** Commits of each life: long enough for checkpoints, each of 1,000 pages; short, for a store made or recovered. */
const longLives = [5, 800, 200, 60];
const shortLives = [5, 300, 60, 10];

/**
 * The power is cut at random operations of recorded lives. What the disk may hold then is built, and a store is
 * opened on it. A round is a cut.
 */
export const power: Part = {
  name: "power",
  about: "power cuts at random points of a recorded disk",
  async run(options: PartOptions): Promise<PartResult> {
    const { rounds = 200, isShort, folder, random, say } = options;
    const library = compileShim(folder);
    const samples: (() => Promise<string[]>)[] = [];
    const patients: Patient[] = damagedStores(isShort ? 1 : 3, folder, branch(random));
    const results: CutJudge["result"][] = [];
    const problems: string[] = [];
    const livesCommits = isShort ? shortLives : longLives;
    const cuts = Math.ceil(rounds / 2);
    const recovered = recoveredCuts.slice(isShort ? 1 : 0).map((part) => Math.floor(part * cuts));
    for (const journal of ["kept", "trimmed"] as const) {
      const own = join(folder, journal);
      const gathered = await gather({ folder: own, random: branch(random), library, livesCommits, journal });
      problems.push(...gathered.problems);
      const operations = gathered.lives.map((life) => life.operations.length);
      say(
        `journal ${journal}: recorded ${operations.join(" + ")} operations, ${gathered.sent.length} readings`,
      );
      const judge = new CutJudge(gathered, join(folder, "cut"));
      results.push(judge.result);
      for (const cut of allCuts(gathered.lives, cuts, random, judge)) {
        judge.judge(cut);
        if (recovered.includes(judge.result.counts.cuts))
          patients.push(patientOf(cut, gathered, join(folder, `${journal}-${patients.length}`)));
        if (judge.result.counts.cuts % wholeDaemonEvery !== 0) continue;
        const files = copied(cut.files);
        const place = join(folder, `daemon-${samples.length}`);
        samples.push(async () => {
          const problems = await runOn(files, gathered, place);
          return problems.map((problem) => `a daemon after ${cut.name}: ${problem}`);
        });
      }
    }
    problems.push(...results.flatMap((result) => result.problems));
    for (const start of samples) problems.push(...(await start()));
    const each = Math.ceil(rounds / cutsPerRecoveryCut / patients.length);
    const recoveries = await cutRecoveries(patients, each, { folder, random, library });
    problems.push(...recoveries.problems);
    return {
      counts: {
        ...total(results.map(({ counts }) => counts)),
        daemonsStarted: samples.length,
        ...recoveries.counts,
      },
      problems,
    };
  },
};

/** The store that a cut left, in a place of its own. */
function patientOf({ name, files }: Cut, { root, config }: Gathered, place: string): Patient {
  const moved = [...files].map(
    ([path, bytes]) => [join(place, relative(root, path)), Buffer.from(bytes)] as const,
  );
  return { name: `the recovery from ${name}`, root: place, files: new Map(moved), config };
}

/** Short lives get as many cuts as long ones: it is in them that names change. */
function* allCuts(lives: readonly Life[], rounds: number, random: () => number, judge: CutJudge) {
  for (const [index, life] of lives.entries()) {
    const upTo = (lifes: number) => Math.floor((rounds * lifes) / lives.length);
    const points = pointsIn(life, upTo(index + 1) - upTo(index), random);
    const contentsOf = (files: ReadonlyMap<string, Buffer>) => judge.contentsOf(files);
    yield* cutsOf(life, `life ${index}`, points, random, contentsOf);
  }
}

/** Half of them anywhere, half right behind the rare operations: of names, lengths, and files but the log. */
function pointsIn({ operations }: Life, count: number, random: () => number): number[] {
  const logs = new Set<number>();
  const rare = operations.flatMap((operation, index) => {
    if (operation.kind === "open" && operation.path.endsWith("-wal")) logs.add(operation.file);
    const { kind } = operation;
    if (kind === "syncBegin" || kind === "syncEnd") return [];
    return kind === "write" && logs.has(operation.file) ? [] : [index];
  });
  const points = Array.from({ length: count }, () => {
    const any = Math.floor(random() * operations.length);
    const chosen = rare[Math.floor(random() * rare.length)];
    const index = chosen === undefined || random() < 0.5 ? any : chosen + Math.floor(random() * 4);
    return Math.min(index + 1, operations.length);
  });
  return points.sort((a, b) => a - b);
}

function* cutsOf(
  life: Life,
  name: string,
  points: readonly number[],
  random: () => number,
  contentsOf: CutJudge["contentsOf"],
): Generator<Cut> {
  const { operations, base } = life;
  const commits = commitsIn(operations);
  const disk = new Disk(base);
  let next = 0;
  let applied = 0;
  let committed = contentsOf(base);
  for (const point of points) {
    let done: number | undefined;
    while ((commits[next]?.doneAt ?? operations.length) < point) done = commits[next++]?.writtenAt;
    if (done !== undefined) {
      while (applied <= done) disk.apply(at(operations, applied++));
      committed = contentsOf(disk.seen());
    }
    while (applied < point) disk.apply(at(operations, applied++));
    // Also when some of it is still to be written: an earlier round of the log may have left the very same bytes there.
    const coming = commits[next]?.writtenAt;
    yield {
      name: `the cut behind operation ${point} of ${name}`,
      life,
      monotonicMs: at(operations, point - 1).monotonicMs,
      files: disk.cut(random),
      committed,
      begun: () =>
        coming === undefined ? undefined : contentsOf(disk.seenAfter(operations.slice(point, coming + 1))),
    };
  }
}

function total(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const counts of all) {
    for (const [name, count] of Object.entries(counts)) {
      sum[name] = name.startsWith("longest") ? Math.max(sum[name] ?? 0, count) : (sum[name] ?? 0) + count;
    }
  }
  return sum;
}

/** The disk goes on with the same bytes. */
function copied(files: ReadonlyMap<string, Buffer>): Map<string, Buffer> {
  return new Map([...files].map(([path, bytes]) => [path, Buffer.from(bytes)]));
}
