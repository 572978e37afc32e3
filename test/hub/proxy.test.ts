/** The direct client through an HTTP proxy, and past it. */
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { environmentProxy } from "../../src/hub/direct-stream.ts";
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
  const { client, id, lost } = lab.subject("direct", "iothub over WebSocket", { environment });
  await client.connect();
  await client.send(message(`through-${id}`));
  expect(lab.received(`through-${id}`)).toHaveLength(1);
  const authorization = `Basic ${Buffer.from("user:pass@word").toString("base64")}`;
  expect(proxy.asked).toEqual([{ target: `localhost:${lab.hub.webSocketPort}`, authorization }]);
  for (const socket of proxy.sockets) socket.destroy();
  await until("the loss is told", () => lost.length > 0);
});

test("MQTT goes through the configured proxy, and past the environment's", async () => {
  const [configured, other] = [await connectProxy(), await connectProxy()];
  const environment = { HTTPS_PROXY: other.url };
  const through = lab.subject("direct", "iothub", { proxy: new URL(configured.url), environment });
  await through.client.connect();
  const past = lab.subject("direct", "iothub", { environment });
  await past.client.connect();
  expect(configured.asked).toEqual([{ target: `localhost:${lab.hub.port}`, authorization: undefined }]);
  expect(other.asked).toEqual([]);
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
