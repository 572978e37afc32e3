/** The main job with one command, and its means recomputed from what the devices really sent. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const launcher = fileURLToPath(new URL("../../bin/headgate.js", import.meta.url));
const ranges = { temperature: [-40, 80], pressure: [600, 1600], humidity: [0, 100] } as const;
type Channel = keyof typeof ranges;

interface Entry {
  readonly kind: string;
  readonly id: string;
  readonly revision: number;
  readonly device: string;
  readonly windowStart: string;
  readonly windowEnd: string;
  readonly count: number;
  readonly bad: number;
  readonly channels: Record<
    Channel,
    { mean?: number; count: number; bad: number; min?: number; max?: number }
  >;
}
interface Logged {
  readonly device: string;
  readonly line: string;
  readonly values?: Record<Channel, number>;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-simulate-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function simulate(args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [launcher, "simulate", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (part) => {
      out += part;
    });
    child.stderr.on("data", (part) => {
      err += part;
    });
    child.on("close", (code) => resolve({ code, out, err }));
  });
}

test("simulate --json prints messages whose means equal a computation from the field log", async () => {
  const fieldLog = join(folder, "field.jsonl");
  const { code, out, err } = await simulate([
    ...["--for", "14s", "--json", "--window", "1s", "--devices", "3", "--field-log", fieldLog],
  ]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const messages = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { body: Entry[]; output: string });
  expect(messages.length).toBeGreaterThanOrEqual(5);
  expect(messages.every((message) => message.output === "readings")).toBe(true);

  const logged = readFileSync(fieldLog, "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Logged);
  const sent = logged.filter((entry) => entry.values !== undefined);
  const all = messages.flatMap((message) => message.body);
  const entries = all.filter(({ kind }) => kind === "window");
  expect(entries.length).toBeGreaterThan(10);
  for (const entry of entries) {
    const inWindow = sent.filter((reading) => {
      const timeMs = Number(/"time":(\d+)/.exec(reading.line)?.[1]);
      const started = timeMs >= Date.parse(entry.windowStart) && timeMs < Date.parse(entry.windowEnd);
      return reading.device === entry.device && started;
    });
    expect({ ...entry, count: inWindow.length }).toEqual(entry);
    for (const channel of Object.keys(ranges) as Channel[]) {
      const values = inWindow.map((reading) => {
        const raw = reading.values?.[channel] ?? Number.NaN;
        // The one calibration of the simulation, as its configuration states it.
        return reading.device === "env-1" && channel === "temperature" ? raw * 1.02 - 0.4 : raw;
      });
      const good = values.filter((value) => value >= ranges[channel][0] && value <= ranges[channel][1]);
      expect(entry.channels[channel].count).toBe(good.length);
      expect(entry.channels[channel].bad).toBe(values.length - good.length);
      if (good.length === 0) continue;
      expect(entry.channels[channel].mean).toBeCloseTo(good.reduce((a, b) => a + b, 0) / good.length, 9);
      expect(entry.channels[channel].max).toBe(Math.max(...good));
    }
  }
}, 90_000);

test("without --json a person sees the flow, the windows and what can be poked, and SIGINT ends it with 0", async () => {
  const child = spawn(process.execPath, [launcher, "simulate", "--window", "500ms"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  await new Promise<void>((resolve) => {
    child.stdout.on("data", (part) => {
      out += part;
      if (/flow {2}frames [1-9]/.test(out) && /env-2 .*temperature/.test(out)) resolve();
    });
  });
  child.kill("SIGINT");
  expect(await ended).toBe(0);
  expect(out).toMatch(
    /a stand-in for the sentiment container[^\n]+\n.*\n.*http:\/\/127\.0\.0\.1:\d+\/sentiment\n/,
  );
  expect(out).toMatch(/module twin +http:\/\/127\.0\.0\.1:\d+\/twins\/simulated\/modules\/gateway/);
}, 60_000);

test("options out of range are refused with 78", async () => {
  for (const args of [
    ["--window", "10s"],
    ["--devices", "0"],
    ["--for", "soon"],
    ["--seed", "x"],
  ]) {
    const { code, err } = await simulate(args);
    expect(code).toBe(78);
    expect(err).toContain(args[0]);
  }
});

test("a reader of --json that goes away, as `head -1` does, ends it with 0", async () => {
  const child = spawn(process.execPath, [launcher, "simulate", "--json", "--window", "500ms"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let err = "";
  child.stderr.on("data", (part) => {
    err += part;
  });
  const ended = new Promise<number | null>((resolve) => child.on("exit", resolve));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.destroy();
  expect({ code: await ended, err }).toEqual({ code: 0, err: "" });
}, 60_000);
