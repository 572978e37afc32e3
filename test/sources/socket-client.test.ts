/** Socket sources that connect, with real TCP and unix sockets. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { pms5003 } from "../support/packets.ts";
import { until } from "../support/until.ts";
import { client, device, eachTestItsOwn, freePort, heard, lines, servers, sockets } from "./sockets.ts";

eachTestItsOwn();

describe("a source that connects", () => {
  test("reads frames whatever the chunks, and again after the connection was cut in the middle of one", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`);
    await until("open", () => heard.state === "open" && connections.length === 1);
    connections[0]?.write("one\ntw");
    await until("the first", () => heard.frames.length === 1);
    connections[0]?.write("o\r\nhal");
    await until("the second", () => heard.frames.length === 2);
    connections[0]?.resetAndDestroy();
    await until("connected again", () => connections.length === 2 && heard.state === "open");
    connections[1]?.write("three\n");
    await until("the third", () => heard.frames.length === 3);
    expect(heard.frames).toEqual(["one", "two", "three"]);
    expect(heard.discards).toEqual(["truncated 3"]);
    const states = heard.statuses.map((status) => status.state);
    expect(states).toEqual(["opening", "open", "absent", "open"]);
  });

  test("an address that nobody listens on is absent, and is read as soon as somebody does", async () => {
    const port = await freePort();
    client(`tcp://127.0.0.1:${port}`);
    await until("absent", () => heard.state === "absent");
    expect(heard.reason).toContain("ECONNREFUSED");
    const { connections } = await device(port);
    await until("open", () => heard.state === "open");
    connections[0]?.write("x\n");
    await until("the frame", () => heard.frames.length === 1);
  });

  test("an end that closes in order is tried again", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`);
    await until("connected", () => connections.length === 1);
    connections[0]?.end("last\n");
    await until("connected again", () => connections.length === 2);
    expect(heard.frames).toEqual(["last"]);
    expect(heard.statuses.map(({ reason }) => reason)).toContain(
      `tcp://127.0.0.1:${port}: closed by the other end`,
    );
  });

  test("what comes before the first end may be the tail of a frame, and is a discard, at every connection", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`, { framing: lines });
    await until("connected", () => connections.length === 1);
    connections[0]?.write("1.5\n2\n");
    await until("the frame", () => heard.frames.length === 1);
    connections[0]?.destroy();
    await until("connected again", () => connections.length === 2);
    connections[1]?.write("1.5\n3\n");
    await until("the frame", () => heard.frames.length === 2);
    expect(heard.frames).toEqual(["2", "3"]);
    expect(heard.discards).toEqual(["truncated 3", "truncated 3"]);
  });

  test("a silent end is left after idleTimeoutMs and tried again, one that sends is not", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`, { idleTimeoutMs: 900 });
    await until("connected", () => connections.length === 1);
    for (let i = 0; i < 15; i++) {
      connections[0]?.write(`${i}\n`);
      await systemClock.sleep(100);
    }
    expect(connections).toHaveLength(1);
    await until("connected again", () => connections.length === 2);
    expect(heard.frames).toHaveLength(15);
    expect(heard.statuses.map(({ reason }) => reason)).toContain(
      `tcp://127.0.0.1:${port}: silent for 900 ms`,
    );
  });

  test("the kernel watches a silent connection: an end that vanished is noticed", async () => {
    const { port, connections } = await device();
    client(`tcp://127.0.0.1:${port}`);
    await until("open", () => heard.state === "open" && connections.length === 1);
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
    await until("two packets", () => heard.frames.length === 2);
    expect(heard.frames).toEqual([packet.toString("latin1"), packet.toString("latin1")]);
    expect(heard.discards).toEqual(["unframed 23"]);
  });

  test("a unix socket is read like any other", async () => {
    const path = join(temporaryFolder(), "device.sock");
    const listening = createServer((socket) => {
      sockets.push(socket);
      socket.write("hello\n");
    });
    servers.push(listening);
    client(`unix:${path}`);
    await until("absent", () => heard.state === "absent");
    expect(heard.reason).toContain("ENOENT");
    listening.listen(path);
    await until("the frame", () => heard.frames.length === 1);
  });

  test("a stop ends it at once, whatever it does", async () => {
    const { port, connections } = await device();
    const source = client(`tcp://127.0.0.1:${port}`);
    await until("connected", () => connections.length === 1);
    connections[0]?.write("half");
    heard.hasRoom = false;
    connections[0]?.write("more\n");
    await source.stop();
    expect(heard.state).toBe("stopped");
    const trying = client(`tcp://127.0.0.1:${await freePort()}`);
    await until("absent", () => heard.state === "absent");
    await trying.stop();
    expect(heard.state).toBe("stopped");
    // One whose connecting takes for ever: no host answers there (RFC 5737).
    const hanging = client("tcp://192.0.2.1:9");
    await hanging.stop();
    expect(heard.state).toBe("stopped");
  });
});
