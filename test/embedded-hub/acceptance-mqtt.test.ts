/** The acceptance list with a plain `mqtt` client, and what the broker refuses. */
import mqtt from "mqtt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { createSas } from "../../src/embedded-hub/sas.ts";
import { connectRaw, RawModule, type RawOptions, rawOptions, until, within } from "./clients.ts";

let hub: EmbeddedHub;
const open: mqtt.MqttClient[] = [];

beforeAll(async () => {
  hub = await startEmbeddedHub({ modules: ["a", "b"], devices: ["leaf"], tokenExpiry: "disconnect" });
});

afterEach(() => {
  for (const client of open.splice(0)) client.end(true);
});

afterAll(async () => {
  await hub.stop();
});

async function connect(moduleId = "a", extra: RawOptions = {}) {
  const client = await connectRaw(hub, "edge", moduleId, extra);
  open.push(client);
  return client;
}

/** Connects expecting a refusal; its CONNACK code. */
async function refusal(extra: mqtt.IClientOptions): Promise<number | undefined> {
  const client = mqtt.connect(`mqtts://localhost:${hub.port}`, { ...rawOptions(hub, "edge", "a"), ...extra });
  open.push(client);
  return await within(
    new Promise((resolve) => {
      client.on("connect", () => resolve(0));
      client.on("error", (error) => resolve("code" in error ? Number(error.code) : undefined));
    }),
    "CONNACK",
  );
}

async function closed(client: mqtt.MqttClient): Promise<void> {
  await within(new Promise<void>((resolve) => client.once("close", () => resolve())), "the broker to close");
}

const telemetry = "devices/edge/modules/a/messages/events";

describe("a plain client does all a module does", () => {
  test("telemetry, twin, method, input, and the session after a cut", async () => {
    const raw = new RawModule(await connect("a", { clean: true }));
    await raw.client.endAsync();
    const first = new RawModule(await connect());
    const filters = [
      "$iothub/twin/res/#",
      "$iothub/twin/PATCH/properties/desired/#",
      "$iothub/methods/POST/#",
      "devices/edge/modules/a/inputs/#",
    ];
    const grants = await first.client.subscribeAsync(filters, { qos: 1 });
    expect(grants.map((grant) => grant.qos)).toEqual([1, 1, 1, 1]);

    await first.client.publishAsync(`${telemetry}/%24.on=o&%24.mid=1&p=q/`, "body", { qos: 1 });
    expect(hub.messages.at(-1)).toMatchObject({
      output: "o",
      properties: { p: "q" },
      body: Buffer.from("body"),
    });

    expect(await first.getTwin()).toMatchObject({
      status: 200,
      payload: expect.stringContaining('"$version":1'),
    });
    const reported = await first.report({ a: 1 });
    expect([reported.status, reported.payload]).toEqual([204, ""]);
    expect(reported.topic).not.toContain("$version");
    expect(await first.report({ a: [null] })).toMatchObject({ status: 400, payload: "" });
    expect(await first.report("not json")).toMatchObject({ status: 400, payload: "" });

    hub.updateDesired("edge", "a", { x: 1 });
    await until(
      () =>
        first.received.find(
          ({ topic, payload }) =>
            topic === "$iothub/twin/PATCH/properties/desired/?$version=2" &&
            payload === '{"x":1,"$version":2}',
        ),
      "the desired patch",
    );

    const answer = hub.invokeMethod("edge", "a", { methodName: "go", payload: { n: 1 } });
    const request = await until(
      () => first.received.find(({ topic }) => topic.startsWith("$iothub/methods/POST/go/?$rid=")),
      "the method request",
    );
    expect(request.payload).toBe('{"n":1}');
    const requestId = request.topic.split("$rid=")[1];
    await first.client.publishAsync(
      `$iothub/methods/res/200/?$rid=${requestId?.toUpperCase()}`,
      '{"ok":true}',
    );
    expect(await answer).toEqual({ status: 200, payload: { ok: true } });

    expect(await hub.sendInput("a", "in", { body: "i", properties: { k: "v" } })).toBe(true);
    expect(first.received.at(-1)).toMatchObject({
      topic: "devices/edge/modules/a/inputs/in/%24.cdid=edge&%24.cmid=embedded-hub&k=v",
      payload: "i",
      qos: 1,
      dup: false,
    });

    hub.killConnections("edge/a");
    const second = new RawModule(await connect());
    expect(await hub.sendInput("a", "in", { body: "j" })).toBe(true);
    expect(second.received.at(-1)?.payload).toBe("j");
    hub.updateDesired("edge", "a", { x: 2 });
    await until(
      () => second.received.some(({ payload }) => payload.includes('"x":2')),
      "patch on the kept session",
    );
  });

  test("a device, addressed without the question mark", async () => {
    const username = `${hub.hostName}/leaf/api-version=2021-04-12`;
    const client = await connectRaw(hub, "leaf", undefined, { username });
    open.push(client);
    await client.publishAsync("devices/leaf/messages/events/", "x", { qos: 1 });
    expect(hub.messages.at(-1)).toMatchObject({ deviceId: "leaf", moduleId: undefined });
  });

  test("CONNACK tells whether the session was kept; a clean start forgets it", async () => {
    const present = async (clean: boolean) => {
      const client = mqtt.connect(`mqtts://localhost:${hub.port}`, {
        ...rawOptions(hub, "edge", "b"),
        clean,
      });
      open.push(client);
      const flag = await within(
        new Promise((resolve) => client.once("connect", (packet) => resolve(packet.sessionPresent))),
        "CONNACK",
      );
      await client.endAsync();
      return flag;
    };
    expect(await present(false)).toBe(false);
    expect(await present(false)).toBe(true);
    expect(await present(true)).toBe(false);
    expect(await present(false)).toBe(false);
    await hub.stopListening();
    await hub.startListening();
    expect(await present(false)).toBe(true);
    await hub.stopListening({ keepSessions: false });
    await hub.startListening();
    expect(await present(false)).toBe(false);
  });
});

test("a client with short tokens, disconnected when they end, loses nothing; what it repeats is marked DUP", async () => {
  const client = await connect("b", { validMs: 1_500, reconnectPeriod: 20 });
  client.on("close", () => {
    client.options.password = rawOptions(hub, "edge", "b", { validMs: 1_500 }).password ?? "";
  });
  const expired = hub.counter("tokensExpired");
  const first = hub.messages.at(-1)?.sequence ?? 0;
  const sends: Promise<unknown>[] = [];
  for (let index = 0; hub.counter("tokensExpired") < expired + 2; index++) {
    if (index > 400) throw new Error("no two expiries in time");
    sends.push(client.publishAsync("devices/edge/modules/b/messages/events/", String(index), { qos: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  await within(Promise.all(sends), "all PUBACKs");
  const received = hub.messages.filter(({ sequence, moduleId }) => sequence > first && moduleId === "b");
  const bodies = received.filter(({ duplicate }) => !duplicate).map(({ body }) => body.toString());
  const all = new Set(received.map(({ body }) => body.toString()));
  expect([...all]).toEqual(sends.map((_send, index) => String(index)));
  expect(new Set(bodies).size).toBe(bodies.length);
});

describe("inputs are delivered at least once", () => {
  test("one in flight, the next after the PUBACK, and again after a reconnection, marked DUP", async () => {
    const client = await connect("b");
    await client.subscribeAsync("devices/edge/modules/b/inputs/#", { qos: 1 });
    const seen: string[] = [];
    const release: (() => void)[] = [];
    client.handleMessage = (packet, callback) => {
      seen.push(packet.payload.toString());
      release.push(() => callback());
    };
    const outcomes = ["1", "2"].map((body) => hub.sendInput("b", "in", { body }));
    await until(() => seen.length === 1, "the first message");
    expect(hub.counter("inputsDelivered")).toBeGreaterThan(0);
    const delivered = hub.counter("inputsDelivered");
    client.end(true);
    await until(() => !hub.isConnected("edge", "b"), "disconnection");
    const again = new RawModule(await connect("b"));
    expect(await within(Promise.all(outcomes), "both inputs")).toEqual([true, true]);
    expect(again.received.map(({ payload, dup }) => [payload, dup])).toEqual([
      ["1", true],
      ["2", false],
    ]);
    expect(seen).toEqual(["1"]);
    expect(hub.counter("inputsDelivered")).toBe(delivered + 1);
  });

  test("a message waits for a module that has not subscribed", async () => {
    const outcome = hub.sendInput("a", "late", { body: "w" });
    const client = new RawModule(await connect("a", { clean: true }));
    await client.client.publishAsync(`${telemetry}/`, "still connected", { qos: 1 });
    expect(client.received).toEqual([]);
    await client.client.subscribeAsync("devices/edge/modules/a/#", { qos: 1 });
    expect(await within(outcome, "the input")).toBe(true);
    expect(client.received[0]?.payload).toBe("w");
  });
});

describe("who is let in", () => {
  test.each<[string, () => mqtt.IClientOptions, number]>([
    ["the identity itself", () => ({}), 0],
    ["another key", () => ({ password: rawOptions(hub, "edge", "b").password ?? "" }), 5],
    ["no password", () => ({ password: undefined as unknown as string }), 5],
    [
      "an expired token",
      () => ({ password: rawOptions(hub, "edge", "a", { validMs: -1_000 }).password ?? "" }),
      5,
    ],
    ["another client identifier", () => ({ clientId: "edge/b" }), 5],
    ["no api-version", () => ({ username: `${hub.hostName}/edge/a/?x=1` }), 5],
    ["another hub", () => ({ username: "other.example/edge/a/?api-version=2021-04-12" }), 5],
    [
      "another hub, with a token for that one",
      () => {
        const key = /SharedAccessKey=([^;]+)/.exec(hub.connectionString("edge", "a"))?.[1] ?? "";
        return {
          username: "other.example/edge/a/?api-version=2021-04-12",
          password: createSas("other.example/devices/edge/modules/a", key, Date.now() + 60_000),
        };
      },
      5,
    ],
    ["MQTT 3.1", () => ({ protocolId: "MQIsdp", protocolVersion: 3 }), 1],
  ])("%s", async (_name, extra, code) => {
    expect(await refusal(extra())).toBe(code);
  });

  test("MQTT 5 is refused", async () => {
    const refused = hub.counter("connectsRefused.protocolVersion");
    const client = mqtt.connect(`mqtts://localhost:${hub.port}`, {
      ...rawOptions(hub, "edge", "a"),
      protocolVersion: 5,
    });
    client.on("error", () => undefined);
    open.push(client);
    await closed(client);
    expect(hub.counter("connectsRefused.protocolVersion")).toBe(refused + 1);
  });

  test("a disabled or unknown identity is not", async () => {
    hub.createModule("edge", "off", { status: "disabled" });
    await expect(connect("off")).rejects.toMatchObject({ code: 5 });
    hub.createModule("edge", "gone");
    const client = await connect("gone");
    const options = rawOptions(hub, "edge", "gone");
    const isClosed = closed(client);
    hub.deleteIdentity("edge", "gone");
    await isClosed;
    expect(await refusal(options)).toBe(5);
  });

  test("a client whose token expires is disconnected", async () => {
    const expired = hub.counter("tokensExpired");
    const client = await connect("a", { validMs: 1_500 });
    await closed(client);
    expect(hub.counter("tokensExpired")).toBe(expired + 1);
  });

  test("a client that trusts another CA does not connect", async () => {
    const other = await startEmbeddedHub();
    try {
      const client = mqtt.connect(`mqtts://localhost:${hub.port}`, {
        ...rawOptions(hub, "edge", "a"),
        ca: other.caPem,
      });
      open.push(client);
      const error = await within(new Promise((resolve) => client.once("error", resolve)), "TLS error");
      expect(String(error)).toMatch(/certificate/i);
    } finally {
      await other.stop();
    }
  });
});

describe("what a client may not do", () => {
  test.each([
    ["publish in another's name", "devices/edge/modules/b/messages/events/", "x", 1],
    ["publish as the device", "devices/edge/messages/events/", "x", 1],
    ["send more than 262,144 bytes", `${telemetry}/`, "x".repeat(262_144), 1],
    ["use QoS 2", `${telemetry}/`, "x", 2],
    ["send a bag that is not percent-encoded", `${telemetry}/a=%zz`, "x", 1],
  ] as const)("%s: the connection is closed and nothing accepted", async (_name, topic, payload, qos) => {
    const before = hub.counter("messages");
    const client = await connect();
    const isClosed = closed(client);
    client.publish(topic, payload, { qos });
    await isClosed;
    expect(hub.counter("messages")).toBe(before);
  });

  test("a message just within the limit is accepted", async () => {
    const client = await connect();
    const topic = `${telemetry}/`;
    const size = 262_144 - 2 - topic.length - 2;
    await within(client.publishAsync(topic, Buffer.alloc(size), { qos: 1 }), "PUBACK");
    expect(hub.messages.at(-1)?.body).toHaveLength(size);
  });

  test("wildcards are granted and show nothing of other modules", async () => {
    const spy = new RawModule(await connect("b", { clean: true }));
    const grants = await spy.client.subscribeAsync(
      ["#", "$iothub/#", "devices/#", "devices/edge/modules/a/#"],
      { qos: 1 },
    );
    expect(grants.map((grant) => grant.qos)).toEqual([1, 1, 1, 1]);
    const module = new RawModule(await connect("a"));
    await module.getTwin();
    await module.report({ secret: 1 });
    await module.client.publishAsync(`${telemetry}/`, "secret", { qos: 1 });
    hub.updateDesired("edge", "a", { secret: 2 });
    await spy.getTwin();
    expect(spy.received.filter(({ topic }) => !topic.startsWith("$iothub/twin/res/"))).toEqual([]);
    expect(spy.received).toHaveLength(1);
  });

  test("a topic nobody knows is acknowledged and dropped", async () => {
    const client = await connect();
    const before = hub.counter("publishesIgnored");
    await within(client.publishAsync("some/where", "x", { qos: 1 }), "PUBACK");
    expect(hub.counter("publishesIgnored")).toBe(before + 1);
  });
});

test("a second client with the same identity takes over, and a storm of it raises one alarm", async () => {
  const alarms: unknown[] = [];
  hub.on("alarm", (alarm) => alarms.push(alarm));
  const before = hub.counter("takeovers");
  let latest = await connect();
  for (let round = 1; round <= 8; round++) {
    const isClosed = closed(latest);
    latest = await connect();
    await isClosed;
    expect(hub.counter("takeovers")).toBe(before + round);
  }
  expect(hub.isConnected("edge", "a")).toBe(true);
  await until(() => alarms.length > 0, "the alarm");
  expect(alarms).toEqual([expect.objectContaining({ clientId: "edge/a" })]);
});

test("a will is published when the connection breaks, not after DISCONNECT", async () => {
  const will = { topic: `${telemetry}/w=1`, payload: Buffer.from("gone"), qos: 1 as const, retain: false };
  const polite = await connect("a", { will });
  const before = hub.counter("messages");
  await polite.endAsync();
  await until(() => !hub.isConnected("edge", "a"), "disconnection");
  expect(hub.counter("messages")).toBe(before);
  await connect("a", { will });
  hub.killConnections("edge/a");
  expect(hub.messages.at(-1)).toMatchObject({
    properties: { w: "1", "iothub-MessageType": "Will" },
    body: Buffer.from("gone"),
  });
});
