/** The acceptance list with the unmodified device client of the Azure SDK. */
import type device from "azure-iot-device";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { closeSdk, Message, openDevice, report, type SdkDevice, until, within } from "./clients.ts";

let hub: EmbeddedHub;
let client: SdkDevice;
let twin: device.Twin;
const received: device.Message[] = [];
const patches: object[] = [];

beforeAll(async () => {
  hub = await startEmbeddedHub({ devices: ["leaf", "renewing"], mode: "hub" });
  client = await openDevice(hub, "leaf");
});

afterAll(async () => {
  await closeSdk(client);
  await hub.stop();
});

test("telemetry arrives without output", async () => {
  const message = new Message('{"t":1}');
  message.messageId = "d1";
  message.properties.add("a", "b c");
  await within(client.sendEvent(message), "sendEvent");
  expect(hub.messages.at(-1)).toMatchObject({
    deviceId: "leaf",
    moduleId: undefined,
    output: undefined,
    systemProperties: { messageId: "d1" },
    properties: { a: "b c" },
  });
});

test("a cloud-to-device message arrives", async () => {
  client.on("message", (message) => received.push(message));
  expect(await within(hub.sendToDevice("leaf", { body: "hello", properties: { k: "v" } }), "C2D")).toBe(true);
  expect(received[0]?.data.toString()).toBe("hello");
  expect(received[0]?.properties.getValue("k")).toBe("v");
});

test("twin: get, desired patches, reported patches", async () => {
  twin = await within(client.getTwin(), "getTwin");
  twin.on("properties.desired", (patch: object) => patches.push(patch));
  hub.updateDesired("leaf", undefined, { o: { a: 1 }, l: [1, 2] });
  hub.updateDesired("leaf", undefined, { o: null, l: [3] });
  await until(() => patches.some((patch) => "$version" in patch && patch.$version === 3), "patches");
  expect(patches).toEqual(expect.arrayContaining([{ o: null, l: [3], $version: 3 }]));
  await report(twin, { r: [1, 2], s: 1 });
  await report(twin, { r: [3], s: null });
  expect(hub.getTwin("leaf").reported).toEqual({ r: [3], $version: 3 });
});

test("in hub mode a bad reported patch is rejected with the hub's message", async () => {
  await expect(report(twin, { a: { b: [null] } })).rejects.toThrow("a.b[0]: null inside an array");
  expect(hub.getTwin("leaf").reported).toEqual({ r: [3], $version: 3 });
});

test("methods: answered, unknown", async () => {
  client.onDeviceMethod("echo", (request, response) => {
    response.send(201, [request.payload]).catch(() => undefined);
  });
  const result = await hub.invokeMethod("leaf", undefined, {
    methodName: "echo",
    payload: 5,
    connectTimeoutInSeconds: 5,
  });
  expect(result).toEqual({ status: 201, payload: [5] });
  const unknown = hub.invokeMethod("leaf", undefined, { methodName: "none", responseTimeoutInSeconds: 0.3 });
  await expect(unknown).rejects.toMatchObject({ status: 504 });
});

test("tokens are renewed while sending ten a second: nothing lost, nothing twice", async () => {
  const renewing = await openDevice(hub, "renewing", {
    tokenRenewal: { tokenValidTimeInSeconds: 4, tokenRenewalMarginInSeconds: 2 },
  });
  const connects = hub.counter("connects");
  const sends: Promise<unknown>[] = [];
  for (let index = 0; hub.counter("connects") < connects + 2; index++) {
    if (index > 150) throw new Error("no two renewals in time");
    sends.push(renewing.sendEvent(new Message(String(index))));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await within(Promise.all(sends), "all sends");
  const bodies = hub.messages
    .filter(({ deviceId }) => deviceId === "renewing")
    .map(({ body }) => body.toString());
  expect(bodies).toEqual(sends.map((_send, index) => String(index)));
  await closeSdk(renewing);
});

test("after a cut connection, a close and open, and a broker restart everything works", async () => {
  const exercise = async (round: string) => {
    await within(client.sendEvent(new Message(round)), `send ${round}`);
    expect(hub.messages.at(-1)?.body.toString()).toBe(round);
    expect(await within(hub.sendToDevice("leaf", { body: round }), `C2D ${round}`)).toBe(true);
    expect(received.at(-1)?.data.toString()).toBe(round);
    const call = { methodName: "echo", payload: round, connectTimeoutInSeconds: 5 };
    expect(await hub.invokeMethod("leaf", undefined, call)).toMatchObject({ status: 201 });
    hub.updateDesired("leaf", undefined, { round });
    await until(() => patches.some((patch) => "round" in patch && patch.round === round), `patch ${round}`);
  };
  const connects = hub.counter("connects");
  hub.killConnections("leaf");
  await until(() => hub.counter("connects") > connects && hub.isConnected("leaf"), "reconnection");
  await exercise("killed");
  expect(await closeSdk(client)).toBe("settled");
  await within(client.open(), "open again");
  await exercise("reopened");
  await hub.stopListening();
  await hub.startListening();
  await exercise("restarted");
});
