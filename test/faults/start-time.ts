/**
 * How much longer a gateway takes to its first committed reading on a store of a gigabyte than on an empty one, after an
 * orderly stop, after SIGKILL, and after SIGKILL with none of the store's file in the page cache, as after a boot.
 *
 *     npm run test:start -- [--rounds 5] [--bytes 1000000000] [--json]
 *
 * Both are started in turn, so that whatever else the machine does strikes both. Exit code 0 when the median of the
 * differences is at most 500 ms in each case, 1 otherwise.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median } from "./soak/trend.ts";
import { makeBigStore } from "./start-time/big-store.ts";
import {
  freePort,
  MeasuredStart,
  type StartTimes,
  sourceName,
  startConfig,
} from "./start-time/measured-start.ts";

const longestDifferenceMs = 500;
/** 20,000 readings: two snapshots, and the write-ahead log's bound. */
const workRequests = 100;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    bytes: { type: "string", default: "1000000000" },
    json: { type: "boolean", default: false },
  },
});

const say = (line: string) => {
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
};

const cases = ["stopped", "killed", "killed, cold"] as const;
type Case = (typeof cases)[number];

/** Tells the kernel to forget what it has of a folder's files (dd(1), `nocache`). */
function forget(folder: string): void {
  for (const name of readdirSync(folder))
    if (name.startsWith("headgate.db")) {
      const file = join(folder, name);
      execFileSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"], {
        stdio: "ignore",
      });
    }
}

async function measure(start: MeasuredStart, store: string, how: Case): Promise<StartTimes> {
  if (how !== "stopped") {
    await start.start();
    await start.work(workRequests);
    await start.kill();
    if (how === "killed, cold") forget(store);
  }
  const times = await start.start();
  await start.stop();
  return times;
}

interface Pair {
  readonly empty: StartTimes;
  readonly big: StartTimes;
}

function resultOf(how: Case, pairs: readonly Pair[]) {
  const middle = (of: (pair: Pair) => number) => Math.round(median(pairs.map(of)));
  return {
    how,
    emptyMs: middle(({ empty }) => empty.ms),
    bigMs: middle(({ big }) => big.ms),
    differenceMs: middle(({ empty, big }) => big.ms - empty.ms),
    emptyCpuMs: middle(({ empty }) => empty.cpuMs),
    bigCpuMs: middle(({ big }) => big.cpuMs),
    emptyReadBytes: middle(({ empty }) => empty.readBytes),
    bigReadBytes: middle(({ big }) => big.readBytes),
    cpuDifferenceMs: middle(({ empty, big }) => big.cpuMs - empty.cpuMs),
  };
}

const describe = ({ ms, cpuMs, readBytes }: StartTimes): string =>
  `${Math.round(ms)} ms (CPU ${cpuMs}, ${Math.round(readBytes / 1_024)} KiB read)`;

async function main(folder: string): Promise<number> {
  const hubPort = await freePort();
  const [emptyPort, bigPort] = [await freePort(), await freePort()];
  const bigFolder = join(folder, "big");
  const bigStore = join(bigFolder, "store");
  mkdirSync(bigStore, { recursive: true });
  const began = performance.now();
  const made = makeBigStore(
    bigStore,
    startConfig(bigStore, bigPort, hubPort),
    sourceName,
    Number(values.bytes),
  );
  say(
    `${made.entries} entries wait in ${made.bytes} bytes, made in ${Math.round((performance.now() - began) / 1_000)} s`,
  );
  const big = new MeasuredStart(bigFolder, bigStore, bigPort, hubPort);
  const emptyFolder = join(folder, "empty");
  const emptyStore = join(emptyFolder, "store");
  const empty = new MeasuredStart(emptyFolder, emptyStore, emptyPort, hubPort);
  const results = [];
  for (const how of cases) {
    const pairs: Pair[] = [];
    for (let round = 1; round <= Number(values.rounds); round++) {
      rmSync(emptyStore, { recursive: true, force: true });
      const pair = { empty: await measure(empty, emptyStore, how), big: await measure(big, bigStore, how) };
      pairs.push(pair);
      say(`  ${how}, round ${round}: empty ${describe(pair.empty)}, big ${describe(pair.big)}`);
    }
    const result = resultOf(how, pairs);
    results.push(result);
    say(
      `${how}: empty ${result.emptyMs} ms, big ${result.bigMs} ms, ${result.differenceMs} ms longer (CPU ${result.emptyCpuMs}, ${result.bigCpuMs}, ${result.cpuDifferenceMs} ms)`,
    );
  }
  const isGood = results.every(({ differenceMs }) => differenceMs <= longestDifferenceMs);
  say(isGood ? "within the goal" : `more than ${longestDifferenceMs} ms longer`);
  if (values.json) process.stdout.write(`${JSON.stringify({ ok: isGood, made, results })}\n`);
  return isGood ? 0 : 1;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
const folder = realpathSync(mkdtempSync(join(tmpdir().length > 40 ? "/tmp" : tmpdir(), "headgate-start-")));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
process.exit(
  await main(folder).catch((error) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    return 1;
  }),
);
