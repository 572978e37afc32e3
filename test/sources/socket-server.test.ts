/** Socket sources that listen, with real TCP and unix sockets. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { SocketServer } from "../../src/sources/socket-server.ts";
import type { WaitingSink } from "../../src/sources/source.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { until } from "../support/until.ts";
import { framingOf } from "./framed.ts";
import {
  caller,
  device,
  eachTestItsOwn,
  freePort,
  heard,
  type Options,
  server,
  servers,
  sink,
  started,
} from "./sockets.ts";

eachTestItsOwn();

describe("a source that listens", () => {
  const listening = async (options: Options = {}) => {
    const address = `tcp://127.0.0.1:${await freePort()}`;
    const source = server(address, options);
    await until("open", () => heard.state === "open");
    return { address, source };
  };

  test("each connection is a stream of its own, whose first line counts", async () => {
    const { address } = await listening();
    const [a, b] = [await caller(address), await caller(address)];
    a.write("a1");
    await systemClock.sleep(50);
    b.write("b1\nb2");
    await until("the first", () => heard.frames.length === 1);
    a.end("a2\n");
    await until("the second", () => heard.frames.length === 2);
    b.destroy();
    await until("what b had begun", () => heard.discards.length === 1);
    expect(heard.frames).toEqual(["b1", "a1a2"]);
    expect(heard.discards).toEqual(["truncated 2"]);
    expect(heard.state).toBe("open");
  });

  test("connections are bounded, and there is room again when one leaves", async () => {
    const { address } = await listening({ maxConnections: 2 });
    const [a] = [await caller(address), await caller(address)];
    const third = await caller(address);
    await until("the third is refused", () => third.destroyed || third.readableEnded);
    await until("it is told", () => heard.reason === "2 connections are open, others are refused");
    a.destroy();
    await until("there is room", () => heard.reason === "");
    const fourth = await caller(address);
    fourth.write("x\n");
    await until("the frame", () => heard.frames.length === 1);
  });

  test("while there is no room the sender has to wait, and nothing is lost", async () => {
    const { address } = await listening({ framing: { kind: "lines" } });
    const sender = await caller(address);
    heard.hasRoom = false;
    const all = Array.from({ length: 400_000 }, (_, i) => `line ${i}`);
    const text = `${all.join("\n")}\n`;
    sender.write(text);
    await systemClock.sleep(500);
    // What both kernels hold is far from all of it.
    expect(sender.writableNeedDrain).toBe(true);
    expect(heard.frames).toEqual([]);
    heard.hasRoom = true;
    await until("all of them", () => heard.frames.length === all.length);
    expect(heard.frames).toEqual(all);
    expect(heard.discards).toEqual([]);
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
        heard.frames.push("");
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
    await until("open", () => heard.state === "open");
    const sender = await caller(address);
    const part = `${"x".repeat(room / 2)}\n${"y\n".repeat(1_000)}`;
    sender.write(part.repeat(10));
    let before = 0;
    await until("all came", () => {
      // Emptied only when it is as full as it gets.
      if (heard.frames.length === before) queued = 0;
      before = heard.frames.length;
      return heard.frames.length === 10_010;
    });
    expect(lost).toBe(0);
  });

  test("a sender that has to wait is not silent", async () => {
    const { address } = await listening({ idleTimeoutMs: 100 });
    const sender = await caller(address);
    heard.hasRoom = false;
    sender.write("x\n");
    await systemClock.sleep(500);
    expect(sender.readableEnded).toBe(false);
    heard.hasRoom = true;
    await until("the frame", () => heard.frames.length === 1);
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
      await until("the frame", () => heard.frames.length === i + 1);
    }
    flood.destroy();
    await until("its bytes are one discard", () => heard.discards.length === 1);
    expect(heard.discards[0]).toMatch(/^overlong \d{5,}$/);
    expect(sent).toBeGreaterThan(0);
  });

  test("a port that another has is a failure with its reason, and is listened on as soon as it is free", async () => {
    const { port, server: other } = await device();
    server(`tcp://127.0.0.1:${port}`);
    await until("failed", () => heard.state === "failed");
    expect(heard.reason).toContain("EADDRINUSE");
    await new Promise((resolve) => other.close(resolve));
    servers.splice(servers.indexOf(other), 1);
    await until("open", () => heard.state === "open");
  });

  test("it can listen again where it listened before, with connections that were open", async () => {
    const { address, source } = await listening();
    const before = await caller(address);
    before.write("half");
    await systemClock.sleep(50);
    await source.stop();
    expect(heard.discards).toEqual(["truncated 4"]);
    await until("its connections end", () => before.readableEnded || before.destroyed);
    server(address);
    await until("open", () => heard.state === "open");
    (await caller(address)).write("x\n");
    await until("the frame", () => heard.frames.length === 1);
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
    await until("open", () => heard.state === "open");
    expect(statSync(path).mode & 0o777).toBe(0o606);
    expect(process.umask()).toBe(before);
    (await caller(`unix:${path}`)).write("x\n");
    await until("the frame", () => heard.frames.length === 1);
    await source.stop();
    expect(existsSync(path)).toBe(false);
  });

  test("left behind by a process that was killed, it is taken over", async () => {
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", script]);
    expect(statSync(path).isSocket()).toBe(true);
    server(`unix:${path}`);
    await until("open", () => heard.state === "open");
    (await caller(`unix:${path}`)).write("x\n");
    await until("the frame", () => heard.frames.length === 1);
  });

  test("of another process that listens is left alone, and so is a file that is none", async () => {
    const other = createServer();
    servers.push(other);
    await new Promise<void>((resolve) => other.listen(path, resolve));
    const source = server(`unix:${path}`);
    await until("failed", () => heard.state === "failed");
    expect(heard.reason).toContain("another process listens there");
    await source.stop();
    expect(existsSync(path)).toBe(true);
    const file = `${path}.txt`;
    writeFileSync(file, "precious");
    server(`unix:${file}`);
    await until("failed", () => heard.state === "failed");
    expect(heard.reason).toContain("no socket");
    expect(readFileSync(file, "utf8")).toBe("precious");
  });
});
