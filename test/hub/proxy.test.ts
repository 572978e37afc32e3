/** The direct client through an HTTP proxy, and past it. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { AzureClient } from "../../src/hub/azure-client.ts";
import { DirectClient } from "../../src/hub/direct-client.ts";
import { environmentProxy } from "../../src/hub/direct-stream.ts";
import { hubClientFactory } from "../../src/hub/hub-factory.ts";
import { until } from "../support/until.ts";
import { bench, message, outcomeOf } from "./subjects.ts";

const lab = bench();

/** A proxy that knows CONNECT, and writes down what it was asked. */
async function connectProxy(refusal?: string) {
  const asked: { target: string | undefined; authorization: string | undefined }[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((_, response) => response.writeHead(405).end());
  server.on("connect", (request, client: Socket) => {
    asked.push({ target: request.url, authorization: request.headers["proxy-authorization"] });
    client.on("error", () => client.destroy());
    if (refusal !== undefined) return client.end(`HTTP/1.1 ${refusal}\r\n\r\n`);
    const [host = "", port] = request.url?.split(":") ?? [];
    const target = connect(Number(port), host, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      client.pipe(target).pipe(client);
    });
    sockets.add(target);
    sockets.add(client);
    target.on("error", () => client.destroy());
    client.on("close", () => target.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    withPassword: `http://user:pass%40word@127.0.0.1:${port}`,
    asked,
    sockets,
  };
}

test("WebSocket goes through the environment's proxy, with its password, and TLS reaches the hub", async () => {
  const proxy = await connectProxy();
  const environment = { HTTPS_PROXY: proxy.withPassword };
  const { client, id, lost } = lab.subject("direct", "iothub over WebSocket", {
    environment,
    proxy: "environment",
  });
  await client.connect();
  await client.send(message(`through-${id}`));
  expect(lab.received(`through-${id}`)).toHaveLength(1);
  const authorization = `Basic ${Buffer.from("user:pass@word").toString("base64")}`;
  expect(proxy.asked).toEqual([{ target: `localhost:${lab.hub.webSocketPort}`, authorization }]);
  for (const socket of proxy.sockets) socket.destroy();
  await until("the loss is told", () => lost.length > 0);
});

test("MQTT goes through a proxy as well", async () => {
  const proxy = await connectProxy();
  const { client } = lab.subject("direct", "iothub", { proxy: new URL(proxy.url) });
  await client.connect();
  expect(proxy.asked).toEqual([{ target: `localhost:${lab.hub.port}`, authorization: undefined }]);
});

test("the configuration chooses client, transport and proxy", async () => {
  const made = async (hub: JsonObject) => {
    const { config } = checkConfig({ gateway: { name: "box" }, hub });
    const events = { lost: () => undefined, desired: () => undefined };
    const factory = await hubClientFactory(config.hub, "box", environment, "headgate/test");
    const client = factory(events);
    onTestFinished(() => client.close());
    return client;
  };
  const [proxy, other] = [await connectProxy(), await connectProxy()];
  lab.hub.createModule("edge", "configured");
  const CONNECTION = lab.hub
    .connectionString("edge", "configured")
    .replace(`:${lab.hub.port}`, `:${lab.hub.webSocketPort}`);
  const environment: NodeJS.ProcessEnv = { CONNECTION, HTTPS_PROXY: other.url };
  const iothub = { type: "iothub", connectionString: { env: "CONNECTION" }, caFile: lab.hub.caFile };
  const client = await made({ ...iothub, transport: "websocket", proxy: proxy.url });
  await client.connect();
  await client.send(message("configured"));
  expect(lab.received("configured")).toHaveLength(1);
  expect([proxy.asked.length, other.asked.length]).toEqual([1, 0]);
  await client.close();
  await (await made({ ...iothub, transport: "websocket" })).connect();
  expect([proxy.asked.length, other.asked.length]).toEqual([1, 1]);
  // The environment's proxy is neither for MQTT on its own port nor for edge hub.
  environment.CONNECTION = lab.hub.connectionString("edge", "configured");
  await (await made(iothub)).connect();
  Object.assign(environment, lab.hub.environment("configured"), {
    IOTEDGE_GATEWAYHOSTNAME: `localhost:${lab.hub.webSocketPort}`,
  });
  await (await made({ type: "edge", transport: "websocket" })).connect();
  expect([proxy.asked.length, other.asked.length]).toEqual([1, 1]);
  expect(client).toBeInstanceOf(DirectClient);
  expect(await made({ type: "edge", client: "sdk" })).toBeInstanceOf(AzureClient);
});

test.each(["407 Proxy Authentication Required", "503 Service Unavailable"])(
  "a proxy that answers %s makes the hub unreachable, and says so",
  async (refusal) => {
    const { url } = await connectProxy(refusal);
    const { client } = lab.subject("direct", "iothub", { proxy: new URL(url) });
    const outcome = await outcomeOf(client.connect());
    expect(outcome).toMatchObject({ name: "TransientError", code: "HUB_UNREACHABLE" });
    expect(String(outcome)).toContain(`the proxy answered CONNECT with ${refusal.slice(0, 3)}`);
  },
);

test("a proxy that nobody listens at makes the hub unreachable", async () => {
  const { client } = lab.subject("direct", "iothub", { proxy: new URL("http://127.0.0.1:1") });
  expect(await outcomeOf(client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
});

test("a server without MQTT behind its WebSocket path is no hub", async () => {
  const { client } = lab.subject("direct", "iothub", { transport: "websocket" });
  expect(await outcomeOf(client.connect())).toMatchObject({ name: "TransientError" });
});

test.each([
  ["hub.example", "", true],
  ["hub.example", "other.example, hub.example", false],
  ["hub.example", "example", false],
  ["hub.example", ".example", false],
  ["hub.example", "ub.example", true],
  ["hub.example", "*", false],
])("for %s, NO_PROXY=%s: through the proxy is %s", (host, noProxy, expected) => {
  const environment = { HTTPS_PROXY: "http://proxy:8080", NO_PROXY: noProxy };
  expect(environmentProxy(environment, host) !== undefined).toBe(expected);
  expect(environmentProxy({ NO_PROXY: noProxy }, host)).toBeUndefined();
});
