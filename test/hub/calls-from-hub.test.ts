/** Direct methods and messages to inputs and devices, with both clients. */
import { describe, expect, test } from "vitest";
import { TransientError } from "../../src/core/errors.ts";
import type { HubClientEvents, InputMessage } from "../../src/hub/hub-client.ts";
import { until } from "../support/until.ts";
import { bench, cases, message } from "./subjects.ts";

const lab = bench({ inputRedeliveryMs: 300 });
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const silent = { lost: () => undefined, desired: () => undefined };
const methods: HubClientEvents = {
  ...silent,
  method: async (name, payload) => {
    if (name === "fail") throw new TransientError("HUB_LOST", "it failed");
    return name === "echo" ? { status: 200, payload } : { status: 404, payload: null };
  },
};

/** Holds each message until it is let go. */
function heldInputs() {
  const messages: InputMessage[] = [];
  const waiting: { take(): void; refuse(): void }[] = [];
  const events: HubClientEvents = {
    ...silent,
    input: (one) =>
      new Promise<void>((resolve, reject) => {
        messages.push(one);
        waiting.push({ take: resolve, refuse: () => reject(new Error("no room")) });
      }),
  };
  return { messages, waiting, events };
}

describe.each(cases)("%s, %s", (name, way) => {
  test("a direct method is answered, an unknown one and a failing one too, and a request that is no JSON", async () => {
    const { client, id } = lab.subject(name, way, { events: methods });
    await client.connect();
    const invoke = (methodName: string, payload: unknown = null) =>
      lab.hub.invokeMethod("edge", id, { methodName, payload, responseTimeoutInSeconds: 5 });
    const payload = { a: [1, "é", null] };
    expect(await invoke("echo", payload)).toEqual({ status: 200, payload });
    expect(await invoke("echo")).toEqual({ status: 200, payload: null });
    expect(await invoke("other")).toEqual({ status: 404, payload: null });
    expect(await invoke("fail")).toMatchObject({ status: 500, payload: { message: "it failed" } });
    lab.hub.setFault("methodBodyEmpty", { next: 1 });
    expect(await invoke("echo", 1)).toMatchObject({ status: 400 });
    // Sends are not in its way.
    await client.send(message(`beside-${id}`));
  });

  test("an input message arrives with its properties", async () => {
    const held = heldInputs();
    const { client, id } = lab.subject(name, way, { events: held.events });
    await client.connect();
    const properties = { kind: "a b/c&d=é" };
    const systemProperties = { messageId: "m 1", contentType: "application/json", contentEncoding: "utf-8" };
    const delivered = lab.hub.sendInput(id, "commands", { body: { a: 1 }, properties, systemProperties });
    await until("the message", () => held.messages.length > 0);
    held.waiting[0]?.take();
    expect(await delivered).toBe(true);
    expect(held.messages[0]).toMatchObject({
      input: "commands",
      id: "m 1",
      contentType: "application/json",
      contentEncoding: "utf-8",
      properties: { ...properties, "$.cmid": "embedded-hub" },
    });
    expect(Buffer.from(held.messages[0]?.body ?? []).toString()).toBe('{"a":1}');
  });

  test.each(["methods", "inputs"] as const)(
    "a hub that refuses the subscription to %s still takes messages, and may grant it next time",
    async (kind) => {
      const refusals: string[] = [];
      const refused = (what: string) => refusals.push(what);
      const held = heldInputs();
      const events = { ...methods, ...held.events, refused };
      const { client, id } = lab.subject(name, way, { events });
      lab.hub.setFault("subscriptionRefused", { kind, next: 1 });
      await client.connect();
      expect(refusals).toEqual([kind]);
      await client.send(message(`refused-${id}`));
      await client.close();
      const environment =
        way === "edge" ? undefined : () => lab.hub.connectionString("edge", id, { gateway: true });
      const next = lab.subject(name, way, {
        events,
        ...(environment ? { connectionString: environment } : {}),
      });
      await next.client.connect();
      expect(refusals).toEqual([kind]);
    },
  );

  test("without anybody to take them neither methods nor inputs are subscribed", async () => {
    const { client, id } = lab.subject(name, way);
    await client.connect();
    const status = lab.hub.status() as { connections: { clientId: string; subscriptions: string[] }[] };
    const own = status.connections.find(({ clientId }) => clientId === `edge/${id}`);
    expect(own?.subscriptions).toEqual([]);
  });
});

describe("a direct client", () => {
  test("acknowledges a message when it is taken, not before, and sends and receives meanwhile", async () => {
    const held = heldInputs();
    const { client, id } = lab.subject("direct", "iothub", { events: { ...methods, ...held.events } });
    await client.connect();
    let delivered = false;
    const first = lab.hub.sendInput(id, "i", { body: "1" }).then(() => (delivered = true));
    await until("the message", () => held.messages.length > 0);
    await client.send(message(`meanwhile-${id}`));
    const call = { methodName: "echo", payload: 1, responseTimeoutInSeconds: 5 };
    expect(await lab.hub.invokeMethod("edge", id, call)).toEqual({ status: 200, payload: 1 });
    expect(delivered).toBe(false);
    // The hub repeats what is not acknowledged; each is answered when it is taken, in order.
    await until("the repetition", () => held.messages.length > 1);
    for (const { take } of held.waiting) take();
    await first;
  });

  test("a message that is refused is not acknowledged, and comes again", async () => {
    const held = heldInputs();
    const { client, id } = lab.subject("direct", "iothub", { events: held.events });
    await client.connect();
    const delivered = lab.hub.sendInput(id, "i", { body: "1" });
    await until("the message", () => held.messages.length === 1);
    held.waiting[0]?.refuse();
    await until("the repetition", () => held.messages.length === 2);
    held.waiting[1]?.take();
    expect(await delivered).toBe(true);
  });

  test("what was not taken when the connection ended comes again with the next", async () => {
    const held = heldInputs();
    const connectionString = () => lab.hub.connectionString("edge", first.id, { gateway: true });
    const first = lab.subject("direct", "iothub", { events: held.events });
    await first.client.connect();
    const delivered = lab.hub.sendInput(first.id, "i", { body: "1" });
    await until("the message", () => held.messages.length === 1);
    await first.client.close();
    held.waiting[0]?.take();
    await pause(100);
    const next = lab.subject("direct", "iothub", { events: held.events, connectionString });
    await next.client.connect();
    await until("the repetition", () => held.messages.length === 2);
    held.waiting[1]?.take();
    expect(await delivered).toBe(true);
  });

  test("a token renewal waits for what is being taken, so that it does not come again", async () => {
    const held = heldInputs();
    const { client, id } = lab.subject("direct", "iothub", {
      events: held.events,
      token: { validMs: 2_500, marginMs: 2_000 },
    });
    await client.connect();
    const connects = lab.hub.counter("connects");
    let isRenewed = false;
    while (!isRenewed) {
      const count = held.messages.length;
      const delivered = lab.hub.sendInput(id, "i", { body: String(count) });
      await until("the message", () => held.messages.length > count);
      isRenewed = lab.hub.counter("connects") > connects;
      await pause(100);
      held.waiting[count]?.take();
      expect(await delivered).toBe(true);
    }
    const bodies = held.messages.map(({ body }) => Buffer.from(body).toString());
    expect(new Set(bodies).size).toBe(bodies.length);
  });

  test("a session that subscribed once is ended for inputs that nobody takes, and nothing is acknowledged", async () => {
    const held = heldInputs();
    const first = lab.subject("direct", "iothub", { events: held.events });
    await first.client.connect();
    await first.client.close();
    let delivered = false;
    lab.hub.sendInput(first.id, "i", { body: "1" }).then(
      () => (delivered = true),
      () => undefined,
    );
    const connectionString = () => lab.hub.connectionString("edge", first.id, { gateway: true });
    const next = lab.subject("direct", "iothub", { events: silent, connectionString });
    await next.client.connect();
    await pause(500);
    expect(delivered).toBe(false);
    const status = lab.hub.status() as { connections: { clientId: string; subscriptions: string[] }[] };
    expect(status.connections.find(({ clientId }) => clientId === `edge/${first.id}`)?.subscriptions).toEqual(
      [],
    );
    await next.client.close();
    const last = lab.subject("direct", "iothub", { events: held.events, connectionString });
    await last.client.connect();
    await until("the message", () => held.messages.length === 1);
    held.waiting[0]?.take();
    await until("it is acknowledged", () => delivered);
  });

  test("methods and inputs go on after a token renewal, also when the hub forgot the session", async () => {
    const held = heldInputs();
    const { client, id } = lab.subject("direct", "iothub", {
      events: { ...methods, ...held.events },
      token: { validMs: 3_000, marginMs: 2_000 },
    });
    await client.connect();
    lab.hub.forgetSessions();
    const connects = lab.hub.counter("connects");
    await until("the renewal", () => lab.hub.counter("connects") > connects);
    const call = { methodName: "echo", payload: 1, responseTimeoutInSeconds: 5, connectTimeoutInSeconds: 5 };
    expect(await lab.hub.invokeMethod("edge", id, call)).toEqual({ status: 200, payload: 1 });
    const delivered = lab.hub.sendInput(id, "i", { body: "1" });
    await until("the message", () => held.messages.length === 1);
    held.waiting[0]?.take();
    expect(await delivered).toBe(true);
  });
});

test.each(["sdk", "direct"] as const)("a device (%s) gets what the cloud sends it", async (name) => {
  const device = `receiver-${name}`;
  lab.hub.createDevice(device);
  const held = heldInputs();
  const { client } = lab.subject(name, "iothub", {
    connectionString: () => lab.hub.connectionString(device, undefined, { gateway: true }),
    events: held.events,
  });
  await client.connect();
  const delivered = lab.hub.sendToDevice(device, { body: "on", properties: { lamp: "1" } });
  await until("the message", () => held.messages.length > 0);
  held.waiting[0]?.take();
  expect(await delivered).toBe(true);
  expect(held.messages[0]).toMatchObject({ input: undefined, properties: { lamp: "1" } });
});
