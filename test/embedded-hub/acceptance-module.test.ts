/** The acceptance list with the unmodified module client of the Azure SDK, in both ways to start it. */
import type device from "azure-iot-device";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import {
  closeSdk,
  echoMethod,
  Message,
  moduleFromEnvironment,
  report,
  type SdkModule,
  until,
  within,
} from "./clients.ts";

const modules = ["workload", "connectionString", "restart", "reopen", "renewal", "consumer"];
let hub: EmbeddedHub;
const opened: SdkModule[] = [];

beforeAll(async () => {
  hub = await startEmbeddedHub({
    modules,
    routes: {
      toCloud: "FROM /messages/* INTO $upstream",
      toConsumer:
        'FROM /messages/modules/workload/outputs/chain INTO BrokeredEndpoint("/modules/consumer/inputs/in1")',
    },
  });
});

afterAll(async () => {
  await Promise.all(opened.map(closeSdk));
  await hub.stop();
});

async function open(moduleId: string, environment = hub.environment(moduleId)): Promise<SdkModule> {
  const client = await moduleFromEnvironment(environment);
  opened.push(client);
  await within(client.open(), "open");
  return client;
}

function textMessage(body: string, messageId: string) {
  const message = new Message(body);
  message.messageId = messageId;
  return message;
}

function messagesOf(moduleId: string) {
  return hub.messages.filter((message) => message.moduleId === moduleId);
}

/** Telemetry, input, method and desired patch, each there and back. */
async function exerciseAll(
  client: SdkModule,
  moduleId: string,
  round: string,
  inputs: string[],
  patches: object[],
) {
  await within(client.sendOutputEvent("out", textMessage(round, round)), "sendOutputEvent");
  expect(messagesOf(moduleId).at(-1)).toMatchObject({
    output: "out",
    systemProperties: { messageId: round },
  });
  expect(await within(hub.sendInput(moduleId, "in", { body: round }), "input")).toBe(true);
  expect(inputs.at(-1)).toBe(`in ${round}`);
  const call = {
    methodName: "echo",
    payload: { round },
    connectTimeoutInSeconds: 5,
    responseTimeoutInSeconds: 5,
  };
  expect(await hub.invokeMethod("edge", moduleId, call)).toEqual({ status: 200, payload: { round } });
  hub.updateDesired("edge", moduleId, { round });
  await until(() => patches.some((patch) => "round" in patch && patch.round === round), `patch ${round}`);
}

/** A module that listens to everything. */
async function listenToAll(client: SdkModule) {
  const inputs: string[] = [];
  const patches: object[] = [];
  client.on("inputMessage", (input, message) => inputs.push(`${input} ${message.data}`));
  echoMethod(client, "echo");
  const twin = await within(client.getTwin(), "getTwin");
  twin.on("properties.desired", (patch: object) => patches.push(patch));
  return { inputs, patches, twin };
}

describe.each([
  ["workload", () => hub.environment("workload")],
  ["connectionString", () => hub.connectionStringEnvironment("connectionString")],
] as const)("a module started from its environment (%s)", (moduleId, environment) => {
  let client: SdkModule;
  let twin: device.Twin;
  let inputs: string[];
  let patches: object[];

  beforeAll(async () => {
    client = await open(moduleId, environment());
  });

  test("is connected", () => {
    expect(hub.isConnected("edge", moduleId)).toBe(true);
  });

  test("its message arrives with output, system and application properties and body", async () => {
    const message = textMessage('{"t":21.5}', "id 1/2");
    message.correlationId = "c";
    message.contentType = "application/json";
    message.contentEncoding = "utf-8";
    message.properties.add("temp alert", "a/b&c=d é");
    message.properties.add("x", "5");
    await within(client.sendOutputEvent("output1", message), "sendOutputEvent");
    expect(messagesOf(moduleId).at(-1)).toMatchObject({
      deviceId: "edge",
      moduleId,
      output: "output1",
      systemProperties: {
        messageId: "id 1/2",
        correlationId: "c",
        contentType: "application/json",
        contentEncoding: "utf-8",
      },
      properties: { "temp alert": "a/b&c=d é", x: "5" },
      body: Buffer.from('{"t":21.5}'),
      duplicate: false,
    });
  });

  test("a message without output or properties, and one with an empty body", async () => {
    await within(client.sendEvent(new Message("plain")), "sendEvent");
    expect(messagesOf(moduleId).at(-1)).toMatchObject({
      output: undefined,
      properties: {},
      body: Buffer.from("plain"),
    });
    await within(client.sendOutputEvent("o", new Message("")), "sendOutputEvent");
    expect(messagesOf(moduleId).at(-1)).toMatchObject({ output: "o", body: Buffer.alloc(0) });
  });

  test("the twin has both halves with versions", async () => {
    twin = await within(client.getTwin(), "getTwin");
    expect(twin.properties.desired.$version).toBe(1);
    expect(twin.properties.reported).toMatchObject({ $version: 1 });
  });

  test("a desired patch arrives with its version: an object, a deletion, an array", async () => {
    patches = [];
    twin.on("properties.desired", (patch: object) => patches.push(patch));
    hub.updateDesired("edge", moduleId, { group: { a: 1, b: 2 }, list: [1, 2, 3] });
    hub.updateDesired("edge", moduleId, { group: { a: null } });
    hub.updateDesired("edge", moduleId, { list: [9] });
    await until(() => patches.some((patch) => "$version" in patch && patch.$version === 4), "version 4");
    expect(patches).toEqual(
      expect.arrayContaining([
        { group: { a: 1, b: 2 }, list: [1, 2, 3], $version: 2 },
        { group: { a: null }, $version: 3 },
        { list: [9], $version: 4 },
      ]),
    );
    expect(hub.getTwin("edge", moduleId).desired).toEqual({ group: { b: 2 }, list: [9], $version: 4 });
  });

  test("a reported patch is merged: null deletes, arrays replace, the version rises", async () => {
    await report(twin, { state: { a: 1, b: [1, 2] }, gone: "x" });
    await report(twin, { state: { b: [3] }, gone: null });
    expect(hub.getTwin("edge", moduleId).reported).toEqual({ state: { a: 1, b: [3] }, $version: 3 });
  });

  test("a direct method is answered; with null payload; an unknown one times out", async () => {
    echoMethod(client, "echo");
    const call = { methodName: "echo", payload: { n: 1 }, connectTimeoutInSeconds: 5 };
    expect(await hub.invokeMethod("edge", moduleId, call)).toEqual({
      status: 200,
      payload: { n: 1 },
    });
    expect(await hub.invokeMethod("edge", moduleId, { methodName: "echo" })).toEqual({
      status: 200,
      payload: null,
    });
    const unknown = hub.invokeMethod("edge", moduleId, {
      methodName: "nobody",
      responseTimeoutInSeconds: 0.3,
    });
    await expect(unknown).rejects.toMatchObject({ status: 504, code: "GatewayTimeout" });
  });

  test("an input message is delivered with its properties", async () => {
    inputs = [];
    const delivered: device.Message[] = [];
    client.on("inputMessage", (input, message) => {
      inputs.push(`${input} ${message.data}`);
      delivered.push(message);
    });
    const message = { body: { b: 2 }, properties: { "k y": "v&w" }, systemProperties: { messageId: "m1" } };
    expect(await within(hub.sendInput(moduleId, "in1", message), "input")).toBe(true);
    expect(inputs).toEqual(['in1 {"b":2}']);
    expect(delivered[0]).toMatchObject({
      messageId: "m1",
      contentType: "application/json",
      contentEncoding: "utf-8",
    });
    expect(delivered[0]?.properties.getValue("k y")).toBe("v&w");
    expect(delivered[0]?.properties.getValue("$.cdid")).toBe("edge");
  });

  test("after a cut connection all four features work again", async () => {
    const connects = hub.counter("connects");
    expect(hub.killConnections(`edge/${moduleId}`)).toBe(1);
    await until(
      () => hub.counter("connects") > connects && hub.isConnected("edge", moduleId),
      "reconnection",
    );
    await exerciseRound();
  });

  async function exerciseRound() {
    await within(client.sendOutputEvent("out", textMessage("again", "again")), "sendOutputEvent");
    expect(messagesOf(moduleId).at(-1)?.systemProperties.messageId).toBe("again");
    expect(await within(hub.sendInput(moduleId, "in1", { body: "again" }), "input")).toBe(true);
    expect(inputs.at(-1)).toBe("in1 again");
    const result = await hub.invokeMethod("edge", moduleId, {
      methodName: "echo",
      connectTimeoutInSeconds: 5,
    });
    expect(result.status).toBe(200);
    hub.updateDesired("edge", moduleId, { again: 1 });
    await until(() => patches.some((patch) => "again" in patch), "patch after the reconnection");
    await report(twin, { again: 1 });
    expect(hub.getTwin("edge", moduleId).reported).toMatchObject({ again: 1 });
  }

  test("closes", async () => {
    expect(await closeSdk(client)).toBe("settled");
    await until(() => !hub.isConnected("edge", moduleId), "disconnection");
  });
});

test("a message goes from one module's output to another's input and upstream", async () => {
  const consumer = await open("consumer");
  const received: device.Message[] = [];
  consumer.on("inputMessage", (input, message) => {
    if (input === "in1") received.push(message);
  });
  const producer = await open("workload");
  const message = textMessage("along", "mid-7");
  message.properties.add("p", "q");
  await within(producer.sendOutputEvent("chain", message), "sendOutputEvent");
  const arrived = await until(() => received[0], "the routed message");
  expect(arrived.messageId).toBe("mid-7");
  const properties = Object.fromEntries(
    arrived.properties.propertyList.map(({ key, value }) => [key, value]),
  );
  expect(properties).toEqual({ "$.cdid": "edge", "$.cmid": "workload", p: "q" });
  expect(hub.upstreamMessages.at(-1)).toMatchObject({
    output: "chain",
    systemProperties: { messageId: "mid-7" },
  });
});

test("the same object works after close and open, on the kept session", async () => {
  const client = await open("reopen");
  const { inputs, patches } = await listenToAll(client);
  await exerciseAll(client, "reopen", "first", inputs, patches);
  expect(await closeSdk(client)).toBe("settled");
  await within(client.open(), "open again");
  await exerciseAll(client, "reopen", "second", inputs, patches);
});

test("a restart of the broker with its sessions is survived by everything", async () => {
  const client = await open("restart");
  const { inputs, patches } = await listenToAll(client);
  await exerciseAll(client, "restart", "before", inputs, patches);
  const { port } = hub;
  await hub.stopListening();
  expect(hub.isConnected("edge", "restart")).toBe(false);
  await hub.startListening();
  expect(hub.port).toBe(port);
  // The SDK's own attempt may have met the closed port; a send connects again.
  await within(client.sendOutputEvent("out", textMessage("back", "back")), "sendOutputEvent");
  await exerciseAll(client, "restart", "after", inputs, patches);
});

test("tokens are renewed while sending ten a second: nothing lost, nothing twice", async () => {
  const client = await moduleFromEnvironment(hub.environment("renewal"));
  opened.push(client);
  await within(
    client.setOptions({
      ca: hub.caPem,
      tokenRenewal: { tokenValidTimeInSeconds: 6, tokenRenewalMarginInSeconds: 3 },
    }),
    "setOptions",
  );
  await within(client.open(), "open");
  const before = hub.counter("workloadSignatures");
  const sends: Promise<unknown>[] = [];
  for (let index = 0; hub.counter("workloadSignatures") < before + 2; index++) {
    if (index > 150) throw new Error("no two renewals in time");
    sends.push(client.sendOutputEvent("out", textMessage(String(index), String(index))));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await within(Promise.all(sends), "all sends");
  const ids = messagesOf("renewal").map((message) => message.systemProperties.messageId);
  expect(ids).toEqual(sends.map((_send, index) => String(index)));
  expect(sends.length).toBeGreaterThan(20);
});

test("a message type that is not text nor bytes is refused by the SDK and never reaches the hub", async () => {
  const client = await open("reopen");
  const before = messagesOf("reopen").length;
  // The SDK's types allow it; the transport does not.
  const wrong = new Message({ a: 1 } as unknown as string);
  await expect(within(client.sendOutputEvent("out", wrong), "send")).rejects.toThrow(TypeError);
  expect(messagesOf("reopen")).toHaveLength(before);
});
