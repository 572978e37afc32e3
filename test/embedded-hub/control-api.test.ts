import { request as httpRequest } from "node:http";
import { describe, expect, test } from "vitest";
import { connectRaw, RawModule, until, within } from "./clients.ts";
import { controlledHub } from "./controlled-hub.ts";

const { hub, call } = await controlledHub();

describe("methods", () => {
  const path = "/twins/edge/modules/gateway/methods";

  test("the answer of the module; 404 when it is not connected, after connectTimeout; 504 without answer", async () => {
    expect(await call("POST", path, { methodName: "go" })).toMatchObject({
      status: 404,
      body: { Message: expect.stringContaining("DeviceNotOnline") },
    });
    const waiting = call("POST", path, { methodName: "go", payload: 7, connectTimeoutInSeconds: 10 });
    const client = await connectRaw(hub, "edge", "gateway");
    const raw = new RawModule(client);
    await client.subscribeAsync("$iothub/methods/POST/#");
    const request = await until(
      () => raw.received.find(({ topic }) => topic.includes("/POST/go/")),
      "the request",
    );
    expect(request.payload).toBe("7");
    client.publish(request.topic.replace("POST/go", "res/200"), '"done"');
    expect(await waiting).toMatchObject({ status: 200, body: { status: 200, payload: "done" } });

    const silent = await call("POST", path, { methodName: "go", responseTimeoutInSeconds: 0.2 });
    expect(silent).toMatchObject({
      status: 504,
      body: { Message: expect.stringContaining("GatewayTimeout") },
    });

    const broken = call("POST", path, { methodName: "broken" });
    const second = await until(
      () => raw.received.find(({ topic }) => topic.includes("/broken/")),
      "the request",
    );
    client.publish(second.topic.replace("POST/broken", "res/200"), "{not json");
    expect((await broken).status).toBe(502);
    client.end(true);
  });

  test.each([
    ["no name", {}],
    ["a name with a space", { methodName: "a b" }],
    ["a payload above 128 KB", { methodName: "a", payload: "x".repeat(131_072) }],
    ["a negative timeout", { methodName: "a", responseTimeoutInSeconds: -1 }],
  ])("%s: 400", async (_name, body) => {
    expect((await call("POST", path, body)).status).toBe(400);
  });
});

describe("the hub's own paths", () => {
  test("messages are paged by their sequence", async () => {
    const client = await connectRaw(hub, "edge", "gateway");
    const topic =
      "devices/edge/modules/gateway/messages/events/%24.on=o&%24.ct=application%2Fjson&%24.ce=utf-8/";
    for (const body of ['{"n":1}', '{"n":2}', "not json"]) await client.publishAsync(topic, body, { qos: 1 });
    const first = await call("GET", "/hub/messages?limit=2");
    expect(first.body).toMatchObject({
      last: 2,
      messages: [
        { sequence: 1, deviceId: "edge", moduleId: "gateway", output: "o", body: { n: 1 }, properties: {} },
        { sequence: 2, body: { n: 2 } },
      ],
    });
    const second = await call("GET", `/hub/messages?after=${first.body.last}`);
    expect(second.body).toMatchObject({
      last: 3,
      messages: [{ bodyBase64: Buffer.from("not json").toString("base64") }],
    });
    expect((await call("GET", "/hub/messages?after=3")).body).toEqual({ last: 3, messages: [] });
    expect((await call("GET", "/hub/messages?limit=0")).status).toBe(400);
    client.end(true);
  });

  test("upstream is switched and read", async () => {
    expect((await call("PUT", "/hub/upstream", { state: "off" })).body).toMatchObject({
      state: "off",
      stored: 0,
    });
    const client = await connectRaw(hub, "edge", "gateway");
    await client.publishAsync("devices/edge/modules/gateway/messages/events/", "held", { qos: 1 });
    expect((await call("GET", "/hub/upstream")).body).toMatchObject({ state: "off", stored: 1 });
    expect((await call("PUT", "/hub/upstream", { state: "on" })).body).toMatchObject({
      state: "on",
      stored: 0,
    });
    const { body } = await call("GET", "/hub/upstream");
    expect(body.messages.at(-1)).toMatchObject({
      bodyBase64: Buffer.from("held").toString("base64"),
      acceptedSequence: 4,
    });
    expect((await call("PUT", "/hub/upstream", { state: "perhaps" })).status).toBe(400);
    client.end(true);
  });

  test("faults are set, read and cleared, each alone", async () => {
    expect((await call("PUT", "/hub/faults/delayPuback", { ms: 5 })).body).toMatchObject({
      parameters: { ms: 5 },
    });
    await call("PUT", "/hub/faults/twinGetEmpty");
    expect(Object.keys((await call("GET", "/hub/faults")).body)).toEqual(["delayPuback", "twinGetEmpty"]);
    expect((await call("DELETE", "/hub/faults/delayPuback")).status).toBe(204);
    expect((await call("GET", "/hub/faults/delayPuback")).status).toBe(404);
    expect((await call("GET", "/hub/faults/twinGetEmpty")).body).toEqual({ parameters: {}, hits: 0 });
    expect((await call("PUT", "/hub/faults/delayPuback", { ms: "slow" })).status).toBe(400);
    expect((await call("PUT", "/hub/faults/noSuchFault", {})).status).toBe(404);
    expect((await call("DELETE", "/hub/faults")).status).toBe(204);
    expect((await call("GET", "/hub/faults")).body).toEqual({});
  });

  test("sessions are forgotten", async () => {
    expect((await call("POST", "/hub/sessions/forget")).status).toBe(204);
    expect((await call("GET", "/hub/status")).body).toMatchObject({ sessions: 0 });
  });

  test("connections are killed, the port closed and opened", async () => {
    const client = await connectRaw(hub, "edge", "gateway");
    const closed = new Promise<void>((resolve) => client.once("close", () => resolve()));
    expect((await call("POST", "/hub/connections/kill", { clientId: "edge/other" })).body).toEqual({
      killed: 0,
    });
    expect((await call("POST", "/hub/connections/kill")).body).toEqual({ killed: 1 });
    await within(closed, "close");
    expect((await call("PUT", "/hub/listening", { state: "off", sessions: "drop" })).body).toEqual({
      listening: false,
    });
    await expect(connectRaw(hub, "edge", "gateway")).rejects.toMatchObject({ code: "ECONNREFUSED" });
    expect((await call("PUT", "/hub/listening", { state: "on" })).body).toEqual({ listening: true });
    (await connectRaw(hub, "edge", "gateway")).end(true);
    client.end(true);
  });

  test("an input message is injected", async () => {
    const raw = new RawModule(await connectRaw(hub, "edge", "gateway"));
    await raw.client.subscribeAsync("devices/edge/modules/gateway/inputs/#", { qos: 1 });
    const message = { body: { a: 1 }, properties: { p: "q" }, systemProperties: { messageId: "i1" } };
    const injected = await call("POST", "/hub/inputs/gateway/in%201?waitMs=10000", message);
    expect(injected).toMatchObject({ status: 200, body: { acknowledged: true } });
    expect(raw.received.at(-1)).toMatchObject({
      topic: expect.stringMatching(/\/inputs\/in 1\/.*%24\.mid=i1.*&p=q$/),
      payload: '{"a":1}',
    });
    expect((await call("POST", "/hub/inputs/gateway/in", { bodyText: "t" })).status).toBe(202);
    expect((await call("POST", "/hub/inputs/nobody/in", { bodyText: "t" })).status).toBe(404);
    expect((await call("POST", "/hub/inputs/gateway/in", { bodyText: "t", body: 1 })).status).toBe(400);
    raw.client.end(true);
    await until(() => !hub.isConnected("edge", "gateway"), "disconnection");
    expect((await call("POST", "/hub/inputs/gateway/in?waitMs=50", { bodyText: "t" })).status).toBe(504);
    expect((await call("POST", "/hub/devicebound/edge", { bodyText: "t" })).status).toBe(202);
  });

  test("the status and a module's environment", async () => {
    const { body } = await call("GET", "/hub/status");
    expect(body).toMatchObject({
      listening: true,
      port: hub.port,
      takeovers: expect.any(Number),
      alarms: [],
      upstream: { state: "on" },
      counters: { messages: 4 },
    });
    expect((await call("GET", "/hub/environment/gateway")).body).toEqual(hub.environment("gateway"));
  });
});

describe("requests that are refused", () => {
  test("bad JSON says where", async () => {
    const { status, body } = await call("PUT", "/hub/upstream", "{broken");
    expect(status).toBe(400);
    expect(body.Message).toMatch(/the body is not JSON: .+/);
  });

  test("a body above the bound, declared or not", async () => {
    const large = "x".repeat(1_000_001);
    expect((await call("PUT", "/hub/upstream", large)).status).toBe(413);
    const chunked = await within(
      new Promise<number | undefined>((resolve, reject) => {
        const request = httpRequest(`${hub.controlUrl}/hub/upstream`, { method: "PUT" }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        request.on("error", reject);
        request.write(large);
        request.end("x");
      }),
      "answer",
    );
    expect(chunked).toBe(413);
  });

  test("an unknown path, a wrong method, a broken path segment", async () => {
    expect((await call("GET", "/nowhere")).status).toBe(404);
    expect(await call("POST", "/hub/status")).toMatchObject({
      status: 405,
      body: { Message: expect.stringContaining("GET") },
    });
    expect((await call("GET", "/twins/%zz")).status).toBe(400);
  });

  test("a request under another host name, as a web page could send it", async () => {
    const status = await within(
      new Promise<number | undefined>((resolve, reject) => {
        const headers = { host: "attacker.example" };
        httpRequest(`${hub.controlUrl}/hub/status`, { headers }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .on("error", reject)
          .end();
      }),
      "answer",
    );
    expect(status).toBe(403);
  });
});
