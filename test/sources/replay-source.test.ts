/** Captures in real files, played into a sink with a clock that only sleeping moves on. */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ReplaySourceConfig, SourceConfig } from "../../src/config/schema.ts";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { formatHeader, formatLine } from "../../src/sources/capture.ts";
import { ReplaySource } from "../../src/sources/replay-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";

let folder: string;
let path: string;
let source: ReplaySource | undefined;
let frames: { readonly text: string; readonly origin: string | undefined; readonly atMs: number }[];
let discards: [string, number][];
let statuses: SourceStatus[];
/** Bytes that the sink still takes. */
let room: number;
let nowMs: number;

const patient: Clock = {
  ...systemClock,
  monotonic: () => nowMs,
  sleep: async (ms, signal) => {
    await systemClock.sleep(0, signal);
    nowMs += ms;
  },
};

beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder, "capture.jsonl");
  frames = [];
  discards = [];
  statuses = [];
  room = Number.POSITIVE_INFINITY;
  nowMs = 5_000;
});
afterEach(async () => {
  await source?.stop();
  source = undefined;
});

const header = formatHeader({
  by: "0.1.0",
  source: "oven",
  startedAt: "2026-11-27T12:00:00.000Z",
  config: { type: "serial" } as SourceConfig,
});
const frame = (t: number, text: string, origin?: string) =>
  formatLine({ t, bytes: Buffer.from(text, "latin1"), origin });
const write = (...lines: string[]) => writeFileSync(path, lines.map((line) => `${line}\n`).join(""));

function play(more: Partial<ReplaySourceConfig> = {}, clock = patient): ReplaySource {
  const config = { path, speed: 1, repeat: "once", maxFrameBytes: 64, ...more } as ReplaySourceConfig;
  source = new ReplaySource(
    config,
    {
      frame: (bytes, origin) => {
        if (bytes.length > room) return false;
        room -= bytes.length;
        frames.push({ text: Buffer.from(bytes).toString("latin1"), origin, atMs: nowMs - 5_000 });
        return true;
      },
      discard: (reason, bytes) => void discards.push([reason, bytes]),
      hasRoom: (bytes) => bytes <= room,
      committed: () => Promise.resolve(),
      status: (status) => void statuses.push(status),
    },
    clock,
  );
  source.start();
  return source;
}
const state = () => statuses.at(-1)?.state;
const texts = () => frames.map(({ text }) => text);

test("frames come as they were recorded, at their times, and then the source has ended", async () => {
  write(header, frame(100, "a"), frame(350.5, "\xff\x00", "t/1"), frame(350.5, "c"));
  play();
  await until("the end", () => state() === "stopped");
  expect(frames).toEqual([
    { text: "a", origin: undefined, atMs: 100 },
    { text: "\xff\x00", origin: "t/1", atMs: 350.5 },
    { text: "c", origin: undefined, atMs: 350.5 },
  ]);
  expect(statuses).toEqual([
    { state: "opening", reason: undefined },
    { state: "open", reason: undefined },
    { state: "stopped", reason: "the capture is at its end, after 3 frames" },
  ]);
});

test("at another speed the times between are shorter or longer, and at 0 there are none", async () => {
  write(header, frame(1_000, "a"), frame(3_000, "b"));
  play({ speed: 10 });
  await until("the end", () => state() === "stopped");
  expect(frames.map(({ atMs }) => atMs)).toEqual([100, 300]);
  frames = [];
  nowMs = 5_000;
  play({ speed: 0 });
  await until("both", () => frames.length === 2);
  expect(frames.map(({ atMs }) => atMs)).toEqual([0, 0]);
});

test("without room it waits, and nothing is lost", async () => {
  write(header, ...Array.from({ length: 100 }, (_, i) => frame(0, `frame ${i}`)));
  room = 60;
  play({ speed: 0 });
  await until("the room is used up", () => frames.length > 5);
  const taken = frames.length;
  await systemClock.sleep(50);
  expect(frames.length).toBe(taken);
  expect(state()).toBe("open");
  room = Number.POSITIVE_INFINITY;
  await until("the end", () => state() === "stopped");
  expect(texts()).toEqual(Array.from({ length: 100 }, (_, i) => `frame ${i}`));
});

test("damaged lines are counted and the rest is played; recorded discards are discards again", async () => {
  write(
    header,
    "{torn",
    frame(0, "a"),
    formatLine({ t: 1, discard: "overlong", bytes: 99 }),
    frame(2, "x".repeat(65)),
    `{"t":3,"text":"${"y".repeat(100_000)}"}`,
    frame(4, "b"),
  );
  writeFileSync(path, '{"t":5,"te', { flag: "a" });
  play();
  await until("the end", () => state() === "stopped");
  expect(texts()).toEqual(["a", "b"]);
  expect(discards).toEqual([
    ["malformed", 5],
    ["overlong", 99],
    ["overlong", 65],
    ["overlong", 100_017],
    ["truncated", 10],
  ]);
});

test("a file that is not there is absent, and played when it comes", async () => {
  play();
  await until("absent", () => state() === "absent");
  expect(statuses.at(-1)?.reason).toContain(path);
  write(header, frame(0, "a"));
  await until("the end", () => state() === "stopped");
  expect(texts()).toEqual(["a"]);
});

test.each([
  ["empty", ""],
  ["no capture", '{"t":0,"text":"a"}\n{"t":0,"text":"b"}\n'],
  ["of a later format", '{"headgateCapture":2}\n{"t":0,"text":"a"}\n'],
])("a file that is %s is a failure with its reason, and no frame", async (_, text) => {
  writeFileSync(path, text);
  play();
  await until("failed", () => state() === "failed");
  expect(statuses.at(-1)?.reason).toContain(path);
  expect(frames).toEqual([]);
  expect(discards).toEqual([]);
});

test("a folder in place of the file is a failure", async () => {
  play({ path: folder });
  await until("failed", () => state() === "failed");
});

test("a pipe in place of the file is a failure, and is not waited for", async () => {
  execFileSync("mkfifo", [path]);
  play();
  await until("failed", () => state() === "failed");
  expect(statuses.at(-1)?.reason).toBe(`capture ${path}: ${path} is no file`);
  await source?.stop();
  expect(state()).toBe("stopped");
});

test("for ever begins anew at the end, with the times of the first time", async () => {
  write(header, frame(10, "a"), frame(30, "b"));
  play({ repeat: "forever" });
  await until("several times", () => frames.length >= 7);
  await source?.stop();
  expect(texts().slice(0, 6)).toEqual(["a", "b", "a", "b", "a", "b"]);
  expect(frames.slice(0, 6).map(({ atMs }) => atMs)).toEqual([10, 30, 40, 60, 70, 90]);
  expect(statuses.at(-1)).toEqual({ state: "stopped", reason: undefined });
});

test("a capture without frames that is played for ever is looked at now and then", async () => {
  write(header);
  const pauses: number[] = [];
  const clock: Clock = {
    ...patient,
    sleep: async (ms, signal) => {
      pauses.push(ms);
      await patient.sleep(ms, signal);
    },
  };
  play({ repeat: "forever" }, clock);
  await until("several times", () => pauses.length >= 3);
  await source?.stop();
  expect(new Set(pauses)).toEqual(new Set([1_000]));
});

test("it stops at once in the middle of a pause", async () => {
  write(header, frame(0, "a"), frame(3_600_000, "b"));
  play({}, systemClock);
  await until("the first", () => frames.length === 1);
  await source?.stop();
  expect(state()).toBe("stopped");
  expect(texts()).toEqual(["a"]);
});

test("any frames come back as they were written, whatever their bytes", async () => {
  const captured = fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(captured, async (all) => {
      frames = [];
      write(header, ...all.map((bytes, t) => formatLine({ t, bytes })));
      const one = play({ speed: 0 });
      await until("the end", () => state() === "stopped");
      await one.stop();
      expect(texts()).toEqual(all.map((bytes) => Buffer.from(bytes).toString("latin1")));
    }),
    { numRuns: 40 },
  );
});
