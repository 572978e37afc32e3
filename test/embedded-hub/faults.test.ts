/** Each fault mode, by what the unmodified Azure SDK does under it. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { faultSchemas } from "../../src/embedded-hub/faults.ts";
import {
  closeSdk,
  connectRaw,
  echoMethod,
  fate,
  Message,
  moduleFromEnvironment,
  openModule,
  report,
  type SdkModule,
  until,
  within,
} from "./clients.ts";

let hub: EmbeddedHub;
let made = 0;
const opened: SdkModule[] = [];

beforeAll(async () => {
  hub = await startEmbeddedHub({ inputRedeliveryMs: 300 });
});

afterEach(async () => {
  hub.clearFaults();
  await hub.startListening();
  await Promise.all(opened.splice(0).map(closeSdk));
});

afterAll(async () => {
  await hub.stop();
});

/** Each test has a module of its own. */
function newModule(): string {
  const moduleId = `m${++made}`;
  hub.createModule("edge", moduleId);
  return moduleId;
}

async function create(moduleId: string): Promise<SdkModule> {
  const client = await moduleFromEnvironment(hub.environment(moduleId));
  opened.push(client);
  return client;
}

async function open(moduleId = newModule()): Promise<SdkModule> {
  const client = await openModule(hub, moduleId);
  opened.push(client);
  return client;
}

function send(client: SdkModule, body: string) {
  const message = new Message(body);
  message.messageId = body;
  return client.sendOutputEvent("out", message);
}

function bodies(): string[] {
  return hub.messages.map(({ body }) => body.toString());
}

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

describe("acknowledgements of telemetry", () => {
  test("withheld once for a while: the message is accepted at once, the send settles later", async () => {
    const client = await open();
    hub.setFault("withholdPuback", { next: 1, ms: 700 });
    const first = send(client, "withheld");
    await until(() => bodies().includes("withheld"), "the message");
    expect(await fate(first, 20)).toBe("pending");
    await within(send(client, "not withheld"), "the next send");
    await within(first, "the withheld send");
    expect(bodies().filter((body) => body === "withheld")).toHaveLength(1);
  });

  test("withheld for ever: neither the send nor close settles", async () => {
    const client = await open();
    hub.setFault("withholdPuback");
    const sent = send(client, "for ever");
    await until(() => bodies().includes("for ever"), "the message");
    sent.catch(() => undefined);
    const withheld = hub.counter("pubacksWithheld");
    expect(withheld).toBeGreaterThan(0);
    expect(await fate(client.close(), 1_500)).toBe("pending");
    expect(await fate(sent, 10)).toBe("pending");
  });

  test("doubled: two PUBACKs for one message", async () => {
    const moduleId = newModule();
    const client = await connectRaw(hub, "edge", moduleId);
    const acknowledged: (number | undefined)[] = [];
    client.on("packetreceive", ({ cmd, messageId }) => {
      if (cmd === "puback") acknowledged.push(messageId);
    });
    hub.setFault("duplicatePuback", { next: 1 });
    const topic = `devices/edge/modules/${moduleId}/messages/events/`;
    for (const body of ["a", "b"]) await within(client.publishAsync(topic, body, { qos: 1 }), body);
    await until(() => acknowledged.length === 3, "three PUBACKs");
    expect(acknowledged[0]).toBe(acknowledged[1]);
    expect(acknowledged[2]).not.toBe(acknowledged[1]);
    client.end(true);
  });

  test("doubled: the SDK does not mind", async () => {
    const client = await open();
    hub.setFault("duplicatePuback");
    const sent = hub.counter("pubacksSent");
    for (const body of ["twice 1", "twice 2", "twice 3"]) await within(send(client, body), body);
    expect(hub.counter("pubacksSent")).toBe(sent + 6);
    expect(bodies().filter((body) => body.startsWith("twice"))).toEqual(["twice 1", "twice 2", "twice 3"]);
  });

  test("delayed: each send takes that long, they do not wait for each other", async () => {
    const client = await open();
    hub.setFault("delayPuback", { ms: 400 });
    const start = performance.now();
    const first = send(client, "delayed 1");
    const second = send(client, "delayed 2");
    await until(() => bodies().includes("delayed 2"), "both messages");
    expect(await fate(first, 1)).toBe("pending");
    await within(Promise.all([first, second]), "both sends");
    expect(performance.now() - start).toBeGreaterThanOrEqual(395);
  });

  test("lost after acceptance: the SDK sends again, and the message is there twice without DUP", async () => {
    const client = await open();
    hub.setFault("acceptThenLosePuback", { next: 1 });
    await within(send(client, "lost"), "send");
    const copies = hub.messages.filter(({ body }) => body.toString() === "lost");
    expect(copies.map(({ systemProperties, duplicate }) => [systemProperties.messageId, duplicate])).toEqual([
      ["lost", false],
      ["lost", false],
    ]);
  });

  test("a socket dropped on a message: the SDK tries again until it passes; other messages pass", async () => {
    const client = await open();
    hub.setFault("dropOnMessage", { bodyIncludes: "poison", next: 2 });
    await within(send(client, "harmless"), "harmless");
    const dropped = hub.counter("faultDroppedOnMessage");
    await within(send(client, "poison"), "poison");
    expect(hub.counter("faultDroppedOnMessage")).toBe(dropped + 2);
    expect(bodies().filter((body) => body === "poison")).toHaveLength(1);
  });

  test("a socket dropped on every third message", async () => {
    const client = await open();
    hub.setFault("dropOnMessage", { every: 3 });
    const dropped = hub.counter("faultDroppedOnMessage");
    for (const body of ["n1", "n2", "n3", "n4"]) await within(send(client, body), body);
    expect(hub.counter("faultDroppedOnMessage")).toBe(dropped + 1);
    expect(bodies().filter((body) => /^n\d$/.test(body))).toEqual(["n1", "n2", "n3", "n4"]);
  });
});

describe("twins and methods", () => {
  test("a twin request without answer never settles", async () => {
    const client = await open();
    hub.setFault("twinGetUnanswered", { next: 1 });
    const gets = hub.counter("twinGets");
    const pending = client.getTwin();
    await until(() => hub.counter("twinGets") > gets, "the request");
    expect(await fate(pending, 300)).toBe("pending");
  });

  test("a rejected reported patch with an empty body: the SDK reports success", async () => {
    const moduleId = newModule();
    const client = await open(moduleId);
    const twin = await within(client.getTwin(), "getTwin");
    hub.setFault("reportedRejected");
    await report(twin, { a: 1 });
    expect(hub.getTwin("edge", moduleId).reported).toEqual({ $version: 1 });
  });

  test("a rejected reported patch with a JSON body: the SDK reports its message", async () => {
    const client = await open();
    const twin = await within(client.getTwin(), "getTwin");
    hub.setFault("reportedRejected", { body: "json", status: 429 });
    await expect(report(twin, { a: 1 })).rejects.toThrow("rejected (fault reportedRejected)");
  });

  test("a method without body: the SDK answers 400 itself", async () => {
    const moduleId = newModule();
    const client = await open(moduleId);
    echoMethod(client, "echo");
    hub.setFault("methodBodyEmpty", { next: 1 });
    const call = { methodName: "echo", payload: 1, connectTimeoutInSeconds: 5 };
    expect((await hub.invokeMethod("edge", moduleId, call)).status).toBe(400);
    expect(await hub.invokeMethod("edge", moduleId, call)).toEqual({ status: 200, payload: 1 });
  });
});

describe("what ends a process that uses the SDK", () => {
  /** Runs the module in its own process: exit code and output. */
  async function run(task: string, moduleId: string, onOpen: () => void) {
    const script = fileURLToPath(new URL("fixtures/module.ts", import.meta.url));
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", script, task], {
      env: { ...process.env, ...hub.environment(moduleId), TEST_CA: hub.caPem },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => {
      output += chunk;
      if (String(chunk).includes("open")) onOpen();
    });
    let errors = "";
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    try {
      const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
      const code = await within(exit, `the module's end (${output} ${errors})`, 20_000);
      return { code, output, errors };
    } finally {
      child.kill("SIGKILL");
    }
  }

  test("a twin answered with an empty body", async () => {
    hub.setFault("twinGetEmpty");
    const { code, output, errors } = await run("getTwin", newModule(), () => undefined);
    expect(output.trim()).toBe("open");
    expect(code).not.toBe(0);
    expect(errors).toContain("TypeError");
  });

  test("a sign request that fails during renewal", async () => {
    const { code, output, errors } = await run("renew", newModule(), () => hub.setFault("signFails"));
    expect(output.trim()).toBe("open");
    expect(code).not.toBe(0);
    expect(errors).toContain("500");
  });

  test("without a fault the same module lives through both", async () => {
    expect(await run("renew", newModule(), () => undefined)).toMatchObject({
      code: 0,
      output: "open\nalive\n",
    });
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
