/** Both ends of socket sources: what a source told, and devices with real sockets. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { SocketClient } from "../../src/sources/socket-client.ts";
import { SocketServer } from "../../src/sources/socket-server.ts";
import type { Source, SourceStatus, WaitingSink } from "../../src/sources/source.ts";
import { framingOf } from "./framed.ts";

/** What the sources of the test in hand told, all of them together. */
export const heard = {
  frames: [] as string[],
  discards: [] as string[],
  statuses: [] as SourceStatus[],
  hasRoom: true,
  get state() {
    return this.statuses.at(-1)?.state;
  },
  get reason() {
    return this.statuses.at(-1)?.reason ?? "";
  },
};
const sources: Source[] = [];
export const sockets: Socket[] = [];
export const servers: Server[] = [];

export const sink: WaitingSink = {
  frame: (bytes) => {
    heard.frames.push(Buffer.from(bytes).toString("latin1"));
    return true;
  },
  discard: (reason, bytes) => heard.discards.push(`${reason} ${bytes}`),
  status: (status) => heard.statuses.push(status),
  hasRoom: () => heard.hasRoom,
  committed: () => systemClock.sleep(20),
};
export const lines = { kind: "lines", maxBytes: 64 };

/** Each test hears its own, and leaves nothing open. */
export function eachTestItsOwn(): void {
  beforeEach(() => Object.assign(heard, { frames: [], discards: [], statuses: [], hasRoom: true }));
  afterEach(async () => {
    await Promise.all(sources.splice(0).map((source) => source.stop()));
    for (const socket of sockets.splice(0)) socket.destroy();
    await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
  });
}

export function started<T extends Source>(source: T): T {
  sources.push(source);
  source.start();
  return source;
}

export interface Options {
  readonly framing?: JsonObject;
  readonly idleTimeoutMs?: number;
  readonly maxConnections?: number;
  readonly mode?: number;
}

export const client = (
  address: string,
  { framing = { ...lines, first: "keep" }, idleTimeoutMs }: Options = {},
) =>
  started(
    new SocketClient(
      address,
      { framing: framingOf(framing), first: "discard", idleTimeoutMs },
      sink,
      systemClock,
    ),
  );

export function server(
  address: string,
  { framing = lines, idleTimeoutMs, maxConnections = 4, mode = 0o660 }: Options = {},
) {
  const stream = { framing: framingOf(framing), first: "keep", idleTimeoutMs } as const;
  return started(new SocketServer({ ...stream, address, maxConnections, mode }, sink, systemClock));
}

/** A device that listens; its connections in the order of their coming. */
export async function device(
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

export async function freePort(): Promise<number> {
  const { port, server: listening } = await device();
  await new Promise((resolve) => listening.close(resolve));
  servers.splice(servers.indexOf(listening), 1);
  return port;
}

/** A device that connects; resolves when it is connected. */
export async function caller(address: string): Promise<Socket> {
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
