/** Each fault mode, by what the unmodified Azure SDK does under it; those of its traffic have a file of their own. */
import { describe, expect, test } from "vitest";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { faultSchemas } from "../../src/embedded-hub/faults.ts";
import { connectRaw, fate, until, within } from "./clients.ts";
import { faultyHub } from "./faulty-hub.ts";

const { hub, newModule, create, open, send } = await faultyHub();

describe("connecting", () => {
  test("CONNACK 3 for a while: open succeeds late, by itself", async () => {
    const client = await create(newModule());
    hub.setFault("connackUnavailable", { next: 3 });
    await within(client.open(), "open");
    expect(hub.counter("connectsRefused.fault")).toBe(3);
    expect(hub.status().faults).toEqual({});
  });

  test("CONNACK 5: open rejects at once", async () => {
    hub.setFault("connackRefused");
    const client = await create(newModule());
    const refused = hub.counter("connectsRefused");
    await expect(within(client.open(), "open")).rejects.toMatchObject({ name: "UnauthorizedError" });
    expect(hub.counter("connectsRefused")).toBe(refused + 1);
    hub.clearFault("connackRefused");
    await within(client.open(), "open again");
  });

  test("a server of another CA: open rejects; once the right one is back it succeeds", async () => {
    hub.setFault("wrongCa");
    const client = await create(newModule());
    await expect(within(client.open(), "open")).rejects.toMatchObject({ name: "UnauthorizedError" });
    hub.clearFault("wrongCa");
    await within(client.open(), "open again");
  });

  test("a closed port: open rejects at once; the port is the same afterwards", async () => {
    const { port } = hub;
    const client = await create(newModule());
    await hub.stopListening();
    await expect(within(client.open(), "open")).rejects.toMatchObject({ name: "UnauthorizedError" });
    await hub.startListening();
    expect(hub.port).toBe(port);
    await within(client.open(), "open again");
  });

  test("a trust bundle without content type: TLS fails", async () => {
    hub.setFault("trustBundleNoContentType", { next: 1 });
    const client = await create(newModule());
    await expect(within(client.open(), "open")).rejects.toMatchObject({ name: "UnauthorizedError" });
  });

  test("sign requests that fail with 500 are repeated by the SDK, one with 403 makes open reject", async () => {
    const client = await create(newModule());
    hub.setFault("signFails", { next: 2 });
    const errors = hub.counter("workloadErrors");
    await within(client.open(), "open");
    expect(hub.counter("workloadErrors")).toBe(errors + 2);
    const other = await create(newModule());
    hub.setFault("signFails", { status: 403 });
    await expect(within(other.open(), "open")).rejects.toThrow();
    expect(hub.counter("workloadErrors")).toBe(errors + 3);
  });

  test("two SDK clients with one identity: a storm of takeovers and an alarm", async () => {
    const alarms: { clientId: string }[] = [];
    hub.on("alarm", (alarm) => alarms.push(alarm));
    const moduleId = newModule();
    for (let index = 0; index < 2; index++) {
      const client = await open(moduleId);
      client.on("inputMessage", () => undefined);
    }
    const alarm = await until(() => alarms[0], "the alarm");
    expect(alarm.clientId).toBe(`edge/${moduleId}`);
    expect(hub.counter("takeovers")).toBeGreaterThanOrEqual(5);
    hub.setFault("connackRefused");
    hub.killConnections();
  });
});

describe("a running connection", () => {
  test("killConnections: the SDK is back by itself, with its inputs", async () => {
    const moduleId = newModule();
    const client = await open(moduleId);
    client.on("inputMessage", () => undefined);
    await until(
      () => JSON.stringify(hub.status().connections).includes(`${moduleId}/inputs/#`),
      "subscription",
    );
    const connects = hub.counter("connects");
    hub.setFault("killConnections");
    await until(
      () => hub.counter("connects") > connects && hub.isConnected("edge", moduleId),
      "reconnection",
    );
    expect(await within(hub.sendInput(moduleId, "in", { body: "x" }), "input")).toBe(true);
  });

  test("a restart without sessions: the twin is dead in strict mode, inputs are not", async () => {
    const moduleId = newModule();
    const client = await open(moduleId);
    client.on("inputMessage", () => undefined);
    await within(client.getTwin(), "getTwin");
    hub.setFault("dropSessions");
    hub.setFault("strictSubscriptions");
    await hub.stopListening();
    expect(hub.status().sessions).toBe(0);
    await hub.startListening();
    await within(send(client, "after the restart"), "send");
    expect(await within(hub.sendInput(moduleId, "in", { body: "x" }), "input")).toBe(true);
    const unsent = hub.counter("twinAnswersUnsent");
    expect(await fate(client.getTwin(), 500)).toBe("pending");
    expect(hub.counter("twinAnswersUnsent")).toBe(unsent + 1);
    const patches = hub.counter("desiredPatchesUnsent");
    hub.updateDesired("edge", moduleId, { a: 1 });
    expect(hub.counter("desiredPatchesUnsent")).toBe(patches + 1);
    hub.clearFault("strictSubscriptions");
    await within(client.getTwin(), "getTwin without strictness");
  });

  test("an input that is not acknowledged comes again, under a new identifier", async () => {
    const moduleId = newModule();
    const client = await connectRaw(hub, "edge", moduleId);
    const seen: (number | undefined)[] = [];
    client.handleMessage = (packet) => {
      seen.push(packet.messageId);
    };
    await client.subscribeAsync(`devices/edge/modules/${moduleId}/inputs/#`, { qos: 1 });
    const outcome = hub.sendInput(moduleId, "in", { body: "x" });
    const redelivered = hub.counter("inputsRedelivered");
    await until(() => hub.counter("inputsRedelivered") > redelivered + 1, "two redeliveries");
    expect(await fate(outcome, 10)).toBe("pending");
    client.end(true);
    const other = await connectRaw(hub, "edge", moduleId);
    expect(await within(outcome, "the input")).toBe(true);
    other.end(true);
    expect(seen).toHaveLength(1);
  });
});

describe("switching", () => {
  test("faults do not touch each other and clear themselves", async () => {
    hub.setFault("twinGetEmpty", { forMs: 50 });
    hub.setFault("methodBodyEmpty");
    expect(Object.keys(hub.status().faults as object)).toEqual(["twinGetEmpty", "methodBodyEmpty"]);
    await until(() => !("twinGetEmpty" in (hub.status().faults as object)), "the end of the fault");
    expect(Object.keys(hub.status().faults as object)).toEqual(["methodBodyEmpty"]);
    hub.clearFault("methodBodyEmpty");
    expect(hub.status().faults).toEqual({});
  });

  test("wrong parameters are refused with their path", () => {
    expect(() => hub.setFault("delayPuback", { ms: -1 })).toThrow(/delayPuback: ms/);
    expect(() => hub.setFault("dropOnMessage", {})).toThrow("one of bodyIncludes and every");
    expect(() => hub.setFault("twinGetEmpty", { surprise: 1 } as object)).toThrow(/surprise/);
    expect(hub.status().faults).toEqual({});
  });

  test("faults given at the start are on", async () => {
    const other = await startEmbeddedHub({ faults: { connackRefused: { returnCode: 4 } } });
    try {
      await expect(connectRaw(other, "edge", "gateway")).rejects.toMatchObject({ code: 4 });
    } finally {
      await other.stop();
    }
  });

  test("every fault of the list has a schema that takes next or forMs", () => {
    for (const schema of Object.values(faultSchemas)) expect(Object.keys(schema.shape)).toContain("forMs");
  });
});
