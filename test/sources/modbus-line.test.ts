/** Units whose bytes are written by hand, on a pseudo-terminal, and the real source before them. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { ModbusDevice } from "../../src/sources/modbus-device.ts";
import { answered, exception, type Heard, Units } from "../support/modbus/units.ts";
import { until } from "../support/until.ts";
import { modbusConfig, type RunningModbus, RunningModbusSources, slowly } from "./running-modbus.ts";

let units: Units;
let sources: RunningModbusSources;

beforeEach(() => {
  units = new Units();
  sources = new RunningModbusSources();
});
afterEach(async () => {
  await sources.stop();
  units.cable.stop();
});

const line = (more: JsonObject = {}) => ({
  transport: "rtu",
  path: units.cable.path,
  unit: 1,
  timeoutMs: 5_000,
  intervalMs: 20,
  registers: { a: { address: 100 }, b: { address: 101 } },
  ...more,
});
/** For answers that do not come. */
const brief = { timeoutMs: 60 };
const rtu = (more: JsonObject = {}) => sources.start(line(more));
const right = { 100: 100, 101: 101 };
/** What is wrong passes: the source comes back to right answers, and took nothing else for one. */
async function recovers(one: RunningModbus) {
  units.behave = (request, line) => line.write(answered(request));
  const before = one.frames.length;
  await until("it recovers", () => one.frames.length > before + 2);
  expect(one.state).toBe("open");
  for (const frame of one.frames) expect(frame).toEqual(right);
}

test("two neighbours are one request, and the answer is a frame", async () => {
  const one = rtu();
  await until("frames", () => one.frames.length > 2);
  expect(one.frames[0]).toEqual(right);
  expect(units.heard[0]).toMatchObject({ unit: 1, code: 3, address: 100, count: 2 });
  expect(one.state).toBe("open");
  expect(one.discards).toEqual([]);
});

test("an answer that comes byte by byte is one frame", async () => {
  units.behave = (request, line) => {
    void slowly(answered(request), (byte) => line.write(byte));
  };
  const one = rtu();
  await until("frames", () => one.frames.length > 2);
  for (const frame of one.frames) expect(frame).toEqual(right);
  expect(one.discards).toEqual([]);
});

test("garbage before the answer is counted and skipped", async () => {
  units.behave = (request, line) =>
    line.write(Buffer.concat([Buffer.from([0, 0xff, 1, 3]), answered(request)]));
  const one = rtu();
  await until("frames", () => one.frames.length > 2);
  for (const frame of one.frames) expect(frame).toEqual(right);
  expect(one.discards.slice(0, 2)).toEqual([
    ["stray", 4],
    ["stray", 4],
  ]);
});

test.each([
  [
    "badChecksum",
    9,
    (request: Heard) => Buffer.concat([answered(request).subarray(0, 8), Buffer.from([0])]),
    "an answer whose checksum does not hold for holding 100 to 101",
  ],
  [
    "truncated",
    6,
    (request: Heard) => answered(request).subarray(0, 6),
    "an answer that is cut off for holding 100 to 101",
  ],
] as const)("an answer that is %s is that discard, and no reading", async (discard, bytes, answer, told) => {
  units.behave = (request, line) => line.write(answer(request));
  const one = rtu(brief);
  await until("it is found", () => one.counted(discard).length > 1);
  expect(one.discards[0]).toEqual([discard, bytes]);
  expect(one.state).toBe("failed");
  expect(one.reason).toContain(told);
  expect(one.frames).toEqual([]);
  await recovers(one);
});

test.each([
  ["another unit", (request: Heard) => answered({ ...request, unit: 2 }, () => 666)],
  ["another function", (request: Heard) => answered({ ...request, code: 4 }, () => 666)],
  ["fewer registers", (request: Heard) => answered({ ...request, count: 1 }, () => 666)],
  ["more registers", (request: Heard) => answered({ ...request, count: 3 }, () => 666)],
  ["no Modbus", () => Buffer.from("login: \r\nPassword: \r\n")],
] as const)("what answers with %s has not answered, and its bytes are stray", async (_, answer) => {
  units.behave = (request, line) => line.write(answer(request));
  const one = rtu(brief);
  await until("it is missed", () => one.counted("noAnswer").length > 1);
  await until("its bytes are counted", () => one.counted("stray").length > 0);
  expect(one.state).toBe("absent");
  expect(one.frames).toEqual([]);
  await recovers(one);
});

test("an answer that comes too late is never that of another question, nor of another unit", async () => {
  // The first unit is 40 to 140 ms late, each time: its answers meet the questions after them.
  const late = [250, 340, 300, 240, 320];
  let count = 0;
  units.behave = (request, line) => {
    const delay = request.unit === 1 ? (late[count++ % late.length] ?? 0) : 0;
    const value = request.unit === 1 ? 666 : 7;
    setTimeout(() => line.write(answered(request, () => value)), delay);
  };
  const one = rtu({ registers: { a: { address: 100 }, b: { address: 200 } }, timeoutMs: 200 });
  const two = rtu({ unit: 2, registers: { a: { address: 100 }, b: { address: 200 } } });
  await until("the other goes on", () => two.frames.length > 30);
  await until("the first was asked often", () => one.counted("noAnswer").length > 4);
  for (const frame of two.frames) for (const value of Object.values(frame)) expect(value).toBe(7);
  expect(one.frames).toEqual([]);
  const strays = [...one.counted("stray"), ...two.counted("stray")];
  expect(strays.length).toBeGreaterThan(0);
});

test("an exception for one request leaves the others, and the state tells it", async () => {
  units.behave = (request, line) =>
    line.write(request.address === 200 ? exception(request, 2) : answered(request));
  const registers = {
    a: { address: 100 },
    b: { address: 101 },
    c: { address: 200, type: "float32" },
    d: { address: 300 },
  };
  const one = rtu({ registers });
  await until("frames", () => one.frames.length > 2);
  for (const frame of one.frames) expect(frame).toEqual({ ...right, 300: 300 });
  expect(one.state).toBe("open");
  expect(one.reason).toBe("exception 2 (illegal data address) for holding 200 to 201");
  expect(one.counted("deviceException").length).toBeGreaterThanOrEqual(one.frames.length);
  units.behave = (request, line) => line.write(answered(request));
  await until("nothing is wrong any more", () => one.state === "open" && one.reason === "");
});

test("a unit that refuses everything is failed, with unit and exception in its reason", async () => {
  units.behave = (request, line) => line.write(exception(request, 6));
  const one = rtu();
  await until("it is failed", () => one.state === "failed");
  expect(one.reason).toBe(
    `unit 1 of ${units.cable.path}: exception 6 (server device busy) for holding 100 to 101`,
  );
  expect(one.counted("noAnswer")).toEqual([]);
  await recovers(one);
});

test("a request that is never answered is asked less and less, and the others are read", async () => {
  units.behave = (request, line) => {
    if (request.address !== 50) line.write(answered(request));
  };
  const one = rtu({ registers: { a: { address: 50 }, b: { address: 100 }, c: { address: 101 } }, ...brief });
  await until("frames", () => one.frames.length > 40);
  for (const frame of one.frames) expect(frame).toEqual(right);
  expect(one.counted("noAnswer").length).toBeLessThan(15);
  await until("it is told", () => one.reason === "no answer for holding 50");
});

test("an absent unit costs its neighbour no more than its timeout per try, and comes back by itself", async () => {
  let isThere = false;
  units.behave = (request, line) => {
    if (request.unit === 2 || isThere) line.write(answered(request));
  };
  const absent = rtu({ timeoutMs: 200 });
  const steady = rtu({ unit: 2 });
  await until("it is absent", () => absent.state === "absent");
  expect(absent.reason).toBe(`unit 1 of ${units.cable.path}: no answer within 200 ms`);
  await until("the neighbour goes on", () => steady.frames.length > 60);
  const asked = units.heard.map(({ unit, atMs }) => ({ unit, atMs }));
  const gaps = asked
    .map((request, i) => ({ ...request, gapMs: (asked[i + 1]?.atMs ?? request.atMs) - request.atMs }))
    .filter(({ unit }) => unit === 1);
  expect(gaps.length).toBeGreaterThan(1);
  // A timeout, the time on the wire, and what a busy machine adds.
  for (const { gapMs } of gaps) expect(gapMs).toBeLessThan(200 + 300);
  const tries = asked.filter(({ unit }) => unit === 1).length;
  expect(tries).toBeLessThan(asked.length / 4);
  isThere = true;
  await until("it is back", () => absent.state === "open");
});

test("requests are apart by 3.5 characters of silence, and one at a time", async () => {
  let isBusy = false;
  const silences: number[] = [];
  let lastMs = 0;
  units.behave = (request, line) => {
    expect(isBusy).toBe(false);
    if (lastMs > 0) silences.push(request.atMs - lastMs);
    isBusy = true;
    setTimeout(() => {
      isBusy = false;
      line.write(answered(request));
      lastMs = performance.now();
    }, 2);
  };
  // At 2,400 baud a character takes 4.6 ms, and 3.5 of them 16 ms.
  const slow = { baudRate: 2_400 };
  const all = [1, 2, 3].map((unit) => rtu({ unit, ...slow }));
  await until("all are read", () => all.every(({ frames }) => frames.length > 5));
  for (const silence of silences) expect(silence).toBeGreaterThan(15.5);
  const turns = units.heard.slice(6, 18).map(({ unit }) => unit);
  for (const unit of [1, 2, 3]) expect(turns.filter((one) => one === unit).length).toBe(4);
});

test("an unplugged line is absent for all its units, and read again when it is back", async () => {
  const all = [1, 2].map((unit) => rtu({ unit }));
  await until("both are read", () => all.every(({ frames }) => frames.length > 1));
  units.cable.unplug();
  await until("both are absent", () => all.every((one) => one.state === "absent"));
  await until("the reason is told", () => all.every((one) => one.reason.includes("opening serial port")));
  const missed = all.map((one) => one.counted("noAnswer").length);
  for (const count of missed) expect(count).toBeLessThan(3);
  const before = all.map(({ frames }) => frames.length);
  units.cable.plug();
  await until("both are back", () => all.every(({ frames }, i) => frames.length > (before[i] ?? 0) + 2));
  for (const { frames } of all) for (const frame of frames) expect(frame).toEqual(right);
});

test("a source stops at once while its unit is waited for, and the line is free for others", async () => {
  units.behave = () => undefined;
  const one = rtu({ timeoutMs: 60_000 });
  await until("it is asked", () => units.heard.length > 0);
  await one.source.stop();
  expect(one.state).toBe("stopped");
  units.behave = (request, line) => line.write(answered(request));
  const other = rtu({ unit: 2, baudRate: 9_600 });
  await until("the other is read", () => other.frames.length > 0);
});

test("a poll of an absent unit is one request, whatever it has registers, and the next poll another one", async () => {
  units.behave = () => undefined;
  const registers = { a: { address: 100 }, b: { address: 200 }, c: { address: 300 } };
  const device = new ModbusDevice(modbusConfig(line({ registers, ...brief })), systemClock, sources.lines);
  const discards: string[] = [];
  const signal = AbortSignal.timeout(20_000);
  for (let poll = 1; poll <= 3; poll++) {
    await expect(device.ask(signal, (reason) => discards.push(reason))).rejects.toMatchObject({
      state: "absent",
      heldUpMs: 60,
    });
    expect(units.heard).toHaveLength(poll);
  }
  expect(new Set(units.heard.map(({ address }) => address))).toEqual(new Set([100, 200, 300]));
  expect(discards).toEqual(["noAnswer", "noAnswer", "noAnswer"]);
  await device.close(true);
});
