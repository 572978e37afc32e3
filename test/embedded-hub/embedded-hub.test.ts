/** What is kept where: records, log files, upstream on and off, routes to inputs, start and stop. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { MqttClient } from "mqtt";
import { afterEach, describe, expect, test } from "vitest";
import {
  type EmbeddedHub,
  type EmbeddedHubOptions,
  startEmbeddedHub,
} from "../../src/embedded-hub/embedded-hub.ts";
import { connectRaw, RawModule, until, within } from "./clients.ts";

const hubs: EmbeddedHub[] = [];
const clients: MqttClient[] = [];
const folders: string[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.end(true);
  await Promise.all(hubs.splice(0).map((hub) => hub.stop()));
  await Promise.all(folders.splice(0).map((folder) => rm(folder, { recursive: true })));
});

async function start(options: EmbeddedHubOptions = {}): Promise<EmbeddedHub> {
  const hub = await startEmbeddedHub(options);
  hubs.push(hub);
  return hub;
}

async function connect(hub: EmbeddedHub, moduleId = "gateway"): Promise<MqttClient> {
  const client = await connectRaw(hub, "edge", moduleId);
  clients.push(client);
  return client;
}

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "hub-test-"));
  folders.push(folder);
  return folder;
}

function send(client: MqttClient, body: string, bag = "", moduleId = "gateway") {
  const topic = `devices/edge/modules/${moduleId}/messages/events/${bag}`;
  return within(client.publishAsync(topic, body, { qos: 1 }), `PUBACK of ${body}`);
}

function lines(path: string): Record<string, unknown>[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

const jsonBag = "%24.on=o&%24.ct=application%2Fjson&%24.ce=utf-8";

describe("records", () => {
  test("an acknowledged message is in the log file already", async () => {
    const messageLog = join(await makeFolder(), "messages.jsonl");
    const hub = await start({ messageLog });
    const client = await connect(hub);
    for (let index = 1; index <= 5; index++) {
      await send(client, `{"n":${index}}`, `${jsonBag}&p=q`);
      expect(lines(messageLog)).toHaveLength(index);
    }
    await send(client, "\u0000ÿ");
    expect(lines(messageLog).slice(4)).toEqual([
      {
        sequence: 5,
        receivedAt: expect.stringMatching(/^\d{4}-.*Z$/),
        deviceId: "edge",
        moduleId: "gateway",
        output: "o",
        properties: { p: "q" },
        systemProperties: { contentType: "application/json", contentEncoding: "utf-8" },
        body: { n: 5 },
      },
      {
        sequence: 6,
        receivedAt: expect.any(String),
        deviceId: "edge",
        moduleId: "gateway",
        properties: {},
        systemProperties: {},
        bodyBase64: Buffer.from("\u0000ÿ").toString("base64"),
      },
    ]);
  });

  test("a message that cannot be written to the log is not acknowledged", async () => {
    const hub = await start({ messageLog: "/dev/full" });
    const client = await connect(hub);
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    const acknowledged = client
      .publishAsync("devices/edge/modules/gateway/messages/events/", "x", { qos: 1 })
      .then(
        () => "acknowledged",
        () => "failed",
      );
    await within(closed, "close");
    client.end(true);
    expect(hub.messages).toEqual([]);
    expect(hub.counter("messagesNotKept")).toBe(1);
    expect(await Promise.race([acknowledged, Promise.resolve("open")])).not.toBe("acknowledged");
  });

  test("the list in memory is bounded by count and by bytes, and counts what it forgets", async () => {
    const hub = await start({ limits: { record: { maxMessages: 3, maxBytes: 5_000 } } });
    const client = await connect(hub);
    for (const body of ["1", "2", "3", "4"]) await send(client, body);
    expect(hub.messages.map(({ sequence }) => sequence)).toEqual([2, 3, 4]);
    await send(client, "x".repeat(4_700));
    expect(hub.messages.map(({ sequence }) => sequence)).toEqual([5]);
    expect(hub.counter("messages")).toBe(5);
    expect(hub.counter("messagesEvicted")).toBe(4);
  });

  test("events tell of messages, upstream and connections; off ends that", async () => {
    const hub = await start();
    const seen: string[] = [];
    const listener = (message: { sequence: number }) => seen.push(`message ${message.sequence}`);
    hub.on("message", listener);
    hub.on("upstream", (message) => seen.push(`upstream ${message.sequence}`));
    hub.on("connection", ({ clientId, state }) => seen.push(`${clientId} ${state}`));
    const client = await connect(hub);
    await send(client, "1");
    hub.off("message", listener);
    await send(client, "2");
    await client.endAsync();
    await until(() => seen.length >= 5, "events");
    expect(seen).toEqual([
      "edge/gateway connected",
      expect.stringMatching(/(message|upstream) 1/),
      expect.stringMatching(/(message|upstream) 1/),
      "upstream 2",
      "edge/gateway disconnected",
    ]);
  });
});

describe("upstream", () => {
  test("off: messages wait in order, the twin is served, reports are acknowledged; on: all flows", async () => {
    const upstreamLog = join(await makeFolder(), "upstream.jsonl");
    const hub = await start({ upstreamLog });
    const raw = new RawModule(await connect(hub));
    await send(raw.client, "before");
    hub.setUpstream("off");
    for (const body of ["1", "2", "3"]) await send(raw.client, body);
    expect(hub.messages).toHaveLength(4);
    expect(hub.upstreamMessages).toHaveLength(1);
    expect((await raw.report({ r: 1 })).status).toBe(204);
    hub.updateDesired("edge", "gateway", { d: 1 });
    const offline = JSON.parse((await raw.getTwin()).payload);
    expect(offline).toEqual({ desired: { $version: 1 }, reported: { r: 1, $version: 2 } });
    hub.updateDesired("edge", "gateway", { d: null, e: [2] });
    expect(raw.received.filter(({ topic }) => topic.includes("desired"))).toEqual([]);
    hub.setUpstream("on");
    expect(
      hub.upstreamMessages.map(({ body, sequence, acceptedSequence }) => [
        `${body}`,
        sequence,
        acceptedSequence,
      ]),
    ).toEqual([
      ["before", 1, 1],
      ["1", 2, 2],
      ["2", 3, 3],
      ["3", 4, 4],
    ]);
    expect(lines(upstreamLog).map(({ acceptedSequence }) => acceptedSequence)).toEqual([1, 2, 3, 4]);
    await until(() => raw.received.some(({ payload }) => payload === '{"e":[2],"$version":3}'), "the patch");
    expect(JSON.parse((await raw.getTwin()).payload).desired).toEqual({ e: [2], $version: 3 });
  });

  test("what is stored is bounded, and what is refused is counted", async () => {
    const hub = await start({ limits: { upstreamStore: { maxMessages: 2, maxBytes: 1_000_000 } } });
    const client = await connect(hub);
    hub.setUpstream("off");
    for (const body of ["1", "2", "3"]) await send(client, body);
    hub.setUpstream("on");
    expect(hub.upstreamMessages.map(({ body }) => body.toString())).toEqual(["1", "2"]);
    expect(hub.counter("upstreamDiscarded.full")).toBe(1);
  });

  test("what outlives its time is counted; a route may say otherwise, and a priority goes first", async () => {
    const hub = await start({
      timeToLiveSecs: 0,
      routes: {
        rest: "FROM /messages/* INTO $upstream",
        kept: {
          route: "FROM /messages/modules/gateway/outputs/kept INTO $upstream",
          timeToLiveSecs: 60,
          priority: 1,
        },
        first: {
          route: "FROM /messages/modules/gateway/outputs/first INTO $upstream",
          timeToLiveSecs: -1,
          priority: 0,
        },
      },
    });
    const client = await connect(hub);
    hub.setUpstream("off");
    await send(client, "expires");
    await send(client, "kept", "%24.on=kept");
    await send(client, "first", "%24.on=first");
    hub.setUpstream("on");
    expect(hub.upstreamMessages.map(({ body }) => body.toString())).toEqual(["first", "kept"]);
    expect(hub.counter("upstreamDiscarded.expired")).toBe(1);
  });

  test("twin changes are routed when a route asks for them", async () => {
    const hub = await start({ routes: { twin: "FROM /twinChangeNotifications INTO $upstream" } });
    const raw = new RawModule(await connect(hub));
    await send(raw.client, "unrouted");
    expect((await raw.report({ r: 1 })).status).toBe(204);
    expect(hub.upstreamMessages).toMatchObject([
      { body: Buffer.from('{"r":1}'), acceptedSequence: undefined },
    ]);
    expect(hub.counter("messagesUnrouted")).toBe(1);
  });
});

describe("routes to inputs", () => {
  test("a condition selects; the message waits for its module; one for nobody is counted", async () => {
    const hub = await start({
      modules: ["gateway", "filter"],
      routes: {
        hot: `FROM /messages/modules/gateway/* WHERE $body.t > 20 INTO BrokeredEndpoint("/modules/filter/inputs/hot")`,
        lost: 'FROM /messages/modules/gateway/outputs/o INTO BrokeredEndpoint("/modules/nobody/inputs/x")',
      },
    });
    const producer = await connect(hub);
    await send(producer, '{"t":30}', `${jsonBag}&%24.mid=m1&a=b`);
    await send(producer, '{"t":10}', jsonBag);
    expect(hub.status().inputs).toEqual({ "edge/filter": 1 });
    expect(hub.counter("inputsDiscarded.unknownModule")).toBe(2);
    const consumer = new RawModule(await connect(hub, "filter"));
    await consumer.client.subscribeAsync("devices/edge/modules/filter/inputs/#", { qos: 1 });
    const delivered = await until(() => consumer.received[0], "the input");
    expect(delivered).toMatchObject({
      topic:
        "devices/edge/modules/filter/inputs/hot/%24.cdid=edge&%24.cmid=gateway&%24.mid=m1&%24.ct=application%2Fjson&%24.ce=utf-8&a=b",
      payload: '{"t":30}',
      qos: 1,
    });
    await until(() => hub.counter("inputsAcknowledged") === 1, "the PUBACK");
  });

  test("a subscription of QoS 0 is delivered to at QoS 0", async () => {
    const hub = await start();
    const raw = new RawModule(await connect(hub));
    await raw.client.subscribeAsync("devices/edge/modules/gateway/inputs/#", { qos: 0 });
    expect(await within(hub.sendInput("gateway", "in", { body: "x" }), "input")).toBe(true);
    await until(() => raw.received.length > 0, "the message");
    expect(raw.received).toMatchObject([{ qos: 0, payload: "x" }]);
  });

  test("a message discarded with its module settles false", async () => {
    const hub = await start({ limits: { inputStore: { maxMessages: 1, maxBytes: 1_000_000 } } });
    const outcomes = ["1", "2", "3"].map((body) => hub.sendInput("gateway", "in", { body }));
    expect(await within(outcomes[2] ?? Promise.reject(new Error("none")), "the third")).toBe(false);
    hub.deleteIdentity("edge", "gateway");
    expect(await within(Promise.all(outcomes), "all")).toEqual([false, false, false]);
  });

  test("a route that cannot be read keeps the hub from starting", async () => {
    await expect(start({ routes: { bad: "FROM nowhere INTO $upstream" } })).rejects.toThrow(
      "not a message source",
    );
  });
});

describe("start and stop", () => {
  test("a port in use makes the start reject, and nothing is left behind", async () => {
    const hub = await start();
    const temporaryFolder = await makeFolder();
    await expect(start({ temporaryFolder, port: hub.port })).rejects.toMatchObject({ code: "EADDRINUSE" });
    await expect(start({ temporaryFolder, controlPort: hub.controlPort })).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
    expect(readdirSync(temporaryFolder)).toEqual([]);
    const other = await start({ temporaryFolder });
    expect(readdirSync(temporaryFolder)).toHaveLength(1);
    expect(dirname(dirname(other.caFile))).toBe(temporaryFolder);
  });

  test("stop cuts everything, removes its folder, settles what waits, and may be called twice", async () => {
    const hub = await start();
    const client = await connect(hub);
    await client.subscribeAsync("$iothub/methods/POST/#");
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    const input = hub.sendInput("gateway", "in", { body: "x" });
    const method = hub.invokeMethod("edge", "gateway", { methodName: "go" });
    const rejected = expect(method).rejects.toMatchObject({ status: 503 });
    await Promise.all([hub.stop(), hub.stop()]);
    await within(closed, "close");
    expect(await within(input, "input")).toBe(false);
    await rejected;
    expect(existsSync(dirname(hub.caFile))).toBe(false);
    await expect(hub.startListening()).rejects.toMatchObject({ status: 503 });
  });

  test("keys may be given, so that connection strings survive a restart", async () => {
    const key = Buffer.alloc(32, 1).toString("base64");
    const hub = await start({ keys: { "edge/gateway": key } });
    expect(hub.connectionString("edge", "gateway")).toContain(`SharedAccessKey=${key};`);
    expect(hub.connectionString("edge")).not.toContain(key);
    await expect(start({ keys: { edge: "short" } })).rejects.toMatchObject({ status: 400 });
  });

  test("the hub can be addressed as host itself, without gateway", async () => {
    const hub = await start();
    expect(hub.connectionString("edge", "gateway", { gateway: false })).toMatch(
      /^HostName=localhost:\d+;DeviceId=edge;/,
    );
    const host = `localhost:${hub.port}`;
    const { createSas } = await import("../../src/embedded-hub/sas.ts");
    const key = /SharedAccessKey=([^;]+)/.exec(hub.connectionString("edge", "gateway"))?.[1] ?? "";
    const client = await connectRaw(hub, "edge", "gateway", {
      username: `${host}/edge/gateway/?api-version=2021-04-12`,
      password: createSas(`${host}/devices/edge/modules/gateway`, key, Date.now() + 60_000),
    });
    clients.push(client);
    expect(hub.isConnected("edge", "gateway")).toBe(true);
  });

  test("the folder imports nothing of the gateway", () => {
    const folder = fileURLToPath(new URL("../../src/embedded-hub/", import.meta.url));
    const files = readdirSync(folder).filter((name) => name.endsWith(".ts"));
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) {
      const imports = [
        ...readFileSync(join(folder, file), "utf8").matchAll(/\bfrom "([^"]+)"|\bimport\("([^"]+)"\)/g),
      ];
      for (const [, from = "", dynamic = ""] of imports) {
        expect(`${file}: ${from}${dynamic}`).toMatch(/: (\.\/[\w-]+\.ts|node:[\w/]+|zod|selfsigned|ws)$/);
      }
    }
  });
});
