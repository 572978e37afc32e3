import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import type { Children } from "../../test/faults/soak/children.ts";

/** What a program is told of the broker and where its files go. */
export interface Place {
  /** Empty, of this run alone. */
  readonly folder: string;
  readonly url: string;
  readonly children: Children;
}

/** Numbers of the program's own, such as its commits; they only grow. */
export type Counters = Readonly<Record<string, number>>;

export interface RunningProgram {
  readonly child: ChildProcess;
  readonly counters?: () => Promise<Counters>;
}

/** One of those that do the same job. */
export interface Program {
  readonly name: string;
  /** Makes what it needs, once; may take a minute the first time. */
  prepare(): Promise<void>;
  start(place: Place): RunningProgram;
}

/** Starts a Node process whose output goes to `output.log`. */
export function startNode(
  { folder, children }: Place,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): ChildProcess {
  const log = openSync(join(folder, "output.log"), "a");
  const child = spawn(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  children.add(child);
  return child;
}
