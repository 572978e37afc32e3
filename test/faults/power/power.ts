import { join } from "node:path";
import type { Part, PartOptions, PartResult } from "../part.ts";
import { compileShim } from "../shim/shim.ts";
import { commitsIn } from "./commits.ts";
import { type Cut, CutJudge } from "./cut-judge.ts";
import { Disk } from "./disk.ts";
import { gather, type Life } from "./gather.ts";
import { runOn } from "./whole-daemon.ts";

/** Every so many cuts a whole daemon starts on what is left. */
const wholeDaemonEvery = 50;

/**
 * The power is cut at random operations of recorded lives. What the disk may hold then is built, and a store is
 * opened on it. A round is a cut.
 */
export const power: Part = {
  name: "power",
  about: "power cuts at random points of a recorded disk",
  async run(options: PartOptions): Promise<PartResult> {
    const { rounds = 200, folder, random, say } = options;
    const library = compileShim(folder);
    // Lives long enough for a checkpoint each (1,000 pages); short ones for cuts while a store is made or recovered.
    const gathered = await gather(library, options, [500, 6_000, 6_000, 1_000]);
    const { lives, journal, sent } = gathered;
    const operations = lives.map((life) => life.operations.length);
    say(
      `recorded ${operations.join(" + ")} operations, ${journal.position} commits with ${journal.lines.length} frames of ${sent.length} sent`,
    );
    const judge = new CutJudge(gathered, join(folder, "cut"));
    const samples: Cut[] = [];
    let done = 0;
    for (const [index, life] of lives.entries()) {
      // Short lives get as many cuts as long ones: it is in them that names change.
      const cuts =
        Math.floor((rounds * (index + 1)) / lives.length) - Math.floor((rounds * index) / lives.length);
      const positionOf = (files: ReadonlyMap<string, Buffer>) => judge.positionOf(files);
      for (const cut of cutsOf(life, index, cuts, { random, positionOf })) {
        judge.judge(cut);
        if (++done % wholeDaemonEvery === 0) samples.push({ ...cut, files: copied(cut.files) });
      }
    }
    const { counts, problems } = judge.result;
    let started = 0;
    for (const { name, files } of samples) {
      const found = await runOn(files, gathered, join(folder, `daemon-${started++}`));
      problems.push(...found.map((problem) => `a daemon after ${name}: ${problem}`));
    }
    return { counts: { ...counts, daemonsStarted: started }, problems };
  },
};

function* cutsOf(
  life: Life,
  index: number,
  count: number,
  {
    random,
    positionOf,
  }: { random: () => number; positionOf: (files: ReadonlyMap<string, Buffer>) => number },
): Generator<Cut> {
  const { operations, base } = life;
  const points = Array.from({ length: count }, () => 1 + Math.floor(random() * operations.length)).sort(
    (a, b) => a - b,
  );
  const commits = commitsIn(operations);
  const disk = new Disk(base);
  let next = 0;
  let applied = 0;
  let committed = positionOf(base);
  for (const point of points) {
    let done: number | undefined;
    while ((commits[next]?.doneAt ?? operations.length) < point) done = commits[next++]?.writtenAt;
    if (done !== undefined) {
      while (applied <= done) disk.apply(at(operations, applied++));
      committed = positionOf(disk.seen());
    }
    while (applied < point) disk.apply(at(operations, applied++));
    yield {
      name: `the cut behind operation ${point} of life ${index}`,
      begunMs: at(operations, 0).monotonicMs,
      monotonicMs: at(operations, point - 1).monotonicMs,
      files: disk.cut(random),
      committed,
    };
  }
}

/** The disk goes on with the same bytes. */
function copied(files: ReadonlyMap<string, Buffer>): Map<string, Buffer> {
  return new Map([...files].map(([path, bytes]) => [path, Buffer.from(bytes)]));
}

function at<T>(list: readonly T[], index: number): T {
  const item = list[index];
  if (item === undefined) throw new Error(`there is no operation ${index}`);
  return item;
}
