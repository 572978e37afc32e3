/** A server whose bytes are written by hand, and the real source before it. */
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { answered, type Heard } from "../support/modbus/units.ts";
import { until } from "../support/until.ts";
import { type RunningModbus, RunningModbusSources, slowly } from "./running-modbus.ts";

const right = { 100: 100, 101: 101 };
let sources: RunningModbusSources;
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
  sources = new RunningModbusSources();
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
  await sources.stop();
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

/** For answers that do not come. */
const brief = { timeoutMs: 60 };
const tcp = (more: JsonObject = {}) =>
  sources.start({
    transport: "tcp",
    host: "127.0.0.1",
    port: (server.address() as { port: number }).port,
    timeoutMs: 5_000,
    intervalMs: 20,
    registers: { a: { address: 100 }, b: { address: 101 } },
    ...more,
  });
async function recovers(one: RunningModbus) {
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
  const one = tcp(brief);
  await until("it is missed", () => one.counted("noAnswer").length > 2);
  expect(one.state).toBe("absent");
  expect(one.frames).toEqual([]);
  await recovers(one);
  expect(one.counted("stray").length).toBeGreaterThan(0);
});

test("an answer byte by byte is one frame", async () => {
  behave = (socket, header, pdu) => {
    void slowly(reply(header, pdu), (byte) => socket.write(byte));
  };
  const one = tcp();
  await until("frames", () => one.frames.length > 2);
  for (const frame of one.frames) expect(frame).toEqual(right);
  expect(one.discards).toEqual([]);
});

test("a cut answer is a discard, and the connection is made anew", async () => {
  behave = (socket, header, pdu) => socket.write(reply(header, pdu).subarray(0, 9));
  const one = tcp(brief);
  await until("it is found", () => one.counted("truncated").length > 1);
  expect(connections).toBeGreaterThan(1);
  await recovers(one);
});

test("a server that speaks something else is told as that", async () => {
  behave = (socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n");
  const one = tcp();
  await until("it is found", () => one.counted("malformed").length > 1);
  expect(one.state).toBe("failed");
  expect(one.reason).toContain("an answer that is none");
  await recovers(one);
});

test("a connection that the server closes between two polls is opened again, and no poll is lost", async () => {
  behave = (socket, header, pdu) => void socket.end(reply(header, pdu));
  const one = tcp({ intervalMs: 100 });
  await until("frames", () => one.frames.length > 4);
  expect(connections).toBeGreaterThan(4);
  expect(one.discards).toEqual([]);
  expect(one.states.map(({ state }) => state)).toEqual(["opening", "open"]);
});

test("a server that says nothing any more is connected to anew", async () => {
  behave = () => undefined;
  const one = tcp(brief);
  await until("it was tried again", () => connections > 1);
  expect(one.state).toBe("absent");
  await recovers(one);
});

test("a server that is not there is absent, with the reason", async () => {
  const port = (server.address() as { port: number }).port;
  const one = tcp();
  await until("frames", () => one.frames.length > 0);
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  await until("it is absent", () => one.state === "absent" && one.reason.includes("ECONNREFUSED"));
  expect(one.reason).toContain(`unit 255 of 127.0.0.1:${port}`);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await recovers(one);
});

test("a unit that is given up while it does not answer leaves no connection behind", async () => {
  behave = () => undefined;
  const running = tcp(brief);
  await until("absent", () => running.state === "absent");
  await running.source.stop();
  await until("the end of the connection", () => connections === 1 && sockets[0]?.closed === true);
});
