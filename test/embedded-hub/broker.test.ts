/** The protocol's own rules, over a bare TLS socket: what no well-behaved client does. */
import { connect as connectTcp } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { publish } from "../../src/embedded-hub/mqtt-codec.ts";
import { connectRaw, RawModule, rawOptions, until, within } from "./clients.ts";

let hub: EmbeddedHub;
const sockets: TLSSocket[] = [];

beforeAll(async () => {
  hub = await startEmbeddedHub({
    modules: ["gateway", "other"],
    limits: { connectTimeoutMs: 400, maxKeepAliveMs: 700, maxUnsentBytes: 100_000 },
  });
});

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

afterAll(async () => {
  await hub.stop();
});

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
}

function connectPacket(keepAliveSeconds: number, moduleId = "gateway"): Buffer {
  const { clientId = "", username = "", password = "" } = rawOptions(hub, "edge", moduleId);
  const body = Buffer.concat([
    text("MQTT"),
    Buffer.from([4, 0xc2, keepAliveSeconds >> 8, keepAliveSeconds & 0xff]),
    text(clientId),
    text(username),
    text(password.toString()),
  ]);
  const length = [(body.length % 128) | 0x80, Math.floor(body.length / 128)];
  return Buffer.concat([Buffer.from([0x10, ...length]), body]);
}

class Bare {
  readonly socket: TLSSocket;
  received = "";
  isClosed = false;

  constructor(socket: TLSSocket) {
    this.socket = socket;
    sockets.push(socket);
    socket.on("data", (chunk: Buffer) => {
      this.received += chunk.toString("hex");
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
    });
  }

  static async open(): Promise<Bare> {
    const socket = connectTls({ port: hub.port, host: "localhost", ca: hub.caPem });
    const bare = new Bare(socket);
    await within(new Promise<void>((resolve) => socket.once("secureConnect", () => resolve())), "TLS");
    return bare;
  }

  async closed(): Promise<void> {
    await until(() => this.isClosed, "the broker to close");
  }

  async connack(): Promise<void> {
    await until(() => this.received.startsWith("20020000"), "CONNACK");
  }
}

describe("connections that break the rules are closed", () => {
  test("a second CONNECT", async () => {
    const bare = await Bare.open();
    bare.socket.write(connectPacket(60));
    await bare.connack();
    bare.socket.write(connectPacket(60));
    await bare.closed();
    expect(hub.counter("connectionsClosed.protocol")).toBe(1);
    expect(hub.status().recentCloses).toMatchObject([
      { clientId: "edge/gateway", reason: "protocol", detail: "a second CONNECT (3.1.0-2)" },
    ]);
  });

  test("anything before CONNECT", async () => {
    const bare = await Bare.open();
    bare.socket.write(Buffer.from("c000", "hex"));
    await bare.closed();
    expect(bare.received).toBe("");
  });

  test("bytes that are no MQTT", async () => {
    const bare = await Bare.open();
    const protocol = hub.counter("connectionsClosed.protocol");
    bare.socket.write("GET / HTTP/1.1\r\n\r\n");
    await bare.closed();
    expect(hub.counter("connectionsClosed.protocol")).toBe(protocol + 1);
  });

  test("no CONNECT in time", async () => {
    const late = hub.counter("connectionsClosed.connectTimeout");
    const bare = await Bare.open();
    await bare.closed();
    expect(hub.counter("connectionsClosed.connectTimeout")).toBe(late + 1);
  });

  test("a TCP connection without TLS does not keep the port from closing", async () => {
    const patient = await startEmbeddedHub();
    const socket = connectTcp(patient.port, "127.0.0.1");
    socket.on("error", () => undefined);
    await within(new Promise<void>((resolve) => socket.once("connect", () => resolve())), "TCP");
    await within(patient.stopListening(), "stopListening");
    await patient.startListening();
    socket.destroy();
    await patient.stop();
  });

  test("silence beyond the keep-alive, where a ping would have kept it", async () => {
    const bare = await Bare.open();
    bare.socket.write(connectPacket(0));
    await bare.connack();
    // The keep-alive of 0 became the hub's maximum, 700 ms.
    for (let index = 0; index < 6; index++) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      bare.socket.write(Buffer.from("c000", "hex"));
    }
    await until(() => bare.received.endsWith("d000".repeat(6)), "six answers to pings");
    expect(bare.isClosed).toBe(false);
    await bare.closed();
    expect(hub.counter("connectionsClosed.keepAliveExpired")).toBe(1);
  });

  test("a client that asks and does not read", async () => {
    const value = "x".repeat(4_000);
    hub.updateDesired("edge", "gateway", { a: value, b: value, c: value, d: value, e: value, f: value });
    const bare = await Bare.open();
    bare.socket.write(connectPacket(60));
    await bare.connack();
    bare.socket.pause();
    const request = publish({ topic: "$iothub/twin/GET/?$rid=1", payload: Buffer.alloc(0), qos: 0 });
    const isCut = () => hub.counter("connectionsClosed.clientDoesNotRead") === 1;
    for (let index = 0; index < 400 && !isCut(); index++) {
      bare.socket.write(Buffer.concat(Array.from({ length: 10 }, () => request)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until(isCut, "the cut");
  });
});

test("only the module that was asked can answer a method", async () => {
  const asked = new RawModule(await connectRaw(hub, "edge", "gateway"));
  const other = new RawModule(await connectRaw(hub, "edge", "other"));
  await asked.client.subscribeAsync("$iothub/methods/POST/#");
  const answer = hub.invokeMethod("edge", "gateway", { methodName: "go" });
  const { topic } = await until(() => asked.received[0], "the request");
  const response = topic.replace("POST/go", "res/200");
  const unmatched = hub.counter("methodAnswersUnmatched");
  await other.client.publishAsync(response, '"forged"', { qos: 1 });
  expect(hub.counter("methodAnswersUnmatched")).toBe(unmatched + 1);
  await asked.client.publishAsync(response, '"true"', { qos: 1 });
  expect(await answer).toEqual({ status: 200, payload: "true" });
  asked.client.end(true);
  other.client.end(true);
});

test("a method waits for the subscription, not for the connection alone", async () => {
  const answer = hub.invokeMethod("edge", "other", { methodName: "go", connectTimeoutInSeconds: 10 });
  const raw = new RawModule(await connectRaw(hub, "edge", "other", { clean: true }));
  await raw.getTwin();
  expect(raw.received.filter(({ topic }) => topic.includes("methods"))).toEqual([]);
  await raw.client.subscribeAsync("$iothub/methods/POST/#");
  const { topic } = await until(
    () => raw.received.find(({ topic }) => topic.includes("methods")),
    "the request",
  );
  await raw.client.publishAsync(topic.replace("POST/go", "res/204"), "");
  expect(await answer).toEqual({ status: 204, payload: null });
  raw.client.end(true);
});
