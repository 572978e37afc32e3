/** The whole daemon with Modbus: units of libmodbus on a serial line and behind a server. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { DaemonAtHub } from "./support/daemon-at-hub.ts";
import { LibmodbusServer, SerialBus } from "./support/modbus/libmodbus.ts";
import { until } from "./support/until.ts";

let box: DaemonAtHub;
let bus: SerialBus;
let server: LibmodbusServer | undefined;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
  bus = new SerialBus();
});
afterEach(async () => {
  await box.remove();
  await server?.stop();
  server = undefined;
  await bus.stop();
});

const onLine = (unit: number, more: object = {}) => ({
  type: "modbus",
  transport: "rtu",
  path: bus.path,
  unit,
  // Far above what libmodbus takes on a busy machine; who is to be absent has less.
  timeoutMs: 5_000,
  intervalMs: 100,
  device: `unit-${unit}`,
  registers,
  ...more,
});
const registers = {
  temperature: { address: 10, type: "int16", scale: 0.1, unit: "°C", min: -20, max: 60 },
  setpoint: { address: 11, scale: 0.1, unit: "°C" },
  power: { address: 12, type: "float32", unit: "kW", min: 0, max: 50 },
  energy: { address: 14, type: "uint64" },
  state: { address: 18, type: "string", length: 2, words: { RUN: 1, STOP: 0 } },
  total: { table: "input", address: 3, type: "uint32", wordOrder: "little" },
  pump: { table: "coil", address: 2 },
  door: { table: "discrete", address: 1 },
  missing: { table: "input", address: 900 },
};
/** −0.4 °C, 23.5 °C, 12.5 kW, 65,536, RUN, 65,538, on, closed. */
const values = [
  "holding 10 65532",
  "holding 11 235",
  "holding 12 16712",
  "holding 13 0",
  "holding 14 0",
  "holding 15 0",
  "holding 16 1",
  "holding 17 0",
  // RUN and a zero.
  "holding 18 21077",
  "holding 19 19968",
  "input 3 2",
  "input 4 1",
  "coil 2 1",
  "discrete 1 0",
];
const expected = {
  temperature: { value: -0.4, unit: "°C", quality: "good" },
  setpoint: { value: 23.5, unit: "°C", quality: "good" },
  power: { value: 12.5, unit: "kW", quality: "good" },
  energy: { value: 65_536, quality: "good" },
  state: { value: 1, quality: "good" },
  total: { value: 65_538, quality: "good" },
  pump: { value: 1, quality: "good" },
  door: { value: 0, quality: "good" },
};

test("two units of a line are at the hub with their values, units and ranges, beside one that is absent", async () => {
  await bus.unit(1, values);
  await bus.unit(2, [...values, "holding 10 999"]);
  box.start({ one: onLine(1), two: onLine(2), three: onLine(3, { timeoutMs: 200 }) });
  await until("readings of both", () =>
    ["unit-1", "unit-2"].every((unit) => box.readingsOf(unit).length > 5),
  );
  for (const channels of box.readingsOf("unit-1")) expect(channels).toEqual(expected);
  const hot = { temperature: { value: 99.9, unit: "°C", quality: "bad", reason: "aboveMax" } };
  for (const channels of box.readingsOf("unit-2")) expect(channels).toEqual({ ...expected, ...hot });
  expect(box.readingsOf("unit-3")).toEqual([]);
  await box.untilState("three", "absent");
  expect(await box.reasonOf("three")).toBe(`unit 3 of ${bus.path}: no answer within 200 ms`);
  expect(await box.reasonOf("one")).toBe("exception 2 (illegal data address) for input 900");
  expect(await box.discardsOf("one")).toEqual({ deviceException: expect.any(Number) });
  expect(await box.discardsOf("three")).toEqual({ noAnswer: expect.any(Number) });
});

test("a line that is unplugged is read again when it is back, and another source keeps its pace", async () => {
  await bus.unit(1, values);
  server = new LibmodbusServer(["tcp", "0"], ["unit 5", ...values]);
  const port = await server.ready();
  const steady = { ...onLine(5), transport: "tcp", host: "127.0.0.1", port, device: "steady" };
  const { path: _, ...plc } = steady;
  box.start({ one: onLine(1), plc });
  await box.untilState("one", "open");
  await box.untilState("plc", "open");
  bus.cable.unplug();
  await box.untilState("one", "absent");
  await until("the reason is told", async () => /opening serial port/.test(await box.reasonOf("one")));
  const before = box.readingsOf("steady").length;
  await until("the other goes on", () => box.readingsOf("steady").length > before + 20);
  expect((await box.status())?.sources.plc?.state).toBe("open");
  const missed = box.readingsOf("unit-1").length;
  bus.cable.plug();
  await until("it is read again", () => box.readingsOf("unit-1").length > missed + 3);
  for (const channels of [...box.readingsOf("unit-1"), ...box.readingsOf("steady")])
    expect(channels).toEqual(expected);
  expect(await box.discardsOf("plc")).toEqual({ deviceException: expect.any(Number) });
});

test("units behind a server share its only connection, and one that is missing there is told as that", async () => {
  server = new LibmodbusServer(["tcp", "0"], ["unit 1", ...values, "unit 2", ...values]);
  const port = await server.ready();
  const behind = (unit: number) => {
    const { path: _, ...source } = onLine(unit);
    return { ...source, transport: "tcp", host: "127.0.0.1", port };
  };
  box.start({ one: behind(1), two: behind(2), nine: behind(9) });
  await until("readings of both", () =>
    ["unit-1", "unit-2"].every((unit) => box.readingsOf(unit).length > 5),
  );
  for (const unit of ["unit-1", "unit-2"])
    for (const channels of box.readingsOf(unit)) expect(channels).toEqual(expected);
  await box.untilState("nine", "failed");
  expect(await box.reasonOf("nine")).toContain("exception 11 (gateway target device failed to respond)");
});

test("the daemon stops in order while a unit is waited for", async () => {
  box.start({ one: onLine(1, { timeoutMs: 30_000 }) });
  await box.untilState("one", "opening");
  await box.stop();
});

test("a register is set by direct method where the file allows it, within its range, and nowhere else", async () => {
  await bus.unit(1, values);
  const writable = { ...registers.setpoint, writable: { min: 20, max: 250 } };
  box.start({ one: onLine(1, { registers: { ...registers, setpoint: writable } }), two: onLine(2) });
  await box.untilState("one", "open");
  await box.untilStatus("the hub is connected", ({ hub }) => hub.state === "connected");
  const write = (channel: string, value: unknown, source = "one") =>
    box.hub.invokeMethod(box.hub.deviceId, "gateway", {
      methodName: "writeRegister",
      payload: { source, channel, value } as never,
    });

  expect(await write("setpoint", 180.5)).toEqual({
    status: 200,
    payload: { source: "one", channel: "setpoint", value: 180.5 },
  });
  await until("the next readings have it", () => box.readingsOf("unit-1").at(-1)?.setpoint?.value === 180.5);
  for (const { setpoint } of box.readingsOf("unit-1")) expect([23.5, 180.5]).toContain(setpoint?.value);

  expect(await write("setpoint", 251)).toMatchObject({ status: 422 });
  expect(await write("temperature", 21)).toMatchObject({ status: 403 });
  expect(await write("pump", true)).toMatchObject({ status: 403 });
  expect(await write("nothing", 1)).toMatchObject({ status: 404 });
  expect(await write("setpoint", 100, "nothing")).toMatchObject({ status: 404 });
  expect(await write("setpoint", "100")).toMatchObject({ status: 400 });

  // A twin cannot allow what the file does not, and what the file allows stays where it is.
  const twin = async () =>
    ((await box.status()) ?? {}) as { lastDesiredVersion?: number; lastDesiredStatus?: object };
  await until("the first twin is answered", async () => (await twin()).lastDesiredVersion !== undefined);
  const answered = async (sources: object) => {
    const { lastDesiredVersion: before } = await twin();
    box.hub.updateDesired(box.hub.deviceId, "gateway", { sources } as never);
    await until("the twin is answered", async () => (await twin()).lastDesiredVersion !== before);
    return (await twin()).lastDesiredStatus;
  };
  const allowing = { two: { registers: { setpoint: { writable: { min: 0, max: 1 } } } } };
  expect(await answered(allowing)).toMatchObject({
    code: 400,
    path: "sources.two.registers.setpoint.writable",
  });
  expect((await box.status()) as object).toMatchObject({ writes: { written: 1, refused: 5 } });
  expect(box.readingsOf("unit-1").at(-1)?.setpoint?.value).toBe(180.5);
});
