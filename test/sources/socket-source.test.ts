/** Socket sources with real TCP and unix sockets. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { SocketClient } from "../../src/sources/socket-client.ts";
import { SocketServer } from "../../src/sources/socket-server.ts";
import type { Source, SourceStatus, WaitingSink } from "../../src/sources/source.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { pms5003 } from "../support/packets.ts";
import { until } from "../support/until.ts";
import { framingOf } from "./framed.ts";

let frames: string[];
let discards: string[];
let statuses: SourceStatus[];
let hasRoom: boolean;
const sources: Source[] = [];
const sockets: Socket[] = [];
const servers: Server[] = [];

const sink: WaitingSink = {
  frame: (bytes) => {
    frames.push(Buffer.from(bytes).toString("latin1"));
    return true;
  },
  discard: (reason, bytes) => discards.push(`${reason} ${bytes}`),
  status: (status) => statuses.push(status),
  hasRoom: () => hasRoom,
  committed: () => systemClock.sleep(20),
};
const state = () => statuses.at(-1)?.state;
const reason = () => statuses.at(-1)?.reason ?? "";
const lines = { kind: "lines", maxBytes: 64 };

beforeEach(() => {
  frames = [];
  discards = [];
  statuses = [];
  hasRoom = true;
});
afterEach(async () => {
  await Promise.all(sources.splice(0).map((source) => source.stop()));
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

function started<T extends Source>(source: T): T {
  sources.push(source);
  source.start();
  return source;
}

interface Options {
  readonly framing?: JsonObject;
  readonly idleTimeoutMs?: number;
  readonly maxConnections?: number;
  readonly mode?: number;
}

const client = (address: string, { framing = { ...lines, first: "keep" }, idleTimeoutMs }: Options = {}) =>
  started(
    new SocketClient(
      address,
      { framing: framingOf(framing), first: "discard", idleTimeoutMs },
      sink,
      systemClock,
    ),
  );

function server(
  address: string,
  { framing = lines, idleTimeoutMs, maxConnections = 4, mode = 0o660 }: Options = {},
) {
  const stream = { framing: framingOf(framing), first: "keep", idleTimeoutMs } as const;
  return started(new SocketServer({ ...stream, address, maxConnections, mode }, sink, systemClock));
}

/** A device that listens; its connections in the order of their coming. */
async function device(
  port = 0,
): Promise<{ readonly port: number; readonly connections: Socket[]; readonly server: Server }> {
  const connections: Socket[] = [];
  const listening = createServer((socket) => {
    socket.on("error", () => undefined);
    sockets.push(socket);
    connections.push(socket);
  });
  servers.push(listening);
  await new Promise<void>((resolve) => listening.listen(port, "127.0.0.1", resolve));
  return { port: (listening.address() as AddressInfo).port, connections, server: listening };
}

async function freePort(): Promise<number> {
  const { port, server: listening } = await device();
  await new Promise((resolve) => listening.close(resolve));
  servers.splice(servers.indexOf(listening), 1);
  return port;
}

/** A device that connects; resolves when it is connected. */
async function caller(address: string): Promise<Socket> {
  const socket = address.startsWith("unix:")
    ? connect({ path: address.slice(5) })
    : connect({ host: "127.0.0.1", port: Number(address.split(":").at(-1)) });
  sockets.push(socket);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  socket.on("error", () => undefined);
  // Who reads nothing is not told of the end either.
  socket.resume();
  return socket;
}

describe("a source that connects", () => {
  test("reads frames whatever the chunks, and again after the connection was cut in the middle of one", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`);
    await until("open", () => state() === "open" && connections.length === 1);
    connections[0]?.write("one\ntw");
    await until("the first", () => frames.length === 1);
    connections[0]?.write("o\r\nhal");
    await until("the second", () => frames.length === 2);
    connections[0]?.resetAndDestroy();
    await until("connected again", () => connections.length === 2 && state() === "open");
    connections[1]?.write("three\n");
    await until("the third", () => frames.length === 3);
    expect(frames).toEqual(["one", "two", "three"]);
    expect(discards).toEqual(["truncated 3"]);
    const states = statuses.map((status) => status.state);
    expect(states).toEqual(["opening", "open", "absent", "open"]);
  });

  test("an address that nobody listens on is absent, and is read as soon as somebody does", async () => {
    const port = await freePort();
    client(`tcp://127.0.0.1:${port}`);
    await until("absent", () => state() === "absent");
    expect(reason()).toContain("ECONNREFUSED");
    const { connections } = await device(port);
    await until("open", () => state() === "open");
    connections[0]?.write("x\n");
    await until("the frame", () => frames.length === 1);
  });

  test("an end that closes in order is tried again", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`);
    await until("connected", () => connections.length === 1);
    connections[0]?.end("last\n");
    await until("connected again", () => connections.length === 2);
    expect(frames).toEqual(["last"]);
    expect(statuses.map(({ reason }) => reason)).toContain(
      `tcp://127.0.0.1:${port}: closed by the other end`,
    );
  });

  test("what comes before the first end may be the tail of a frame, and is a discard, at every connection", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`, { framing: lines });
    await until("connected", () => connections.length === 1);
    connections[0]?.write("1.5\n2\n");
    await until("the frame", () => frames.length === 1);
    connections[0]?.destroy();
    await until("connected again", () => connections.length === 2);
    connections[1]?.write("1.5\n3\n");
    await until("the frame", () => frames.length === 2);
    expect(frames).toEqual(["2", "3"]);
    expect(discards).toEqual(["truncated 3", "truncated 3"]);
  });

  test("a silent end is left after idleTimeoutMs and tried again, one that sends is not", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`, { idleTimeoutMs: 300 });
    await until("connected", () => connections.length === 1);
    for (let i = 0; i < 6; i++) {
      connections[0]?.write(`${i}\n`);
      await systemClock.sleep(100);
    }
    expect(connections).toHaveLength(1);
    await until("connected again", () => connections.length === 2);
    expect(frames).toHaveLength(6);
    expect(statuses.map(({ reason }) => reason)).toContain(`tcp://127.0.0.1:${port}: silent for 300 ms`);
  });

  test("the kernel watches a silent connection: an end that vanished is noticed", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`);
    await until("open", () => state() === "open" && connections.length === 1);
    const local = connections[0]?.remotePort ?? 0;
    const hex = local.toString(16).toUpperCase().padStart(4, "0");
    const row = readFileSync("/proc/net/tcp", "utf8")
      .split("\n")
      .find((line) => line.trim().split(/\s+/)[1]?.endsWith(`:${hex}`));
    // proc_net_tcp.txt of the kernel: 02 is a timer that is not of data, such as keepalive.
    expect(row?.trim().split(/\s+/)[5]).toMatch(/^02:/);
  });

  test("packets come over a socket as over a port", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`, { framing: pms5003.framing });
    await until("connected", () => connections.length === 1);
    const { packet } = pms5003;
    connections[0]?.write(Buffer.concat([packet.subarray(9), packet, packet]));
    await until("two packets", () => frames.length === 2);
    expect(frames).toEqual([packet.toString("latin1"), packet.toString("latin1")]);
    expect(discards).toEqual(["unframed 23"]);
  });

  test("a unix socket is read like any other", async () => {
    const path = join(temporaryFolder(), "device.sock");
    const listening = createServer((socket) => {
      sockets.push(socket);
      socket.write("hello\n");
    });
    servers.push(listening);
    client(`unix:${path}`);
    await until("absent", () => state() === "absent");
    expect(reason()).toContain("ENOENT");
    listening.listen(path);
    await until("the frame", () => frames.length === 1);
  });

  test("a stop ends it at once, whatever it does", async () => {
    const { port, connections } = await device();
    const source = client(`tcp://127.0.0.1:${port}`);
    await until("connected", () => connections.length === 1);
    connections[0]?.write("half");
    hasRoom = false;
    connections[0]?.write("more\n");
    await source.stop();
    expect(state()).toBe("stopped");
    const trying = client(`tcp://127.0.0.1:${await freePort()}`);
    await until("absent", () => state() === "absent");
    await trying.stop();
    expect(state()).toBe("stopped");
    // One whose connecting takes for ever: no host answers there (RFC 5737).
    const hanging = client("tcp://192.0.2.1:9");
    await hanging.stop();
    expect(state()).toBe("stopped");
  });
});

describe("a source that listens", () => {
  const listening = async (options: Options = {}) => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const source = server(address, options);
    await until("open", () => state() === "open");
    return { address, source };
  };

  test("each connection is a stream of its own, whose first line counts", async () => {
    const { address } = await listening();
    const [a, b] = [await caller(address), await caller(address)];
    a.write("a1");
    await systemClock.sleep(50);
    b.write("b1\nb2");
    await until("the first", () => frames.length === 1);
    a.end("a2\n");
    await until("the second", () => frames.length === 2);
    b.destroy();
    await until("what b had begun", () => discards.length === 1);
    expect(frames).toEqual(["b1", "a1a2"]);
    expect(discards).toEqual(["truncated 2"]);
    expect(state()).toBe("open");
  });

  test("connections are bounded, and there is room again when one leaves", async () => {
    const { address } = await listening({ maxConnections: 2 });
    const [a] = [await caller(address), await caller(address)];
    const third = await caller(address);
    await until("the third is refused", () => third.destroyed || third.readableEnded);
    await until("it is told", () => reason() === "2 connections are open, others are refused");
    a.destroy();
    await until("there is room", () => reason() === "");
    const fourth = await caller(address);
    fourth.write("x\n");
    await until("the frame", () => frames.length === 1);
  });

  test("while there is no room the sender has to wait, and nothing is lost", async () => {
    const { address } = await listening({ framing: { kind: "lines" } });
    const sender = await caller(address);
    hasRoom = false;
    const all = Array.from({ length: 400_000 }, (_, i) => `line ${i}`);
    const text = `${all.join("\n")}\n`;
    sender.write(text);
    await systemClock.sleep(500);
    // What both kernels hold is far from all of it.
    expect(sender.writableLength + sender.bytesWritten).toBeGreaterThan(0);
    expect(sender.writableNeedDrain).toBe(true);
    expect(frames).toEqual([]);
    hasRoom = true;
    await until("all of them", () => frames.length === all.length);
    expect(frames).toEqual(all);
    expect(discards).toEqual([]);
  });

  test("the shortest frames, which take most room for their bytes, find it when they are pushed", async () => {
    const room = 65_536;
    let queued = 0;
    let lost = 0;
    const queue: WaitingSink = {
      ...sink,
      // As the intake counts: 64 bytes for a frame besides its own.
      hasRoom: (bytes) => queued + bytes + 64 <= room,
      frame: (bytes) => {
        if (queued + bytes.length + 64 > room) lost++;
        queued += bytes.length + 64;
        frames.push("");
        return true;
      },
    };
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const framing = framingOf({ kind: "lines", maxBytes: room / 2 });
    const options = {
      framing,
      first: "keep",
      idleTimeoutMs: undefined,
      address,
      maxConnections: 1,
      mode: 0o660,
    } as const;
    started(new SocketServer(options, queue, systemClock));
    await until("open", () => state() === "open");
    const sender = await caller(address);
    const part = `${"x".repeat(room / 2)}\n${"y\n".repeat(1_000)}`;
    sender.write(part.repeat(10));
    let before = 0;
    await until("all came", () => {
      // Emptied only when it is as full as it gets.
      if (frames.length === before) queued = 0;
      before = frames.length;
      return frames.length === 10_010;
    });
    expect(lost).toBe(0);
  });

  test("a sender that has to wait is not silent", async () => {
    const { address } = await listening({ idleTimeoutMs: 100 });
    const sender = await caller(address);
    hasRoom = false;
    sender.write("x\n");
    await systemClock.sleep(500);
    expect(sender.readableEnded).toBe(false);
    hasRoom = true;
    await until("the frame", () => frames.length === 1);
    await until("it is left when it is silent itself", () => sender.readableEnded || sender.destroyed);
  });

  test("a sender without end or line end costs nobody else their turn", async () => {
    const { address } = await listening();
    const flood = await caller(address);
    const noise = Buffer.alloc(65_536, "x");
    let sent = 0;
    const pour = () => {
      while (flood.write(noise)) sent += noise.length;
      flood.once("drain", pour);
    };
    pour();
    const other = await caller(address);
    for (let i = 0; i < 20; i++) {
      other.write(`${i}\n`);
      await until("the frame", () => frames.length === i + 1);
    }
    flood.destroy();
    await until("its bytes are one discard", () => discards.length === 1);
    expect(discards[0]).toMatch(/^overlong \d{5,}$/);
    expect(sent).toBeGreaterThan(0);
  });

  test("a port that another has is a failure with its reason, and is listened on as soon as it is free", async () => {
    const { port, server: other } = await device();
    server(`tcp://127.0.0.1:${port}`);
    await until("failed", () => state() === "failed");
    expect(reason()).toContain("EADDRINUSE");
    await new Promise((resolve) => other.close(resolve));
    servers.splice(servers.indexOf(other), 1);
    await until("open", () => state() === "open");
  });

  test("it can listen again where it listened before, with connections that were open", async () => {
    const { address, source } = await listening();
    const before = await caller(address);
    before.write("half");
    await systemClock.sleep(50);
    await source.stop();
    expect(discards).toEqual(["truncated 4"]);
    await until("its connections end", () => before.readableEnded || before.destroyed);
    server(address);
    await until("open", () => state() === "open");
    (await caller(address)).write("x\n");
    await until("the frame", () => frames.length === 1);
  });
});

describe("a unix socket that is listened on", () => {
  let path: string;
  beforeEach(() => {
    path = join(temporaryFolder(), "in.sock");
  });

  test("has the permissions that are set, and is gone after the stop", async () => {
    const before = process.umask();
    const source = server(`unix:${path}`, { mode: 0o606 });
    await until("open", () => state() === "open");
    expect(statSync(path).mode & 0o777).toBe(0o606);
    expect(process.umask()).toBe(before);
    (await caller(`unix:${path}`)).write("x\n");
    await until("the frame", () => frames.length === 1);
    await source.stop();
    expect(existsSync(path)).toBe(false);
  });

  test("left behind by a process that was killed, it is taken over", async () => {
    const { spawnSync } = await import("node:child_process");
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", script]);
    expect(statSync(path).isSocket()).toBe(true);
    server(`unix:${path}`);
    await until("open", () => state() === "open");
    (await caller(`unix:${path}`)).write("x\n");
    await until("the frame", () => frames.length === 1);
  });

  test("of another process that listens is left alone, and so is a file that is none", async () => {
    const other = createServer();
    servers.push(other);
    await new Promise<void>((resolve) => other.listen(path, resolve));
    const source = server(`unix:${path}`);
    await until("failed", () => state() === "failed");
    expect(reason()).toContain("another process listens there");
    await source.stop();
    expect(existsSync(path)).toBe(true);
    const file = `${path}.txt`;
    writeFileSync(file, "precious");
    server(`unix:${file}`);
    await until("failed", () => state() === "failed");
    expect(reason()).toContain("no socket");
    expect(readFileSync(file, "utf8")).toBe("precious");
  });
});
