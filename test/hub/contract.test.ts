/** What every hub client does, under every fault of the hub that concerns it. The token has a file of its own. */
import { describe, expect, onTestFinished, test } from "vitest";
import { PermanentError, TransientError } from "../../src/core/errors.ts";
import { silentLink } from "../support/silent-link.ts";
import { until } from "../support/until.ts";
import { bench, cases, clients, message, outcomeOf } from "./subjects.ts";

const lab = bench();
const { subject, received } = lab;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(cases)("%s, %s", (name, way) => {
  const connected = async (more: Parameters<typeof subject>[2] = {}) => {
    const made = subject(name, way, more);
    await made.client.connect();
    return made;
  };

  describe("sends", () => {
    test("a message arrives in the documented shape", async () => {
      const { client, id } = await connected();
      const properties = { schema: "a/b&c=d é", kind: "50% %41" };
      await client.send(message(`shape of ${id}`, { properties, contentEncoding: "gzip" }));
      const [arrived] = received(`shape of ${id}`);
      expect(arrived).toMatchObject({ moduleId: id, output: "readings", properties });
      expect(arrived?.systemProperties).toMatchObject({
        contentType: "application/json",
        contentEncoding: "gzip",
      });
      expect(arrived?.body.toString()).toBe(`[{"id":"shape of ${id}"}]`);
    });

    test("many at a time arrive once each, in the order of the calls", async () => {
      const { client, id } = await connected({ sendTimeoutMs: 8_000 });
      const ids = Array.from({ length: 200 }, (_, i) => `many-${id}-${i}`);
      await Promise.all(ids.map((each) => client.send(message(each))));
      const arrived = lab.hub.messages.filter((m) => m.moduleId === id);
      expect(arrived.map((m) => m.systemProperties.messageId)).toEqual(ids);
    });

    test("a PUBACK that never comes fails by our deadline, and the close after it ends and leaves no connection", async () => {
      const { client, id } = await connected();
      lab.hub.setFault("withholdPuback");
      const outcome = await outcomeOf(client.send(message(`withheld-${id}`)));
      expect(outcome).toBeInstanceOf(TransientError);
      expect(outcome).toMatchObject({ code: "HUB_TIMEOUT" });
      await outcomeOf(client.close());
      await until("the connection is gone", () => !lab.hub.isConnected("edge", id));
      // Nobody publishes again behind our back, or reconnects.
      expect(received(`withheld-${id}`)).toHaveLength(1);
    });

    test("a PUBACK with a packet identifier of no message confirms nothing", async () => {
      const { client, id } = await connected();
      lab.hub.setFault("wrongPubackId");
      const outcome = await outcomeOf(client.send(message(`wrong-${id}`)));
      expect(outcome).toMatchObject({ name: "TransientError", code: "HUB_TIMEOUT" });
    });

    test("a late PUBACK confirms its message, and no other", async () => {
      const { client, id } = await connected();
      lab.hub.setFault("delayPuback", { ms: 400, next: 1 });
      let late = "unanswered";
      const first = client.send(message(`late-${id}`)).then(() => (late = "confirmed"));
      await client.send(message(`prompt-${id}`));
      expect(late).toBe("unanswered");
      await first;
    });

    test("a PUBACK that comes twice confirms its message, and no other", async () => {
      const { client, id, lost } = await connected();
      lab.hub.setFault("duplicatePuback");
      for (let i = 0; i < 5; i++) await client.send(message(`twice-${id}-${i}`));
      lab.hub.clearFault("duplicatePuback");
      lab.hub.setFault("withholdPuback", { next: 1 });
      expect(await outcomeOf(client.send(message(`twice-${id}-5`)))).toMatchObject({ code: "HUB_TIMEOUT" });
      expect(lost).toEqual([]);
    });

    test("what is in flight when the socket is cut fails at once, each and all, and so does what is sent behind it", async () => {
      const { client, id, lost } = await connected({ sendTimeoutMs: 20_000 });
      lab.hub.setFault("withholdPuback");
      const sent = [1, 2, 3].map((i) => outcomeOf(client.send(message(`cut-${id}-${i}`))));
      await until("they are there", () => received(`cut-${id}-3`).length === 1);
      lab.hub.killConnections();
      for (const outcome of await Promise.all(sent)) expect(outcome).toBeInstanceOf(TransientError);
      await until("the loss is told", () => lost.length === 1);
      expect(await outcomeOf(client.send(message(`cut-${id}-4`)))).toBeInstanceOf(TransientError);
    });

    test("a message accepted without a PUBACK before the cut fails, and so does one that cuts the socket", async () => {
      for (const [fault, parameters] of [
        ["acceptThenLosePuback", { next: 1 }],
        ["dropOnMessage", { every: 1, next: 1 }],
      ] as const) {
        const { client, id } = await connected({ sendTimeoutMs: 20_000 });
        lab.hub.setFault(fault, parameters);
        expect(await outcomeOf(client.send(message(`${fault}-${id}`)))).toBeInstanceOf(TransientError);
      }
    });

    test("a message above the hub's limit is refused for good, and the connection stays", async () => {
      const { client, id } = await connected();
      const body = Buffer.alloc(300_000, 0x20);
      expect(await outcomeOf(client.send(message("large", { body })))).toBeInstanceOf(PermanentError);
      await client.send(message(`small-${id}`));
    });
  });

  describe("connections", () => {
    test.each([2, 4, 5] as const)("CONNACK %i is a refusal", async (returnCode) => {
      lab.hub.setFault("connackRefused", { returnCode });
      const outcome = await outcomeOf(subject(name, way).client.connect());
      expect(outcome).toMatchObject({ name: "TransientError", code: "HUB_UNAUTHORIZED" });
    });

    test("CONNACK 3 fails at once, and says that the hub is busy: waiting is the link's", async () => {
      lab.hub.setFault("connackUnavailable");
      expect(await outcomeOf(subject(name, way).client.connect())).toMatchObject({ code: "HUB_BUSY" });
    });

    test("a port that nobody listens on, and a certificate of an unknown authority, are no refusals", async () => {
      await lab.hub.stopListening();
      expect(await outcomeOf(subject(name, way).client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
      await lab.hub.startListening();
      lab.hub.setFault("wrongCa");
      expect(await outcomeOf(subject(name, way).client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
    });

    test("a certificate that expires during the run ends no connection, and allows no other until it is renewed", async () => {
      // Whole seconds, and the first handshake must be over by then.
      const validMs = 3_000;
      await lab.hub.renewCertificate(validMs);
      onTestFinished(() => lab.hub.renewCertificate(86_400_000));
      const { client, id, lost } = await connected();
      await pause(validMs + 1_000);
      await client.send(message(`behind-${id}`));
      expect(lost).toEqual([]);
      lab.hub.killConnections();
      await until("the loss is told", () => lost.length > 0);
      const { client: next } = subject(name, way);
      const refused = await outcomeOf(next.connect());
      expect(refused).toMatchObject({ name: "TransientError", code: "HUB_UNREACHABLE" });
      expect(String(refused)).toContain("certificate has expired");
      await lab.hub.renewCertificate(86_400_000);
      const { client: renewed, id: other } = await connected();
      await renewed.send(message(`renewed-${other}`));
    });

    test("a killed connection is told as lost, once, and nobody comes back behind our back", async () => {
      const { client, id, lost } = await connected();
      await client.twin.subscribe();
      lab.hub.killConnections();
      await until("the loss is told", () => lost.length > 0);
      expect(lost[0]).toMatchObject({ code: "HUB_LOST" });
      await pause(1_500);
      expect(lab.hub.isConnected("edge", id)).toBe(false);
      expect(lost).toHaveLength(1);
    });

    test("a client that takes the identity is told as a loss, and is not fought", async () => {
      const first = await connected();
      const takeovers = lab.hub.counter("takeovers");
      const second = subject(name, "iothub", {
        connectionString: () => lab.hub.connectionString("edge", first.id, { gateway: true }),
      });
      await second.client.connect();
      await until("the loss is told", () => first.lost.length > 0);
      await pause(1_000);
      expect(lab.hub.counter("takeovers")).toBe(takeovers + 1);
      expect(second.lost).toEqual([]);
    });

    test("a hub that starts again without sessions is told as lost", async () => {
      const { client, lost } = await connected();
      await client.twin.subscribe();
      await lab.hub.stopListening({ keepSessions: false });
      await lab.hub.startListening();
      await until("the loss is told", () => lost.length > 0);
    });

    test("closing at once, twice and while connecting leaves no connection", async () => {
      const { client, id } = subject(name, way);
      const opening = outcomeOf(client.connect());
      await client.close();
      await client.close();
      expect(await opening).toBeInstanceOf(TransientError);
      await pause(500);
      expect(lab.hub.isConnected("edge", id)).toBe(false);
    });
  });

  describe("twins", () => {
    test("the twin comes whole, with its version, and patches follow", async () => {
      const { client, id, patches } = subject(name, way);
      lab.hub.updateDesired("edge", id, { windows: { a: { sizeMs: 1000 } }, list: [1, 2, 3] });
      await client.connect();
      await client.twin.subscribe();
      expect(await client.twin.get()).toMatchObject({
        desired: { windows: { a: { sizeMs: 1000 } }, list: [1, 2, 3] },
        desiredVersion: 2,
      });
      lab.hub.updateDesired("edge", id, { list: [9], windows: { a: null } });
      await until("the patch comes", () => patches.length > 0);
      expect(patches[0]).toEqual({ patch: { list: [9], windows: { a: null } }, version: 3 });
      // The SDK's own cache would hold [9, 2, 3] now.
      expect((await client.twin.get()).desired).toEqual({ list: [9], windows: {} });
    });

    test("a hub that sends only what is subscribed sends everything", async () => {
      lab.hub.setFault("strictSubscriptions");
      const { client, id, patches } = await connected();
      await client.twin.report({ a: 1 });
      await client.twin.subscribe();
      lab.hub.updateDesired("edge", id, { b: 2 });
      await until("the patch comes", () => patches.length > 0);
      expect((await client.twin.get()).reported).toMatchObject({ a: 1 });
    });

    test("a report arrives, and null deletes", async () => {
      const { client, id } = await connected();
      await client.twin.report({ freeRam: 5, sources: { a: { state: "open" } } });
      await client.twin.report({ freeRam: null });
      const { reported } = lab.hub.getTwin("edge", id);
      expect(reported).toMatchObject({ sources: { a: { state: "open" } } });
      expect(reported).not.toHaveProperty("freeRam");
    });

    test.each([
      ["empty", 400, "PermanentError"],
      ["json", 400, "PermanentError"],
      ["empty", 429, "TransientError"],
      ["json", 429, "TransientError"],
      ["empty", 503, "TransientError"],
    ] as const)("a report refused with an %s body and %i is a %s", async (body, status, error) => {
      const { client, id } = await connected();
      lab.hub.setFault("reportedRejected", { status, body });
      expect(await outcomeOf(client.twin.report({ a: 1 }))).toMatchObject({
        name: error,
        code: "HUB_REJECTED",
      });
      // The connection is as good as before.
      await client.send(message(`after-${status}-${body}-${id}`));
    });

    test("a twin request that is throttled may be repeated", async () => {
      const { client } = await connected();
      lab.hub.setFault("twinGetRejected", { status: 429, next: 1 });
      expect(await outcomeOf(client.twin.get())).toMatchObject({
        name: "TransientError",
        code: "HUB_REJECTED",
      });
      expect(await client.twin.get()).toMatchObject({ desired: {} });
    });

    test("a twin request without an answer fails by our deadline", async () => {
      const { client } = await connected();
      lab.hub.setFault("twinGetUnanswered");
      expect(await outcomeOf(client.twin.get())).toMatchObject({ code: "HUB_TIMEOUT" });
    });

    test.each(["twinGetEmpty", "twinGetMalformed", "cutInTwinAnswer"] as const)(
      "an answer that is no twin (%s) is a failure and does not end the process",
      async (fault) => {
        const { client } = await connected();
        lab.hub.setFault(fault);
        expect(await outcomeOf(client.twin.get())).toBeInstanceOf(TransientError);
      },
    );
  });
});

describe.each(clients)("%s as a device", (name) => {
  test("sends without outputs, names the output in a property, and has a twin", async () => {
    const device = `lone-${name}`;
    lab.hub.createDevice(device);
    const { client } = subject(name, "iothub", {
      connectionString: () => lab.hub.connectionString(device, undefined, { gateway: true }),
    });
    await client.connect();
    await client.send(message(`of-${device}`, { properties: { kind: "window" } }));
    expect(received(`of-${device}`)[0]).toMatchObject({
      deviceId: device,
      moduleId: undefined,
      properties: { kind: "window", output: "readings" },
    });
    await client.twin.report({ a: 1 });
    expect(lab.hub.getTwin(device).reported).toMatchObject({ a: 1 });
  });
});

test.each(clients)("%s: an identity and a message of every character that is allowed", async (name) => {
  const module = `m!'()*-.+%_#?,=@$:;${name}`.replace(/[+#?:;,]/g, "");
  lab.hub.createModule("edge", module);
  const { client } = subject(name, "iothub", {
    connectionString: () => lab.hub.connectionString("edge", module, { gateway: true }),
  });
  await client.connect();
  const id = `a-:.+%_#*?!(),=@;$'${name}`;
  await client.send(message(id, { properties: { "a b&c=d": "e/f?g#h+i%20" } }));
  expect(received(id)[0]).toMatchObject({ moduleId: module, properties: { "a b&c=d": "e/f?g#h+i%20" } });
});

test.each(clients)("%s: a gateway named by its address", async (name) => {
  const { client, id } = subject(name, "iothub", {
    connectionString: () => lab.hub.connectionString("edge", id).replace("localhost", "127.0.0.1"),
  });
  await client.connect();
  await client.send(message(`address-${id}`));
});

describe.each(clients)("%s, from the environment", (name) => {
  test("a connection string and a CA file in the environment go before the workload API", async () => {
    lab.hub.createModule("edge", `environment-${name}`);
    const environment = {
      ...lab.hub.connectionStringEnvironment(`environment-${name}`),
      IOTEDGE_WORKLOADURI: "unix:///nowhere",
    };
    const { client } = subject(name, "edge", { environment });
    try {
      await client.connect();
      expect(lab.hub.isConnected("edge", `environment-${name}`)).toBe(true);
    } finally {
      delete process.env.EdgeHubConnectionString;
      delete process.env.EdgeModuleCACertificateFile;
    }
  });

  test("signing that fails at the start is a failure that can be repeated", async () => {
    lab.hub.setFault("signFails");
    expect(await outcomeOf(subject(name, "edge").client.connect())).toBeInstanceOf(TransientError);
  });

  test("a workload socket that is not there is a failure that can be repeated", async () => {
    const environment = { IOTEDGE_WORKLOADURI: "unix:///nowhere/workload.sock" };
    const { client } = subject(name, "edge", { environment });
    expect(await outcomeOf(client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
  });
});

test.each(clients)(
  "%s: a network that falls silent while nothing is sent is noticed by the pings, and one that is only idle stays",
  async (name) => {
    const link = await silentLink(lab.hub.port);
    const { client, id, lost } = subject(name, "edge", {
      keepAliveS: 1,
      environment: { IOTEDGE_GATEWAYHOSTNAME: `localhost:${link.port}` },
    });
    await client.connect();
    await client.twin.subscribe();
    await pause(4_000);
    expect([lost, lab.hub.isConnected("edge", id)]).toEqual([[], true]);
    link.silence();
    await until("the loss is told", () => lost.length > 0);
    expect(lost[0]).toMatchObject({ code: "HUB_LOST" });
  },
);
