/** Tokens: renewal while messages flow, rotated keys, wrong clocks. */
import { describe, expect, onTestFinished, test } from "vitest";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import { DirectClient } from "../../src/hub/direct-client.ts";
import { HubLink } from "../../src/hub/hub-link.ts";
import { recordingLog } from "../core/recording-log.ts";
import { until } from "../support/until.ts";
import { bench, cases, clientOf, deadlines, message, outcomeOf } from "./subjects.ts";

// A connection ends with its token, as at IoT Hub: a renewal that comes too late is seen.
const lab = bench({ tokenExpiry: "disconnect" });
const { subject, received } = lab;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const token = { validMs: 4_000, marginMs: 2_500 };

describe.each(cases)("%s, %s", (name, way) => {
  test("tokens are renewed while ten messages a second flow: none is lost, none comes twice, the link sees one client", async () => {
    const connects = lab.hub.counter("connects");
    let id = "";
    const link = new HubLink({
      factory: (events) => {
        const made = subject(name, way, { token, sendTimeoutMs: 5_000, events });
        id = made.id;
        return made.client;
      },
      clock: systemClock,
      log: recordingLog(),
      onConnected: async (client) => client.twin?.subscribe(),
      onDesired: () => undefined,
    });
    onTestFinished(() => link.stop());
    link.start();
    await link.connected(AbortSignal.timeout(10_000));
    const ids = Array.from({ length: 60 }, (_, i) => `${id}-${i}`);
    const sent: Promise<void>[] = [];
    for (const each of ids) {
      sent.push(link.send(message(each)));
      await pause(100);
    }
    await Promise.all(sent);
    expect(
      lab.hub.messages.filter((m) => m.moduleId === id).map((m) => m.systemProperties.messageId),
    ).toEqual(ids);
    expect(link.state).toMatchObject({ state: "connected", clients: 1 });
    expect(lab.hub.counter("connects") - connects).toBeGreaterThan(2);
  });
});

describe("a direct client", () => {
  test("bursts before, during and behind a renewal arrive once, in order", async () => {
    const { client, id, lost } = subject("direct", "iothub", { token, sendTimeoutMs: 5_000 });
    await client.connect();
    lab.hub.setFault("delayPuback", { ms: 300 });
    const sent: Promise<void>[] = [];
    for (let i = 0; i < 400; i++) {
      sent.push(client.send(message(`burst-${id}-${i}`)));
      await pause(5);
    }
    await Promise.all(sent);
    const arrived = lab.hub.messages
      .filter((m) => m.moduleId === id)
      .map((m) => m.systemProperties.messageId);
    expect(arrived).toEqual(sent.map((_, i) => `burst-${id}-${i}`));
    expect(lost).toEqual([]);
  });

  test("twin requests and patches go on after a renewal, and it is told that patches may have been missed", async () => {
    lab.hub.setFault("strictSubscriptions");
    const { client, id, patches, lost } = subject("direct", "edge", { token });
    await client.connect();
    await client.twin.subscribe();
    // Without its session the hub knows no subscriptions either.
    lab.hub.forgetSessions();
    await until("the renewal", () => patches.some(({ version }) => version === undefined));
    lab.hub.updateDesired("edge", id, { a: 1 });
    await until("the patch", () => patches.some(({ version }) => version === 2));
    expect(await client.twin.get()).toMatchObject({ desired: { a: 1 } });
    expect(lost).toEqual([]);
  });

  test("twin requests under way when the token falls due are answered, and those that come then wait", async () => {
    const { client, patches, lost } = subject("direct", "iothub", { token });
    await client.connect();
    await client.twin.subscribe();
    lab.hub.setFault("delayTwinAnswer", { ms: 100 });
    const ask = async () => {
      while (patches.length === 0) await client.twin.get();
    };
    await Promise.all(Array.from({ length: 10 }, ask));
    expect(lost).toEqual([]);
  });

  test("a workload API that fails for a while during a renewal costs nothing", async () => {
    const { client, id, lost } = subject("direct", "edge", { token });
    await client.connect();
    const connects = lab.hub.counter("connects");
    lab.hub.setFault("signFails", { next: 3 });
    await until("the renewal", () => lab.hub.counter("connects") > connects);
    await client.send(message(`signed-${id}`));
    expect(lost).toEqual([]);
  });

  test("a workload API that goes on failing is told as lost before the token ends", async () => {
    const { client, id, lost } = subject("direct", "edge", { token });
    await client.connect();
    const expired = lab.hub.counter("tokensExpired");
    lab.hub.setFault("signFails");
    await until("the loss is told", () => lost.length > 0);
    expect(lost[0]?.message).toContain("signing failed");
    expect(lab.hub.counter("tokensExpired")).toBe(expired);
    expect(lab.hub.isConnected("edge", id)).toBe(true);
    await client.close();
    await until("the connection is gone", () => !lab.hub.isConnected("edge", id));
  });

  test("a renewal that the hub refuses is told as lost, with what was sent meanwhile", async () => {
    const { client, lost } = subject("direct", "iothub", { token, sendTimeoutMs: 6_000 });
    await client.connect();
    lab.hub.setFault("connackRefused");
    lab.hub.setFault("delayPuback", { ms: 500 });
    const outcomes: Promise<unknown>[] = [];
    while (lost.length === 0) {
      outcomes.push(outcomeOf(client.send(message(`meanwhile-${outcomes.length}`))));
      await pause(50);
    }
    expect(lost).toHaveLength(1);
    expect(lost[0]).toMatchObject({ code: "HUB_UNAUTHORIZED" });
    const settled = await Promise.all(outcomes);
    const failed = settled.filter((outcome) => outcome !== "resolved").length;
    // Those that were on their way are answered before the connection goes; none of the others went out.
    const arrived = settled.filter((_, i) => received(`meanwhile-${i}`).length > 0).length;
    expect([arrived, failed > 0]).toEqual([settled.length - failed, true]);
  });

  test("a key that was rotated in the file is used from the next renewal on, without a loss", async () => {
    const { client, id, lost } = subject("direct", "iothub", {
      token,
      connectionString: () => text,
    });
    let text = lab.hub.connectionString("edge", id, { gateway: true });
    await client.connect();
    const connects = lab.hub.counter("connects");
    const key = Buffer.alloc(32, 7).toString("base64");
    const url = `${lab.hub.controlUrl}/devices/edge/modules/${id}?api-version=2021-04-12`;
    const authentication = { type: "sas", symmetricKey: { primaryKey: key, secondaryKey: key } };
    const body = JSON.stringify({ deviceId: "edge", moduleId: id, authentication });
    const headers = { "content-type": "application/json", "if-match": "*" };
    expect((await fetch(url, { method: "PUT", headers, body })).status).toBe(200);
    text = lab.hub.connectionString("edge", id, { gateway: true });
    expect(text).toContain(key);
    await until("the renewal", () => lab.hub.counter("connects") > connects);
    await client.send(message(`rotated-${id}`));
    expect(lost).toEqual([]);
  });
});

/** A box whose clock is wrong by years. */
function wrongClock(ms: number): Clock {
  return { ...systemClock, wall: () => Date.now() + ms };
}
const year = 365 * 86_400_000;

describe("a direct client whose clock is wrong", () => {
  const at = (ms: number) => {
    const id = `clock${ms}`;
    lab.hub.createModule("edge", id);
    const client = new DirectClient(
      {
        connectionString: () => lab.hub.connectionString("edge", id, { gateway: true }),
        caFile: lab.hub.caFile,
        environment: {},
        productInfo: "headgate/test",
        clock: wrongClock(ms),
        ...deadlines,
      },
      { lost: () => undefined, desired: () => undefined },
    );
    onTestFinished(() => client.close());
    return client;
  };

  test("by years behind is refused, and the message says until when the token was", async () => {
    const outcome = await outcomeOf(at(-5 * year).connect());
    expect(outcome).toMatchObject({ name: "TransientError", code: "HUB_UNAUTHORIZED" });
    expect(String(outcome)).toContain(`token until ${new Date(Date.now() - 5 * year).getUTCFullYear()}`);
  });

  test("by years ahead connects, and sends", async () => {
    const client = at(5 * year);
    await client.connect();
    await client.send(message("from the future"));
    expect(received("from the future")).toHaveLength(1);
  });
});

test("a hub that loses its sessions and its port during a renewal is told as lost", async () => {
  const hub = await startEmbeddedHub();
  onTestFinished(() => hub.stop());
  const lost: Error[] = [];
  const client = clientOf(
    "direct",
    () => hub.connectionString("edge", "gateway", { gateway: true }),
    hub.caFile,
    { token },
    { lost: (reason) => lost.push(reason), desired: () => undefined },
  );
  onTestFinished(() => client.close());
  await client.connect();
  hub.setFault("withholdPuback");
  // Unanswered: the renewal waits for it, up to the send's own deadline.
  await pause(1_000);
  const outcome = outcomeOf(client.send(message("unanswered")));
  await pause(700);
  await hub.stopListening();
  expect(await outcome).toMatchObject({ name: "TransientError" });
  await until("the loss is told", () => lost.length > 0);
  expect(lost).toHaveLength(1);
});
