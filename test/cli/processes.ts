import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const launcher = fileURLToPath(new URL("../../bin/headgate.js", import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly pid: number | undefined;
  readonly done: Promise<Outcome>;
  stop(signal: NodeJS.Signals): void;
  /** Resolves with the output so far once it holds `text`. */
  shows(text: string): Promise<string>;
  /** What it said on stderr so far. */
  errors(): string;
}

/** `headgate` with these arguments, in `folder`, outside of any IoT Edge environment. */
export function startProcess(
  folder: string,
  args: readonly string[],
  environment: Record<string, string> = {},
): Running {
  const { IOTEDGE_WORKLOADURI: _1, EdgeHubConnectionString: _2, ...clean } = process.env;
  const child = spawn(process.execPath, [launcher, ...args], {
    cwd: folder,
    env: { ...clean, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  const watchers: (() => void)[] = [];
  child.stdout.on("data", (part) => {
    out += part;
    for (const watcher of watchers) watcher();
  });
  child.stderr.on("data", (part) => {
    err += part;
    for (const watcher of watchers) watcher();
  });
  const done = new Promise<Outcome>((resolve) => child.on("close", (code) => resolve({ code, out, err })));
  return {
    pid: child.pid,
    done,
    stop: (signal) => void child.kill(signal),
    shows: (text) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (out.includes(text) || err.includes(text)) resolve(out);
        };
        watchers.push(look);
        void done.then(() => reject(new Error(`ended without showing ${text}: ${out}${err}`)));
        look();
      }),
    errors: () => err,
  };
}
