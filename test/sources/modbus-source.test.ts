/** Units whose bytes are written by hand, on a pseudo-terminal and on TCP, and the real source before them. */
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { ModbusSourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { recordsOf } from "../../src/drivers/modbus.ts";
import { ModbusDevice } from "../../src/sources/modbus-device.ts";
import { ModbusLines } from "../../src/sources/modbus-lines.ts";
import { PollingSource } from "../../src/sources/polling-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { Turns } from "../../src/sources/turns.ts";
import { answered, exception, type Heard, Units, withChecksum } from "../support/modbus/units.ts";
import { until } from "../support/until.ts";

/** A running source, and what it told. */
interface Running {
  readonly source: PollingSource;
  /** Values of each frame, by address. */
  readonly frames: Readonly<Record<number, number>>[];
  readonly discards: [reason: string, bytes: number][];
  readonly states: SourceStatus[];
}

let units: Units;
let lines: ModbusLines;
const running: Running[] = [];

beforeEach(() => {
  units = new Units();
  lines = new ModbusLines(systemClock, new Turns());
});
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ source }) => source.stop()));
  units.cable.stop();
});

function start(more: JsonObject): Running {
  const source = { device: "d", type: "modbus", ...more };
  const config = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { s: source } };
  const checked = checkConfig(config as JsonObject).config.sources.s as ModbusSourceConfig;
  const told: Omit<Running, "source"> = { frames: [], discards: [], states: [] };
  const sink = {
    frame: (bytes: Uint8Array) => {
      const records = recordsOf(bytes);
      if ("discard" in records) throw new Error(records.discard);
      const words = records.flatMap((record) =>
        Array.from({ length: record.count }, (_, i): [number, number] => [
          record.address + i,
          Buffer.from(record.bytes).readUInt16BE(2 * i),
        ]),
      );
      told.frames.push(Object.fromEntries(words));
      return true;
    },
    discard: (reason: string, bytes: number) => void told.discards.push([reason, bytes]),
    hasRoom: () => true,
    committed: () => Promise.resolve(),
    status: (status: SourceStatus) => void told.states.push(status),
  };
  const device = new ModbusDevice(checked, systemClock, lines);
  const made = { source: new PollingSource(device, checked.intervalMs, sink, systemClock), ...told };
  running.push(made);
  made.source.start();
  return made;
}
const rtu = (more: JsonObject = {}) =>
  start({
    transport: "rtu",
    path: units.cable.path,
    unit: 1,
    timeoutMs: 60,
    intervalMs: 20,
    registers: { a: { address: 100 }, b: { address: 101 } },
    ...more,
  });
/** Where every answer has to be in time, on a busy machine too. */
const patient = { timeoutMs: 10_000 };
const state = ({ states }: Running) => states.at(-1)?.state;
const reason = ({ states }: Running) => states.at(-1)?.reason ?? "";
const counted = ({ discards }: Running, reason: string) => discards.filter(([counted]) => counted === reason);
const right = { 100: 100, 101: 101 };
/** Byte by byte, in their order. */
async function slowly(bytes: Uint8Array, write: (byte: Uint8Array) => unknown) {
  for (const byte of bytes) {
    write(Uint8Array.of(byte));
    await systemClock.sleep(2);
  }
}
/** What is wrong passes: the source comes back to right answers, and took nothing else for one. */
async function recovers(one: Running) {
  units.behave = (request, line) => line.write(answered(request));
  const before = one.frames.length;
  await until("it recovers", () => one.frames.length > before + 2);
  expect(state(one)).toBe("open");
  for (const frame of one.frames) expect(frame).toEqual(right);
}

describe("on a serial line", () => {
  test("two neighbours are one request, and the answer is a frame", async () => {
    const one = rtu(patient);
    await until("frames", () => one.frames.length > 2);
    expect(one.frames[0]).toEqual(right);
    expect(units.heard[0]).toMatchObject({ unit: 1, code: 3, address: 100, count: 2 });
    expect(state(one)).toBe("open");
    expect(one.discards).toEqual([]);
  });

  test("an answer that comes byte by byte is one frame", async () => {
    units.behave = (request, line) => {
      void slowly(answered(request), (byte) => line.write(byte));
    };
    const one = rtu(patient);
    await until("frames", () => one.frames.length > 2);
    for (const frame of one.frames) expect(frame).toEqual(right);
    expect(one.discards).toEqual([]);
  });

  test("garbage before the answer is counted and skipped", async () => {
    units.behave = (request, line) =>
      line.write(Buffer.concat([Buffer.from([0, 0xff, 1, 3]), answered(request)]));
    const one = rtu(patient);
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
  ] as const)(
    "an answer that is %s is that discard, and no reading",
    async (discard, bytes, answer, told) => {
      units.behave = (request, line) => line.write(answer(request));
      const one = rtu();
      await until("it is found", () => counted(one, discard).length > 1);
      expect(one.discards[0]).toEqual([discard, bytes]);
      expect(state(one)).toBe("failed");
      expect(reason(one)).toContain(told);
      expect(one.frames).toEqual([]);
      await recovers(one);
    },
  );

  test.each([
    ["another unit", (request: Heard) => answered({ ...request, unit: 2 }, () => 666)],
    ["another function", (request: Heard) => answered({ ...request, code: 4 }, () => 666)],
    ["fewer registers", (request: Heard) => answered({ ...request, count: 1 }, () => 666)],
    ["more registers", (request: Heard) => answered({ ...request, count: 3 }, () => 666)],
    ["no Modbus", () => Buffer.from("login: \r\nPassword: \r\n")],
  ] as const)("what answers with %s has not answered, and its bytes are stray", async (_, answer) => {
    units.behave = (request, line) => line.write(answer(request));
    const one = rtu();
    await until("it is missed", () => counted(one, "noAnswer").length > 1);
    await until("its bytes are counted", () => counted(one, "stray").length > 0);
    expect(state(one)).toBe("absent");
    expect(one.frames).toEqual([]);
    await recovers(one);
  });

  test("an answer that comes too late is never that of another question, nor of another unit", async () => {
    // The first unit is 10 to 50 ms late, each time: its answers meet the questions after them.
    const late = [70, 110, 90, 75, 100];
    let count = 0;
    units.behave = (request, line) => {
      const delay = request.unit === 1 ? (late[count++ % late.length] ?? 0) : 0;
      const value = request.unit === 1 ? 666 : 7;
      setTimeout(() => line.write(answered(request, () => value)), delay);
    };
    const one = rtu({ registers: { a: { address: 100 }, b: { address: 200 } } });
    const two = rtu({ unit: 2, registers: { a: { address: 100 }, b: { address: 200 } } });
    await until("the other goes on", () => two.frames.length > 30);
    await until("the first was asked often", () => counted(one, "noAnswer").length > 4);
    for (const frame of two.frames) for (const value of Object.values(frame)) expect(value).toBe(7);
    expect(one.frames).toEqual([]);
    const strays = [...counted(one, "stray"), ...counted(two, "stray")];
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
    expect(state(one)).toBe("open");
    expect(reason(one)).toBe("exception 2 (illegal data address) for holding 200 to 201");
    expect(counted(one, "deviceException").length).toBeGreaterThanOrEqual(one.frames.length);
    units.behave = (request, line) => line.write(answered(request));
    await until("nothing is wrong any more", () => state(one) === "open" && reason(one) === "");
  });

  test("a unit that refuses everything is failed, with unit and exception in its reason", async () => {
    units.behave = (request, line) => line.write(exception(request, 6));
    const one = rtu();
    await until("it is failed", () => state(one) === "failed");
    expect(reason(one)).toBe(
      `unit 1 of ${units.cable.path}: exception 6 (server device busy) for holding 100 to 101`,
    );
    expect(counted(one, "noAnswer")).toEqual([]);
    await recovers(one);
  });

  test("a request that is never answered is asked less and less, and the others are read", async () => {
    units.behave = (request, line) => {
      if (request.address !== 50) line.write(answered(request));
    };
    const one = rtu({ registers: { a: { address: 50 }, b: { address: 100 }, c: { address: 101 } } });
    await until("frames", () => one.frames.length > 40);
    for (const frame of one.frames) expect(frame).toEqual(right);
    expect(counted(one, "noAnswer").length).toBeLessThan(15);
    await until("it is told", () => reason(one) === "no answer for holding 50");
  });

  test("an absent unit costs its neighbour no more than its timeout per try, and comes back by itself", async () => {
    let isThere = false;
    units.behave = (request, line) => {
      if (request.unit === 2 || isThere) line.write(answered(request));
    };
    const absent = rtu({ timeoutMs: 200 });
    const steady = rtu({ unit: 2 });
    await until("it is absent", () => state(absent) === "absent");
    expect(reason(absent)).toBe(`unit 1 of ${units.cable.path}: no answer within 200 ms`);
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
    await until("it is back", () => state(absent) === "open");
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
    const slow = { baudRate: 2_400, timeoutMs: 500 };
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
    await until("both are absent", () => all.every((one) => state(one) === "absent"));
    await until("the reason is told", () => all.every((one) => reason(one).includes("opening serial port")));
    const missed = all.map((one) => counted(one, "noAnswer").length);
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
    expect(state(one)).toBe("stopped");
    units.behave = (request, line) => line.write(answered(request));
    const other = rtu({ unit: 2, baudRate: 9_600 });
    await until("the other is read", () => other.frames.length > 0);
  });
});

describe("over TCP", () => {
  let server: Server;
  const sockets: Socket[] = [];
  let connections = 0;
  /** Gets a request without its header, gives what is sent for it. */
  let behave: (socket: Socket, header: Buffer, pdu: Buffer) => void;
  /** The right answer to a read, with `change` of its header. */
  const reply = (header: Buffer, pdu: Buffer, change: (header: Buffer) => void = () => undefined) => {
    const bytes = answered({
      unit: 0,
      code: 3,
      address: pdu.readUInt16BE(1),
      count: pdu.readUInt16BE(3),
    } as Heard);
    const body = bytes.subarray(1, -2);
    const head = Buffer.from(header);
    head.writeUInt16BE(1 + body.length, 4);
    change(head);
    return Buffer.concat([head, body]);
  };

  beforeEach(async () => {
    behave = (socket, header, pdu) => socket.write(reply(header, pdu));
    connections = 0;
    server = createServer((socket) => {
      connections++;
      sockets.push(socket);
      socket.on("error", () => undefined);
      let held = Buffer.alloc(0);
      socket.on("data", (chunk) => {
        held = Buffer.concat([held, chunk]);
        while (held.length >= 12) {
          behave(socket, held.subarray(0, 7), held.subarray(7, 12));
          held = held.subarray(12);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  const tcp = (more: JsonObject = {}) =>
    start({
      transport: "tcp",
      host: "127.0.0.1",
      port: (server.address() as { port: number }).port,
      timeoutMs: 60,
      intervalMs: 20,
      registers: { a: { address: 100 }, b: { address: 101 } },
      ...more,
    });
  async function recovers(one: Running) {
    behave = (socket, header, pdu) => socket.write(reply(header, pdu));
    const before = one.frames.length;
    await until("it recovers", () => one.frames.length > before + 2);
    for (const frame of one.frames) expect(frame).toEqual(right);
  }

  test("units behind one server share one connection", async () => {
    const all = [1, 2, 3, 255].map((unit) => tcp({ unit }));
    await until("all are read", () => all.every(({ frames }) => frames.length > 3));
    expect(connections).toBe(1);
    for (const { frames } of all) for (const frame of frames) expect(frame).toEqual(right);
  });

  test("an answer of another transaction, or another unit, is stray and answers nothing", async () => {
    behave = (socket, header, pdu) =>
      socket.write(
        Buffer.concat([
          reply(header, pdu, (head) => head.writeUInt16BE(head.readUInt16BE(0) ^ 1, 0)),
          reply(header, pdu, (head) => head.writeUInt8(9, 6)),
        ]),
      );
    const one = tcp();
    await until("it is missed", () => counted(one, "noAnswer").length > 2);
    expect(state(one)).toBe("absent");
    expect(one.frames).toEqual([]);
    await recovers(one);
    expect(counted(one, "stray").length).toBeGreaterThan(0);
  });

  test("an answer byte by byte is one frame", async () => {
    behave = (socket, header, pdu) => {
      void slowly(reply(header, pdu), (byte) => socket.write(byte));
    };
    const one = tcp(patient);
    await until("frames", () => one.frames.length > 2);
    for (const frame of one.frames) expect(frame).toEqual(right);
    expect(one.discards).toEqual([]);
  });

  test("a cut answer is a discard, and the connection is made anew", async () => {
    behave = (socket, header, pdu) => socket.write(reply(header, pdu).subarray(0, 9));
    const one = tcp();
    await until("it is found", () => counted(one, "truncated").length > 1);
    expect(connections).toBeGreaterThan(1);
    await recovers(one);
  });

  test("a server that speaks something else is told as that", async () => {
    behave = (socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    const one = tcp();
    await until("it is found", () => counted(one, "malformed").length > 1);
    expect(state(one)).toBe("failed");
    expect(reason(one)).toContain("an answer that is none");
    await recovers(one);
  });

  test("a connection that the server closes between two polls is opened again, and no poll is lost", async () => {
    behave = (socket, header, pdu) => void socket.end(reply(header, pdu));
    const one = tcp({ ...patient, intervalMs: 100 });
    await until("frames", () => one.frames.length > 4);
    expect(connections).toBeGreaterThan(4);
    expect(one.discards).toEqual([]);
    expect(one.states.map(({ state }) => state)).toEqual(["opening", "open"]);
  });

  test("a server that says nothing any more is connected to anew", async () => {
    behave = () => undefined;
    const one = tcp();
    await until("it was tried again", () => connections > 1);
    expect(state(one)).toBe("absent");
    await recovers(one);
  });

  test("a server that is not there is absent, with the reason", async () => {
    const port = (server.address() as { port: number }).port;
    const one = tcp();
    await until("frames", () => one.frames.length > 0);
    for (const socket of sockets.splice(0)) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
    await until("it is absent", () => state(one) === "absent" && reason(one).includes("ECONNREFUSED"));
    expect(reason(one)).toContain(`unit 255 of 127.0.0.1:${port}`);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    await recovers(one);
  });
});

test("withChecksum is the line's own", () => {
  expect(withChecksum([2, 7]).toString("hex")).toBe("02074112");
});
