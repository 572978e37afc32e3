/** The hub client for any broker, against a real one. */
import { createServer, type Server, type Socket } from "node:net";
import { Aedes, type AedesPublishPacket } from "aedes";
import mqttPacket, { type Packet } from "mqtt-packet";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { MqttClient, type MqttClientOptions } from "../../src/hub/mqtt-client.ts";
import { plain } from "../support/hub-message.ts";
import { silentLink } from "../support/silent-link.ts";
import { until } from "../support/until.ts";

let aedes: Aedes;
let server: Server;
let port: number;
const sockets = new Set<Socket>();
const received: AedesPublishPacket[] = [];
const open: MqttClient[] = [];

beforeEach(async () => {
  received.length = 0;
  aedes = new Aedes();
  await aedes.listen();
  aedes.on("publish", (packet, client) => {
    if (client) received.push(packet);
  });
  server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    aedes.handle(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close()));
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  await new Promise<void>((resolve) => aedes.close(() => resolve()));
});

function client(more: Partial<MqttClientOptions> = {}): { client: MqttClient; lost: Error[] } {
  const lost: Error[] = [];
  const made = new MqttClient(
    {
      url: `mqtt://127.0.0.1:${port}`,
      protocolVersion: 4,
      clientId: "headgate-box",
      username: undefined,
      password: undefined,
      caFile: undefined,
      certFile: undefined,
      keyFile: undefined,
      topic: "headgate/box/{output}",
      connectTimeoutMs: 2_000,
      sendTimeoutMs: 1_000,
      closeTimeoutMs: 500,
      ...more,
    },
    { lost: (reason) => lost.push(reason), desired: () => undefined },
  );
  open.push(made);
  return { client: made, lost };
}

const message = { id: "m-1", output: "readings", ...plain, body: Buffer.from('[{"id":"a"}]') };

test("a message arrives at QoS 1 on the topic of its output", async () => {
  const { client: subject } = client();
  await subject.connect();
  await subject.send(message);
  expect(received).toHaveLength(1);
  expect(received[0]).toMatchObject({ topic: "headgate/box/readings", qos: 1 });
  expect(received[0]?.payload.toString()).toBe('[{"id":"a"}]');
});

test("a network that falls silent while nothing is sent is noticed by the pings, and one that is only idle stays", async () => {
  const link = await silentLink(port);
  const { client: subject, lost } = client({ url: `mqtt://127.0.0.1:${link.port}`, keepAliveS: 1 });
  await subject.connect();
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  expect(lost).toEqual([]);
  link.silence();
  await until("the loss is told", () => lost.length > 0);
  expect(lost[0]).toMatchObject({ code: "HUB_LOST" });
});

test("a PUBACK that never comes fails by our deadline, and the close after it ends", async () => {
  aedes.authorizePublish = () => undefined;
  const { client: subject } = client();
  await subject.connect();
  await expect(subject.send(message)).rejects.toMatchObject({ code: "HUB_TIMEOUT" });
  await subject.close();
  await until("the connection is gone", () => sockets.size === 0);
});

test("a password that the broker does not know is a refusal", async () => {
  aedes.authenticate = (_client, _username, password, done) => {
    const known = password?.toString() === "right";
    done(known ? null : Object.assign(new Error("no"), { returnCode: 4 as const }), known);
  };
  await expect(client({ username: "u", password: () => "wrong" }).client.connect()).rejects.toMatchObject({
    code: "HUB_UNAUTHORIZED",
  });
  await client({ username: "u", password: () => "right" }).client.connect();
});

test("a broker that goes away is told as lost, once, and one that is not there is unreachable", async () => {
  const { client: subject, lost } = client();
  await subject.connect();
  for (const socket of sockets) socket.destroy();
  await until("the loss is told", () => lost.length > 0);
  await expect(subject.send(message)).rejects.toBeInstanceOf(Error);
  expect(lost).toHaveLength(1);
  await expect(client({ url: "mqtt://127.0.0.1:1" }).client.connect()).rejects.toMatchObject({
    code: "HUB_UNREACHABLE",
  });
});

/** aedes speaks 3.1.1 only; this much of a broker answers CONNECT and PUBLISH of MQTT 5 with the real codec. */
async function brokerOfMqtt5(reasonOf: (body: string) => number = () => 0) {
  const packets: Packet[] = [];
  const broker = createServer((socket) => {
    const parser = mqttPacket.parser({ protocolVersion: 5 });
    parser.on("packet", (packet) => {
      packets.push(packet);
      const answer: Packet | undefined =
        packet.cmd === "connect"
          ? { cmd: "connack", reasonCode: 0, sessionPresent: false }
          : packet.cmd === "publish"
            ? {
                cmd: "puback",
                messageId: packet.messageId ?? 0,
                reasonCode: reasonOf(packet.payload.toString()),
              }
            : undefined;
      if (answer) socket.write(mqttPacket.generate(answer, { protocolVersion: 5 }));
    });
    socket.on("data", (bytes) => parser.parse(bytes));
    socket.on("error", () => socket.destroy());
  });
  await new Promise<void>((resolve) => broker.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    broker.close();
  });
  const address = broker.address();
  const url = `mqtt://127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  return { url, packets };
}

test("with MQTT 5 content type and message id travel as properties", async () => {
  const { url, packets } = await brokerOfMqtt5();
  const { client: subject } = client({ protocolVersion: 5, url });
  await subject.connect();
  await subject.send(message);
  await subject.close();
  expect(packets.find((packet) => packet.cmd === "connect")).toMatchObject({ protocolVersion: 5 });
  expect(packets.find((packet) => packet.cmd === "publish")).toMatchObject({
    topic: "headgate/box/readings",
    qos: 1,
    properties: { contentType: "application/json", userProperties: { messageId: "m-1" } },
  });
});

// MQTT 5 section 3.4.2.1: about the message, which never passes, or about the broker's present state.
test.each([
  ["payload format invalid", 0x99, "PermanentError", "HUB_REJECTED"],
  ["topic name invalid", 0x90, "PermanentError", "HUB_REJECTED"],
  ["quota exceeded", 0x97, "TransientError", "HUB_LOST"],
  ["not authorized", 0x87, "TransientError", "HUB_LOST"],
] as const)("a PUBACK of MQTT 5 that says %s (%i) is a %s", async (_, reason, name, code) => {
  const { url } = await brokerOfMqtt5((body) => (body === "refused" ? reason : 0));
  const { client: subject, lost } = client({ protocolVersion: 5, url });
  await subject.connect();
  const failure = await subject
    .send({ ...message, body: Buffer.from("refused") })
    .catch((error: unknown) => error);
  expect(failure).toMatchObject({ name, code });
  await subject.send(message);
  expect(lost).toEqual([]);
});
