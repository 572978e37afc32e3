import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { answers, mosquittoFile } from "../test/faults/soak/broker.ts";
import type { Children } from "../test/faults/soak/children.ts";
import { freePort } from "../test/faults/start-time/measured-start.ts";
import { monotonicMs } from "../test/faults/time.ts";
import { until } from "../test/support/until.ts";

const places = ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"];

/** @throws Error with what to do when it is not installed */
function program(): string {
  // Its help ends with code 1; only a missing program is an error.
  const found = places.find((place) =>
    place.startsWith("/") ? existsSync(place) : spawnSync(place, ["-h"]).error === undefined,
  );
  if (found === undefined)
    throw new Error("the benchmark needs the broker Mosquitto; install it (apt-get install mosquitto)");
  return found;
}

export interface Mosquitto {
  readonly port: number;
  readonly url: string;
  readonly pid: number;
  /** Resolves with CLOCK_MONOTONIC ms when a client subscribed to the filter. */
  subscribed(filter: string): Promise<number>;
  stop(): Promise<void>;
}

/** A broker of its own for each run; it drops nothing. It says who subscribes, so that nobody has to ask. */
export async function startMosquitto(
  folder: string,
  children: Children,
  wantedPort?: number,
): Promise<Mosquitto> {
  const port = wantedPort ?? (await freePort());
  const file = mosquittoFile(folder, port, ["log_dest stderr", "log_type subscribe"]);
  const child: ChildProcess = spawn(program(), ["-c", file], { stdio: ["ignore", "ignore", "pipe"] });
  children.add(child);
  const subscriptions = new Map<string, number>();
  const waiting = new Set<() => void>();
  if (child.stderr)
    createInterface(child.stderr).on("line", (line) => {
      const filter = line.split(" ").at(-1);
      if (filter !== undefined && !subscriptions.has(filter)) subscriptions.set(filter, monotonicMs());
      for (const look of waiting) look();
    });
  await until("the broker listens", () => answers(port));
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    subscribed: (filter) =>
      new Promise((resolve) => {
        const look = () => {
          const atMs = subscriptions.get(filter);
          if (atMs === undefined) return;
          waiting.delete(look);
          resolve(atMs);
        };
        waiting.add(look);
        look();
      }),
    stop: () => children.end(child),
  };
}
