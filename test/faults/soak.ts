/**
 * The soak: the gateway under the load of ten devices for as long as is wanted, with a hub that goes away, is slow and
 * late, and stays away once until the store is full. Every reading must be accounted for at the end, the store's files
 * must keep to their bound, and memory must not grow.
 *
 *     npm run test:soak -- [--minutes 30] [--rate 5000] [--seed N] [--max-bytes 4194304] [--heap] [--json]
 *
 * Devices, broker (mosquitto where it is installed, aedes otherwise) and gateway are processes of their own; the hub is
 * this one. A sample every ten seconds is a line of `samples.jsonl` in the folder that is printed; `--heap` adds what V8
 * holds, per thread, in `heap.jsonl`. Exit code 0 when nothing was found, 1 otherwise; the folder is kept then.
 */
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { judge } from "./soak/judge.ts";
import { runSoak } from "./soak/soak-run.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "30" },
    rate: { type: "string", default: "5000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    "max-bytes": { type: "string", default: "4194304" },
    heap: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});

const say = (line: string) => {
  (values.json ? process.stderr : process.stdout).write(`${line}\n`);
};

function number(name: "minutes" | "rate" | "seed" | "max-bytes"): number {
  const value = Number(values[name]);
  if (Number.isFinite(value) && value >= 0) return value;
  process.stderr.write(`test:soak: --${name} takes a number\n`);
  process.exit(2);
}

async function main(): Promise<number> {
  const options = {
    minutes: number("minutes"),
    rate: number("rate"),
    seed: number("seed"),
    maxBytes: number("max-bytes"),
  };
  // A unix socket's path has at most 107 bytes.
  const system = tmpdir().length > 40 ? "/tmp" : tmpdir();
  const folder = realpathSync(mkdtempSync(join(system, "headgate-soak-")));
  say(`seed ${options.seed}, ${options.minutes} minutes at ${options.rate} readings/s`);
  const run = await runSoak({ ...options, folder, heap: values.heap, say });
  const { figures, problems } = judge(run, options.maxBytes);
  for (const [name, figure] of Object.entries(figures)) say(`  ${name}: ${figure}`);
  for (const problem of problems) say(`  PROBLEM ${problem}`);
  const isGood = problems.length === 0;
  say(isGood ? "nothing found" : `${problems.length} problems, see ${folder}`);
  if (values.json)
    process.stdout.write(
      `${JSON.stringify({ ...options, ok: isGood, figures, problems, ledger: run.ledger })}\n`,
    );
  if (isGood && !values.keep) rmSync(folder, { recursive: true, force: true });
  return isGood ? 0 : 1;
}

// Ends the processes that are still there.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(1));
process.exit(
  await main().catch((error) => {
    process.stderr.write(`${error instanceof Error ? error.stack : error}\n`);
    return 1;
  }),
);
