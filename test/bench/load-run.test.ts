import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runLoad } from "../../bench/load-run.ts";
import { startMosquitto } from "../../bench/mosquitto.ts";
import { bare } from "../../bench/programs/bare.ts";
import { headgate } from "../../bench/programs/headgate.ts";
import { gatewayOf } from "../../bench/ways.ts";
import { Children } from "../faults/soak/children.ts";

const hasMosquitto = existsSync("/usr/sbin/mosquitto") || spawnSync("mosquitto", ["-h"]).error === undefined;

async function aSecondOfTheMainJob() {
  const children = new Children();
  const load = { rate: 200, devices: 3, qos: 1, warmUpMs: 500, measuredMs: 1_500 } as const;
  const setting = { from: "sources", quick: true, children, say: () => undefined } as const;
  await bare.prepare();
  const ways = (["serial", "http"] as const).map((way) => gatewayOf(way, load.devices, 5, setting));
  for (const program of [bare, headgate({ from: "sources" }), ...ways]) {
    const figures = await runLoad(program, load, children);
    // Whether they came in time is the machine's affair.
    expect(figures.problems.filter((problem) => /of \d+ readings/.test(problem))).toEqual([]);
    expect(figures.cpuSecondsPerMillion).toBeGreaterThan(0);
    expect(figures.rssBytes).toBeGreaterThan(10e6);
    expect(figures.commits === undefined).toBe(program === bare);
  }
}

async function withoutABroker() {
  const folder = mkdtempSync(join(tmpdir(), "headgate-test-"));
  await expect(startMosquitto(folder, new Children())).rejects.toThrow("apt-get install mosquitto");
}

test(
  hasMosquitto
    ? "a second of the main job: every reading is in a window, of the bare program and of the gateway on each way in"
    : "without Mosquitto the benchmark says what to do",
  hasMosquitto ? aSecondOfTheMainJob : withoutABroker,
  90_000,
);
