/** Each trap of the Azure SDK, against the embedded hub with the fault that springs it. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { PermanentError, TransientError } from "../../src/core/errors.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { AzureClient, type AzureClientOptions } from "../../src/hub/azure-client.ts";
import type { DesiredPatch, HubMessage } from "../../src/hub/hub-client.ts";
import { plain } from "../support/hub-message.ts";
import { silentLink } from "../support/silent-link.ts";
import { until } from "../support/until.ts";

/** Ours; the SDK's own are 30 s for a PUBACK, 60 s for a connection, 240 s for an operation and none for the rest. */
const deadlines = {
  connectTimeoutMs: 4_000,
  sendTimeoutMs: 1_000,
  twinTimeoutMs: 1_000,
  closeTimeoutMs: 500,
};
/** Far above our deadlines, far below the SDK's. */
const soonMs = 9_000;

let hub: EmbeddedHub;
let made = 0;
const open: AzureClient[] = [];

beforeAll(async () => {
  hub = await startEmbeddedHub();
});
afterEach(async () => {
  hub.clearFaults();
  await hub.startListening();
  await Promise.all(open.splice(0).map((client) => client.close()));
});
afterAll(async () => {
  await hub.stop();
});

interface Subject {
  readonly client: AzureClient;
  readonly id: string;
  readonly lost: Error[];
  readonly patches: DesiredPatch[];
}

/** A client of a module of its own. `edge` takes everything from the environment, as on a box. */
function subject(way: "edge" | "iothub" = "edge", more: Partial<AzureClientOptions> = {}): Subject {
  const id = `m${++made}`;
  hub.createModule("edge", id);
  if (way === "edge") Object.assign(process.env, hub.environment(id));
  const lost: Error[] = [];
  const patches: DesiredPatch[] = [];
  const client = new AzureClient(
    {
      connectionString:
        way === "edge" ? undefined : () => hub.connectionString("edge", id, { gateway: true }),
      caFile: way === "edge" ? undefined : hub.caFile,
      ...deadlines,
      ...more,
    },
    { lost: (reason) => lost.push(reason), desired: (patch) => patches.push(patch) },
  );
  open.push(client);
  return { client, id, lost, patches };
}

function message(id: string): HubMessage {
  return { id, output: "readings", ...plain, body: Buffer.from(`[{"id":"${id}"}]`) };
}

const received = (id: string) => hub.messages.filter((m) => m.systemProperties.messageId === id);

async function within(work: Promise<unknown>): Promise<unknown> {
  const startedAt = Date.now();
  const outcome = await work.then(
    () => "resolved",
    (error: unknown) => error,
  );
  expect(Date.now() - startedAt).toBeLessThan(soonMs);
  return outcome;
}

describe.each(["edge", "iothub"] as const)("an Azure client (%s)", (way) => {
  test("a message arrives in the documented shape", async () => {
    const { client, id } = subject(way);
    await client.connect();
    await client.send(message(`shape-${id}`));
    const [arrived] = received(`shape-${id}`);
    expect(arrived).toMatchObject({ moduleId: id, output: "readings" });
    expect(arrived?.systemProperties).toMatchObject({
      contentType: "application/json",
      contentEncoding: "utf-8",
    });
    expect(arrived?.body.toString()).toBe(`[{"id":"shape-${id}"}]`);
  });

  test("a PUBACK that never comes fails by our deadline, and the close after it ends and leaves no connection", async () => {
    const { client, id } = subject(way);
    await client.connect();
    hub.setFault("withholdPuback");
    const outcome = await within(client.send(message(`withheld-${id}`)));
    expect(outcome).toBeInstanceOf(TransientError);
    expect(outcome).toMatchObject({ code: "HUB_TIMEOUT" });
    await within(client.close());
    await until("the connection is gone", () => !hub.isConnected("edge", id));
    // Left to itself the SDK would publish again after 30 s, or reconnect; a client that is closed does neither.
    expect(received(`withheld-${id}`)).toHaveLength(1);
  });

  test("CONNACK 5 is a refusal", async () => {
    const { client } = subject(way);
    hub.setFault("connackRefused");
    expect(await within(client.connect())).toMatchObject({ code: "HUB_UNAUTHORIZED" });
  });

  test("a port that nobody listens on is not called a refusal, as the SDK does", async () => {
    const { client } = subject(way);
    await hub.stopListening();
    expect(await within(client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
  });

  test("a certificate of an unknown authority is not called a refusal", async () => {
    const { client } = subject(way);
    hub.setFault("wrongCa");
    expect(await within(client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
  });

  test("CONNACK 3 fails at once: retrying is the link's", async () => {
    const { client } = subject(way);
    hub.setFault("connackUnavailable");
    expect(await within(client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
  });

  test("a killed connection is told as lost, and the SDK does not come back behind our back", async () => {
    const { client, id, lost } = subject(way);
    await client.connect();
    await client.twin.subscribe();
    hub.killConnections();
    await until("the loss is told", () => lost.length > 0);
    expect(lost[0]).toMatchObject({ code: "HUB_LOST" });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(hub.isConnected("edge", id)).toBe(false);
    expect(lost).toHaveLength(1);
  });

  test("the twin comes whole, with its version, and patches follow", async () => {
    const { client, id, patches } = subject(way);
    hub.updateDesired("edge", id, { windows: { a: { sizeMs: 1000 } }, list: [1, 2, 3] });
    await client.connect();
    await client.twin.subscribe();
    const twin = await client.twin.get();
    expect(twin).toMatchObject({
      desired: { windows: { a: { sizeMs: 1000 } }, list: [1, 2, 3] },
      desiredVersion: 2,
    });
    hub.updateDesired("edge", id, { list: [9], windows: { a: null } });
    await until("the patch comes", () => patches.length > 0);
    expect(patches[0]).toEqual({ patch: { list: [9], windows: { a: null } }, version: 3 });
    // The SDK's own cache would hold [9, 2, 3] now.
    expect((await client.twin.get()).desired).toEqual({ list: [9], windows: {} });
  });

  test("a report arrives, and null deletes", async () => {
    const { client, id } = subject(way);
    await client.connect();
    await client.twin.report({ freeRam: 5, sources: { a: { state: "open" } } });
    await client.twin.report({ freeRam: null });
    const { reported } = hub.getTwin("edge", id);
    expect(reported).toMatchObject({ sources: { a: { state: "open" } } });
    expect(reported).not.toHaveProperty("freeRam");
  });

  test("a report refused with an empty body is a failure, not the SDK's success", async () => {
    const { client } = subject(way);
    await client.connect();
    hub.setFault("reportedRejected");
    expect(await within(client.twin.report({ a: 1 }))).toBeInstanceOf(PermanentError);
    hub.setFault("reportedRejected", { status: 503 });
    expect(await within(client.twin.report({ a: 1 }))).toBeInstanceOf(TransientError);
  });

  test("a twin request without an answer fails by our deadline", async () => {
    const { client } = subject(way);
    await client.connect();
    hub.setFault("twinGetUnanswered");
    expect(await within(client.twin.get())).toMatchObject({ code: "HUB_TIMEOUT" });
  });

  test("an empty answer to a twin request is a failure and does not end the process", async () => {
    const { client } = subject(way);
    await client.connect();
    hub.setFault("twinGetEmpty");
    expect(await within(client.twin.get())).toBeInstanceOf(TransientError);
  });

  test("an answer that comes only when the socket is cut fails at once", async () => {
    const { client, id } = subject(way);
    await client.connect();
    hub.setFault("acceptThenLosePuback", { next: 1 });
    expect(await within(client.send(message(`cut-${id}`)))).toBeInstanceOf(TransientError);
  });

  test("a message above the SDK's limit is refused for good", async () => {
    const { client } = subject(way);
    await client.connect();
    const large = { id: "large", output: "readings", ...plain, body: Buffer.alloc(300_000, 0x20) };
    expect(await within(client.send(large))).toBeInstanceOf(PermanentError);
  });

  test("tokens are renewed while messages flow: none is lost, none comes twice", async () => {
    const tokenRenewal = { tokenValidTimeInSeconds: 4, tokenRenewalMarginInSeconds: 2 };
    const { client, id, lost } = subject(way, { tokenRenewal, sendTimeoutMs: 5_000 });
    await client.connect();
    const ids = Array.from({ length: 60 }, (_, i) => `renewal-${id}-${i}`);
    for (const each of ids) {
      await client.send(message(each));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(ids.map((each) => received(each).length)).toEqual(ids.map(() => 1));
    expect(lost).toEqual([]);
  });

  test("a broker that starts again without sessions is told as lost: nothing is subscribed any more", async () => {
    const { client, lost } = subject(way);
    await client.connect();
    await client.twin.subscribe();
    await hub.stopListening({ keepSessions: false });
    await hub.startListening();
    await until("the loss is told", () => lost.length > 0);
  });
});

test("a network that falls silent while nothing is sent is noticed by the pings, and one that is only idle stays", async () => {
  const { client, id, lost } = subject("edge", { keepAliveS: 1 });
  const link = await silentLink(hub.port);
  process.env.IOTEDGE_GATEWAYHOSTNAME = `localhost:${link.port}`;
  await client.connect();
  await client.twin.subscribe();
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  expect([lost, hub.isConnected("edge", id)]).toEqual([[], true]);
  link.silence();
  await until("the loss is told", () => lost.length > 0, soonMs);
  expect(lost[0]).toMatchObject({ code: "HUB_LOST" });
});

test("a session that the hub forgot before a token renewal is told as lost: the SDK would not subscribe again", async () => {
  const tokenRenewal = { tokenValidTimeInSeconds: 4, tokenRenewalMarginInSeconds: 2 };
  const { client, lost } = subject("edge", { tokenRenewal });
  await client.connect();
  await client.twin.subscribe();
  hub.forgetSessions();
  await until("the loss is told", () => lost.length > 0);
  expect(lost[0]?.message).toContain("forgot the session");
});

describe("an Azure client of the workload API", () => {
  test("signing that fails during a renewal is told as lost and does not end the process", async () => {
    const tokenRenewal = { tokenValidTimeInSeconds: 3, tokenRenewalMarginInSeconds: 2 };
    const { client, lost } = subject("edge", { tokenRenewal });
    await client.connect();
    hub.setFault("signFails");
    await until("the loss is told", () => lost.length > 0);
    expect(lost[0]?.message).toContain("renewing the token");
  });

  test("signing that fails at the start is a failure that can be repeated", async () => {
    const { client } = subject("edge");
    hub.setFault("signFails");
    expect(await within(client.connect())).toBeInstanceOf(TransientError);
  });

  test("a trust bundle that the SDK cannot read is a failure that can be repeated", async () => {
    const { client } = subject("edge");
    hub.setFault("trustBundleNoContentType");
    expect(await within(client.connect())).toBeInstanceOf(TransientError);
  });

  test("a workload socket that is not there is a failure that can be repeated", async () => {
    const { client } = subject("edge");
    process.env.IOTEDGE_WORKLOADURI = "unix:///nowhere/workload.sock";
    expect(await within(client.connect())).toMatchObject({ code: "HUB_UNREACHABLE" });
  });
});

test("a device sends without outputs, and names the output in a property", async () => {
  hub.createDevice("lone");
  const client = new AzureClient(
    {
      connectionString: () => hub.connectionString("lone", undefined, { gateway: true }),
      caFile: hub.caFile,
      ...deadlines,
    },
    { lost: () => undefined, desired: () => undefined },
  );
  open.push(client);
  await client.connect();
  await client.send(message("of-a-device"));
  expect(received("of-a-device")[0]).toMatchObject({
    deviceId: "lone",
    moduleId: undefined,
    properties: { output: "readings" },
  });
});
