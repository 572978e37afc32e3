/** Real connections of all four kinds, whose other end is in this process. */
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer as createTlsServer } from "node:tls";
import { afterEach, describe, expect, test } from "vitest";
import { createWebSocketStream, WebSocketServer } from "ws";
import { InvariantError } from "../../src/core/errors.ts";
import { createServerCertificate } from "../../src/embedded-hub/certificates.ts";
import { openBroker } from "../../src/sources/broker-socket.ts";
import { CoalescedStream } from "../../src/sources/coalesced-stream.ts";
import { PacketError } from "../../src/sources/publish-sieve.ts";
import { until } from "../support/until.ts";

const { caPem, certificatePem: cert, privateKeyPem: key } = await createServerCertificate(["localhost"], []);
let server: Server | undefined;
let stream: CoalescedStream | undefined;

afterEach(() => {
  stream?.destroy();
  server?.close();
});

/** Lets everything through. */
const open = { sift: (bytes: Buffer) => bytes, isHeld: false };
const servers = {
  "mqtt:": () => createServer(),
  "mqtts:": () => createTlsServer({ cert, key }),
  "ws:": () => createHttpServer(),
  "wss:": () => createHttpsServer({ cert, key }),
};
type Protocol = keyof typeof servers;

async function listening(protocol: Protocol): Promise<{ made: Server; url: string }> {
  const made: Server = servers[protocol]();
  server = made;
  made.listen(0, "127.0.0.1");
  await once(made, "listening");
  return { made, url: `${protocol}//localhost:${(made.address() as AddressInfo).port}/mqtt` };
}

/** Its end, that of the other side, and what cuts the wire between them. */
async function opened(
  protocol: Protocol,
): Promise<{ stream: CoalescedStream; peer: Duplex; cut: () => void }> {
  const { made, url } = await listening(protocol);
  const connected = once(made, "connection");
  const came = protocol.startsWith("ws")
    ? once(new WebSocketServer({ server: made as ReturnType<typeof createHttpServer> }), "connection")
    : once(made, protocol === "mqtt:" ? "connection" : "secureConnection");
  const ca = Buffer.from(caPem);
  const opening = new CoalescedStream((received) => openBroker(url, { ca }, received), open);
  stream = opening;
  const [socket] = await came;
  const peer: Duplex = protocol.startsWith("ws") ? createWebSocketStream(socket) : socket;
  peer.on("error", () => undefined);
  const [wire] = (await connected) as [Socket];
  return { stream: opening, peer, cut: () => wire.resetAndDestroy() };
}

describe.each(["mqtt:", "mqtts:", "ws:", "wss:"] as const)("%s", (protocol) => {
  test("many small writes come in few pieces, whole and in order", async () => {
    const { stream, peer } = await opened(protocol);
    const pieces: Buffer[] = [];
    stream.on("data", (bytes) => pieces.push(bytes));
    let sent = "";
    for (let i = 0; i < 400; i++) {
      const part = `${i},`;
      sent += part;
      peer.write(part);
      if (i % 4 === 0) await sleep(1);
    }
    await until("all came", () => Buffer.concat(pieces).length === sent.length);
    expect(Buffer.concat(pieces).toString()).toBe(sent);
    // A plain socket has about 100 of them here.
    expect(pieces.length).toBeLessThan(60);
  });

  test("more than a buffer holds comes whole, and the end behind it", async () => {
    const { stream, peer } = await opened(protocol);
    const bytes = Buffer.alloc(3_000_000, "0123456789");
    peer.end(bytes);
    const got: Buffer[] = [];
    for await (const piece of stream) got.push(piece as Buffer);
    expect(Buffer.concat(got).equals(bytes)).toBe(true);
    await until("it is closed", () => stream.closed);
  });

  test("whoever does not read holds the sender up, and loses nothing", async () => {
    const { stream, peer } = await opened(protocol);
    const piece = Buffer.alloc(50_000, "abc");
    let sent = 0;
    const isSent = () => {
      sent++;
    };
    for (let i = 0; i < 600; i++) peer.write(piece, isSent);
    await sleep(300);
    expect(sent).toBeLessThan(500);
    let length = 0;
    stream.on("data", (bytes: Buffer) => {
      length += bytes.length;
    });
    await until("all came", () => length === 600 * piece.length);
  });

  test("what was written arrives, also when it was corked, and the end", async () => {
    const { stream, peer } = await opened(protocol);
    let heard = "";
    peer.on("data", (bytes) => {
      heard += bytes;
    });
    stream.write("one ");
    stream.cork();
    stream.write("two ");
    stream.write("three");
    stream.uncork();
    stream.resume();
    stream.end();
    await once(peer, "end");
    expect(heard).toBe("one two three");
    peer.end();
    await until("it is closed", () => stream.closed);
  });

  test("a connection that is cut ends it, and a socket tells why", async () => {
    const { stream, cut } = await opened(protocol);
    const reasons: unknown[] = [];
    stream.on("error", ({ code }: NodeJS.ErrnoException) => reasons.push(code));
    stream.resume();
    // It was quiet for a moment: what is read next is the end.
    await sleep(30);
    cut();
    await until("it is closed", () => stream.closed);
    expect(reasons).toEqual(protocol.startsWith("ws") ? [] : ["ECONNRESET"]);
  });
});

test("a certificate that is not trusted is an error with its code", async () => {
  const { url } = await listening("mqtts:");
  const failing = new CoalescedStream((received) => openBroker(url, {}, received), open);
  stream = failing;
  expect((await once(failing, "error"))[0]).toMatchObject({ code: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" });
});

test("while the sieve is held a little more is read, and then goes on where it was", async () => {
  const { made, url } = await listening("mqtt:");
  const came = once(made, "connection");
  let [isHeld, hasRoom, sifted] = [false, false, 0];
  const sieve = {
    sift: (bytes: Buffer) => {
      isHeld = !hasRoom;
      sifted += bytes.length;
      return bytes;
    },
    get isHeld() {
      return isHeld;
    },
  };
  const holding = new CoalescedStream((received) => openBroker(url, {}, received), sieve);
  stream = holding;
  holding.resume();
  const [peer] = (await came) as [Socket];
  peer.write("one");
  await until("it is held", () => isHeld);
  let isSent = false;
  peer.write(Buffer.alloc(30_000_000), () => {
    isSent = true;
  });
  await sleep(200);
  for (let i = 0; i < 100; i++) {
    expect(holding.goOn()).toBe(false);
    if (i % 10 === 0) await sleep(10);
  }
  expect({ sifted, isSent }).toEqual({ sifted: 3, isSent: false });
  hasRoom = true;
  expect(holding.goOn()).toBe(true);
  await until("it came", () => sifted === 30_000_003);
});

test.each([
  ["what the protocol forbids ends it", new PacketError("nonsense"), ["nonsense"]],
  ["a fault of ours does not: it is thrown", new InvariantError("ours"), []],
])("%s", async (_what, thrown, told) => {
  const { made, url } = await listening("mqtt:");
  const came = once(made, "connection");
  const fails = {
    sift: (): Buffer => {
      throw thrown;
    },
    isHeld: true,
  };
  const failing = new CoalescedStream((received) => openBroker(url, {}, received), fails);
  stream = failing;
  const reasons: string[] = [];
  failing.on("error", (error) => reasons.push(error.message));
  await came;
  const offer = () => failing.goOn();
  if (told.length > 0) expect(offer()).toBe(false);
  else expect(offer).toThrow("ours");
  await sleep(10);
  expect(reasons).toEqual(told);
});

test("what is held when the connection ends is not taken any more", async () => {
  const { made, url } = await listening("mqtt:");
  const came = once(made, "connection");
  let sifted = 0;
  const sieve = {
    sift: (bytes: Buffer) => {
      sifted++;
      return bytes.length > 0 ? Buffer.alloc(0) : Buffer.from("behind it");
    },
    isHeld: true,
  };
  const holding = new CoalescedStream((received) => openBroker(url, {}, received), sieve);
  stream = holding;
  holding.on("error", (error) => expect.unreachable(error.message));
  const ended = once(holding, "end");
  holding.resume();
  const [peer] = (await came) as [Socket];
  peer.end("held");
  await ended;
  holding.goOn();
  expect(sifted).toBe(0);
});
