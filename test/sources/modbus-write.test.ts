/** Values that are set in units whose bytes are written by hand: confirmed, read back, refused, unanswered. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { ModbusDevice } from "../../src/sources/modbus-device.ts";
import { answered, exception, type Heard, Units, withChecksum } from "../support/modbus/units.ts";
import { until } from "../support/until.ts";
import { modbusConfig, RunningModbusSources } from "./running-modbus.ts";

let units: Units;
let sources: RunningModbusSources;
let device: ModbusDevice;
const made: ModbusDevice[] = [];

/** Registers of a unit that takes what it is told. */
const memory = new Map<number, number>();
function obey(request: Heard): Buffer {
  const { unit, code, address, count, frame } = request;
  if (code === 3) return answered(request, (at) => memory.get(at) ?? 0);
  if (code === 1) return withChecksum([unit, 1, 1, memory.get(address) ?? 0]);
  if (code === 5) memory.set(address, count === 0xff00 ? 1 : 0);
  if (code === 6) memory.set(address, count);
  if (code !== 16) return frame;
  for (let i = 0; i < count; i++) memory.set(address + i, frame.readUInt16BE(7 + 2 * i));
  return withChecksum([...frame.subarray(0, 6)]);
}

function deviceOf(more: JsonObject = {}): ModbusDevice {
  const config = modbusConfig({
    transport: "rtu",
    path: units.cable.path,
    unit: 1,
    timeoutMs: 1_000,
    intervalMs: 20,
    registers: {
      setpoint: { address: 11, scale: 0.1, writable: { min: 20, max: 250 } },
      ramp: { address: 20, type: "float32", wordOrder: "little", writable: { min: 0, max: 0.1 } },
      pump: { table: "coil", address: 3, writable: { min: 0, max: 1 } },
      steps: { address: 30, scale: 5, writable: { min: 0, max: 12 } },
      fixed: { address: 40 },
      spare: { address: 41, state: "off", writable: { min: 0, max: 1 } },
    },
    ...more,
  });
  const one = new ModbusDevice(config, systemClock, sources.lines);
  made.push(one);
  return one;
}

beforeEach(() => {
  memory.clear();
  units = new Units();
  units.behave = (request, line) => line.write(obey(request));
  sources = new RunningModbusSources();
  device = deviceOf();
});
afterEach(async () => {
  await Promise.all(made.splice(0).map((one) => one.close(true)));
  await sources.stop();
  units.cable.stop();
});
const codes = () => units.heard.map(({ code }) => code);

test.each([
  ["setpoint", 180.5, 180.5, 6, { 11: 1805 }],
  ["setpoint", 180.47, 180.5, 6, { 11: 1805 }],
  ["setpoint", 250, 250, 6, { 11: 2500 }],
  ["pump", 1, 1, 5, { 3: 1 }],
  ["pump", 0, 0, 5, { 3: 0 }],
  ["ramp", 0.1, Math.fround(0.1), 16, { 20: 0xcccd, 21: 0x3dcc }],
] as const)(
  "%s of %d is written as %d with function %d, and read back",
  async (channel, value, said, code, held) => {
    expect(await device.write(channel, value)).toEqual({ kind: "written", value: said });
    expect(Object.fromEntries(memory)).toEqual(held);
    expect(codes()).toEqual([code, channel === "pump" ? 1 : 3]);
  },
);

test.each([
  ["setpoint", 19.9, "outOfRange", "setpoint takes 20 to 250, not 19.9"],
  ["setpoint", 250.1, "outOfRange", "setpoint takes 20 to 250, not 250.1"],
  ["setpoint", Number.NaN, "outOfRange", "setpoint takes 20 to 250, not NaN"],
  ["pump", 2, "outOfRange", "pump takes 0 to 1, not 2"],
  ["steps", 12, "written", undefined],
  ["steps", 13, "outOfRange", "steps takes 0 to 12, not 13"],
  ["fixed", 1, "notWritable", "fixed is not writable"],
  ["spare", 1, "unknownChannel", "there is no register spare"],
  ["toString", 1, "unknownChannel", "there is no register toString"],
] as const)(
  "%s of %d is %s, and unless it may be set nothing goes over the line",
  async (channel, value, reason, message) => {
    const outcome = await device.write(channel, value);
    if (reason === "written") return expect(outcome).toEqual({ kind: "written", value: 10 });
    expect(outcome).toEqual({ kind: "refused", reason, message });
    await device.write("pump", 1);
    expect(codes()).toEqual([5, 1]);
  },
);

test("a value that only a step beyond the range comes near is refused", async () => {
  const registers = { steps: { address: 30, scale: 5, writable: { min: 0, max: 14 } } };
  const outcome = await deviceOf({ registers }).write("steps", 13);
  expect(outcome).toMatchObject({
    kind: "refused",
    message: "steps takes 0 to 14, and the nearest that it can hold is 15",
  });
  expect(units.heard).toEqual([]);
});

test("a device that refuses is told with its exception", async () => {
  units.behave = (request, line) => line.write(exception(request, 3));
  expect(await device.write("setpoint", 100)).toEqual({
    kind: "exception",
    code: 3,
    name: "illegal data value",
  });
  expect(codes()).toEqual([6]);
});

test("a device that confirms and keeps something else is found out", async () => {
  units.behave = (request, line) =>
    line.write(request.code === 6 ? request.frame : answered(request, () => 700));
  expect(await device.write("setpoint", 100)).toEqual({ kind: "differs", value: 100, readBack: 70 });
});

test("the echo of an adapter that hears itself is no confirmation", async () => {
  // Nobody is there; each request comes back as it is.
  units.behave = (request, line) => line.write(request.frame);
  expect(await device.write("setpoint", 100)).toMatchObject({ kind: "unknown" });
});

test.each([
  ["the confirmation", () => undefined, "the device did not confirm it: noAnswer"],
  [
    "the value that is read back",
    (request: Heard) => (request.code === 6 ? request.frame : undefined),
    "the device confirmed it, and was not read back: noAnswer",
  ],
] as const)("when %s does not come, nobody knows, and it is not sent again", async (_, answer, message) => {
  units.behave = (request, line) => {
    const bytes = answer(request);
    if (bytes) line.write(bytes);
  };
  expect(await device.write("setpoint", 100)).toEqual({ kind: "unknown", message });
  expect(codes().filter((code) => code === 6)).toHaveLength(1);
});

test("on a line that is unplugged nothing is sent, now or later", async () => {
  units.cable.unplug();
  expect(await device.write("setpoint", 100)).toMatchObject({
    kind: "unsent",
    message: expect.stringContaining("opening serial port"),
  });
  units.cable.plug();
  await device.open(AbortSignal.timeout(20_000));
  expect(await device.write("pump", 1)).toMatchObject({ kind: "written" });
  expect(codes()).toEqual([5, 1]);
});

test("no poll comes between a write and its reading back, and the polls go on", async () => {
  const polled = sources.start({
    transport: "rtu",
    path: units.cable.path,
    unit: 2,
    timeoutMs: 100,
    intervalMs: 10,
    registers: { a: { address: 100 } },
  });
  await until("it is polled", () => polled.frames.length > 3);
  for (let i = 0; i < 10; i++)
    expect(await device.write("setpoint", 100 + i)).toMatchObject({ kind: "written" });
  const writes = units.heard.flatMap(({ code }, i) => (code === 6 ? [i] : []));
  expect(writes).toHaveLength(10);
  for (const at of writes) expect(units.heard[at + 1]).toMatchObject({ unit: 1, code: 3, address: 11 });
  const before = polled.frames.length;
  await until("the polls go on", () => polled.frames.length > before + 3);
  expect(polled.discards).toEqual([]);
});

test("more writes than may wait are not sent, and a source that stops sends none", async () => {
  const outcomes = await Promise.all(Array.from({ length: 6 }, (_, i) => device.write("setpoint", 100 + i)));
  expect(outcomes.map(({ kind }) => kind).sort()).toEqual([
    ...Array(2).fill("unsent"),
    ...Array(4).fill("written"),
  ]);
  units.behave = () => undefined;
  const pending = [device.write("setpoint", 100), device.write("setpoint", 101)];
  await until("one is sent", () => codes().filter((code) => code === 6).length === 5);
  await device.close(true);
  expect((await Promise.all(pending)).map(({ kind }) => kind).sort()).toEqual(["unknown", "unsent"]);
  expect(await device.write("setpoint", 102)).toMatchObject({ kind: "unsent" });
  expect(codes().filter((code) => code === 6)).toHaveLength(5);
});
