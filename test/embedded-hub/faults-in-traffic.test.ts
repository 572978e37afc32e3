/** The fault modes of telemetry, twins and methods, by what the unmodified Azure SDK does under them. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { connectRaw, echoMethod, fate, report, until, within } from "./clients.ts";
import { faultyHub } from "./faulty-hub.ts";

const { hub, newModule, open, send, bodies } = await faultyHub();

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
