/** The reconnect loop: with clients made by hand for the order of things, and with the real SDK for the storm. */
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { PermanentError, TransientError } from "../../src/core/errors.ts";
import { startEmbeddedHub } from "../../src/embedded-hub/embedded-hub.ts";
import type { HubClient, HubClientEvents, HubMessage, TwinClient } from "../../src/hub/hub-client.ts";
import { HubLink, type HubLinkOptions } from "../../src/hub/hub-link.ts";
import { hubSchedules } from "../../src/hub/pace.ts";
import { recordingLog } from "../core/recording-log.ts";
import { plain } from "../support/hub-message.ts";
import { until } from "../support/until.ts";
import { type ClientName, clientOf, clients } from "./subjects.ts";

const quick = { baseMs: 20, maxMs: 100, healthyMs: 60_000 };
const schedules = { reconnect: quick, busy: quick, takeover: quick };
const message: HubMessage = { id: "m", output: "readings", ...plain, body: Buffer.from("[]") };
const links: HubLink[] = [];
afterEach(async () => {
  await Promise.all(links.splice(0).map((link) => link.stop()));
});

/** A client that does what a test tells it; the link cannot tell it from a real one. */
class HandMadeClient implements HubClient {
  twin: TwinClient | undefined = undefined;
  readonly events: HubClientEvents;
  closed = 0;
  onConnect: () => Promise<void> = async () => undefined;
  onSend: () => Promise<void> = async () => undefined;
  constructor(events: HubClientEvents) {
    this.events = events;
  }
  connect(): Promise<void> {
    return this.onConnect();
  }
  send(): Promise<void> {
    return this.onSend();
  }
  async close(): Promise<void> {
    this.closed++;
  }
}

function link(
  prepare: (client: HandMadeClient, number: number) => void = () => undefined,
  more: Partial<HubLinkOptions> = {},
) {
  const clients: HandMadeClient[] = [];
  const log = recordingLog();
  const made = new HubLink({
    factory: (events) => {
      const client = new HandMadeClient(events);
      clients.push(client);
      prepare(client, clients.length);
      return client;
    },
    clock: systemClock,
    log,
    onConnected: async () => undefined,
    onDesired: () => undefined,
    schedules,
    ...more,
  });
  links.push(made);
  made.start();
  return { link: made, clients, log };
}

const forever = () => new Promise<void>(() => undefined);
const signal = () => AbortSignal.timeout(10_000);

test("another factory takes over at once, also from a long pause; calls under way fail, and the old client is closed", async () => {
  const { link: subject, clients } = link((client) => {
    client.onSend = forever;
  });
  await subject.connected(signal());
  const sending = subject.send(message).catch((error: unknown) => error);
  const others: HandMadeClient[] = [];
  const long = { baseMs: 600_000, maxMs: 600_000, healthyMs: 60_000 };
  subject.use((events) => {
    const client = new HandMadeClient(events);
    others.push(client);
    return client;
  });
  expect(await sending).toMatchObject({ code: "HUB_LOST" });
  await subject.connected(signal());
  await subject.send(message);
  expect([clients.length, clients[0]?.closed, others.length]).toEqual([1, 1, 1]);

  let attempts = 0;
  const waiting = new HubLink({
    factory: (events) => {
      attempts++;
      const client = new HandMadeClient(events);
      client.onConnect = () => Promise.reject(new TransientError("HUB_UNREACHABLE", "away"));
      return client;
    },
    clock: systemClock,
    log: recordingLog(),
    onConnected: async () => undefined,
    onDesired: () => undefined,
    schedules: { reconnect: long, busy: long, takeover: long },
  });
  links.push(waiting);
  waiting.start();
  await until("it waits", () => waiting.state.state === "disconnected");
  waiting.use((events) => new HandMadeClient(events));
  await waiting.connected(signal());
  expect(attempts).toBe(1);
});

test("a lost client is closed before the next one is made, so that the two never fight for the identity", async () => {
  let open = 0;
  let most = 0;
  const { link: subject, clients } = link((client) => {
    client.onConnect = async () => {
      most = Math.max(most, ++open);
    };
    client.close = async () => {
      await systemClock.sleep(20);
      open--;
    };
  });
  for (let i = 0; i < 5; i++) {
    await subject.connected(signal());
    clients.at(-1)?.events.lost(new Error("cut"));
    await until("the loss is noticed", () => subject.state.state !== "connected");
  }
  await subject.connected(signal());
  expect(most).toBe(1);
  expect(clients.length).toBe(6);
});

test("a transient failure of a send gives the client up; a permanent one does not", async () => {
  const { link: subject, clients } = link((client, number) => {
    client.onSend = async () => {
      if (number === 1) throw new TransientError("HUB_TIMEOUT", "late");
      throw new PermanentError("HUB_REJECTED", "never");
    };
  });
  await subject.connected(signal());
  await expect(subject.send(message)).rejects.toBeInstanceOf(TransientError);
  await until("another client", () => clients.length === 2 && subject.state.state === "connected");
  expect(clients[0]?.closed).toBe(1);
  await expect(subject.send(message)).rejects.toBeInstanceOf(PermanentError);
  expect(subject.state.state).toBe("connected");
});

test.each([
  ["for good", new PermanentError("HUB_REJECTED", "400")],
  ["for now", new TransientError("HUB_REJECTED", "503")],
])(
  "a twin request that the hub answers with a refusal %s keeps the client, also for sends",
  async (_, error) => {
    const { link: subject, clients } = link((client) => {
      client.twin = {
        subscribe: async () => undefined,
        get: () => Promise.reject(error),
        report: () => Promise.reject(error),
      };
    });
    await subject.connected(signal());
    await expect(subject.withTwin((twin) => twin.get())).rejects.toBe(error);
    await expect(subject.withTwin((twin) => twin.report({}))).rejects.toBe(error);
    await subject.send(message);
    expect(subject.state).toMatchObject({ state: "connected", clients: 1 });
    expect(clients[0]?.closed).toBe(0);
  },
);

test("a twin request without an answer gives the client up", async () => {
  const { link: subject, clients } = link((client) => {
    client.twin = {
      subscribe: async () => undefined,
      get: () => Promise.reject(new TransientError("HUB_TIMEOUT", "late")),
      report: async () => undefined,
    };
  });
  await subject.connected(signal());
  await expect(subject.withTwin((twin) => twin.get())).rejects.toMatchObject({ code: "HUB_TIMEOUT" });
  await until("another client", () => clients.length === 2 && subject.state.state === "connected");
  expect(clients[0]?.closed).toBe(1);
});

test("a report that a real hub refuses, and one it cannot take now, leave the connection to the messages", async () => {
  const hub = await startEmbeddedHub();
  try {
    const subject = new HubLink({
      factory: (events) =>
        clientOf(
          "sdk",
          () => hub.connectionString("edge", "gateway", { gateway: true }),
          hub.caFile,
          { connectTimeoutMs: 10_000, sendTimeoutMs: 10_000 },
          events,
        ),
      clock: systemClock,
      log: recordingLog(),
      onConnected: async () => undefined,
      onDesired: () => undefined,
      schedules,
    });
    links.push(subject);
    subject.start();
    await subject.connected(signal());
    for (const status of [400, 429, 503]) {
      hub.setFault("reportedRejected", { status });
      await expect(subject.withTwin((twin) => twin.report({ a: 1 }))).rejects.toMatchObject({
        code: "HUB_REJECTED",
      });
      await subject.send({ ...message, id: `after-${status}` });
    }
    expect(hub.messages.map((m) => m.systemProperties.messageId)).toEqual([
      "after-400",
      "after-429",
      "after-503",
    ]);
    expect(subject.state).toMatchObject({ state: "connected", clients: 1 });
  } finally {
    await Promise.all(links.splice(0).map((each) => each.stop()));
    await hub.stop();
  }
});

test("a send in flight fails as soon as the connection is lost, and as soon as the link stops", async () => {
  const { link: subject, clients } = link((client) => {
    client.onSend = forever;
  });
  await subject.connected(signal());
  const first = subject.send(message);
  clients[0]?.events.lost(new TransientError("HUB_LOST", "cut"));
  await expect(first).rejects.toMatchObject({ code: "HUB_LOST" });
  await until("connected again", () => subject.state.state === "connected");
  const second = subject.send(message);
  const stopped = subject.stop();
  await expect(second).rejects.toBeInstanceOf(TransientError);
  await stopped;
  await expect(subject.connected(signal())).rejects.toBeInstanceOf(Error);
});

test("when the twin fails, calls under way fail with the connection and not with the next one", async () => {
  let failTwin: (error: Error) => void = () => undefined;
  let connections = 0;
  const clients: HandMadeClient[] = [];
  const subject = new HubLink({
    factory: (events) => {
      const client = new HandMadeClient(events);
      client.onSend = forever;
      clients.push(client);
      return client;
    },
    clock: systemClock,
    log: recordingLog(),
    onConnected: async () => {
      if (connections++ === 0) await new Promise<void>((_, reject) => (failTwin = reject));
    },
    onDesired: () => undefined,
    schedules,
  });
  links.push(subject);
  subject.start();
  await subject.connected(signal());
  const sent = subject.send(message);
  failTwin(new TransientError("HUB_TIMEOUT", "no twin"));
  await expect(sent).rejects.toMatchObject({ code: "HUB_TIMEOUT" });
  await until("the next connection", () => clients.length === 2 && subject.state.state === "connected");
});

test("stop ends a connection attempt that hangs", async () => {
  const { link: subject, clients } = link((client) => {
    client.onConnect = forever;
  });
  await until("an attempt", () => clients.length === 1);
  await subject.stop();
  expect(clients[0]?.closed).toBe(1);
  expect(subject.state.state).toBe("stopped");
});

test("the same failure again and again is one line in the log", async () => {
  const { clients, log } = link((client) => {
    client.onConnect = async () => {
      throw new TransientError("HUB_UNREACHABLE", "nobody there");
    };
  });
  await until("several attempts", () => clients.length > 5);
  expect(log.lines.filter((line) => line.message === "hub disconnected")).toHaveLength(1);
});

test("a hub that ends one connection after the other is told as a takeover", async () => {
  const slow = { baseMs: 100_000, maxMs: 100_000, healthyMs: 60_000 };
  const made: HandMadeClient[] = [];
  const log = recordingLog();
  const subject = new HubLink({
    factory: (events) => {
      const client = new HandMadeClient(events);
      made.push(client);
      return client;
    },
    clock: systemClock,
    log,
    onConnected: async () => undefined,
    onDesired: () => undefined,
    schedules: { reconnect: quick, busy: quick, takeover: slow },
  });
  links.push(subject);
  subject.start();
  for (let i = 1; i <= 8; i++) {
    await until("a connection", () => made.length === i && subject.state.state === "connected");
    made.at(-1)?.events.lost(new TransientError("HUB_LOST", "the hub closed the connection"));
    await until("the end", () => subject.state.state === "disconnected" || made.length > i);
  }
  await until("the takeover is told", () => subject.state.code === "HUB_TAKEN_OVER");
  expect(subject.state).toMatchObject({ state: "disconnected", clients: 8 });
  expect(log.lines.filter(({ object }) => "code" in object && object.code === "HUB_TAKEN_OVER")).toHaveLength(
    1,
  );
});

test("each of two gateways with one identity finds out, and they do not storm the hub", async () => {
  for (const name of clients) await twoGateways(name);
});

/** The SDK alone makes hundreds of connections a second. */
async function twoGateways(name: ClientName) {
  const hub = await startEmbeddedHub();
  try {
    const both = [1, 2].map(() => {
      const subject = new HubLink({
        factory: (events) =>
          clientOf(
            name,
            () => hub.connectionString("edge", "gateway", { gateway: true }),
            hub.caFile,
            { sendTimeoutMs: 5_000 },
            events,
          ),
        clock: systemClock,
        log: recordingLog(),
        onConnected: async (client) => client.twin?.subscribe(),
        onDesired: () => undefined,
        schedules: { ...hubSchedules, reconnect: { baseMs: 100, maxMs: 400, healthyMs: 60_000 } },
      });
      links.push(subject);
      subject.start();
      return subject;
    });
    await until("one of them knows", () => both.some(({ state }) => state.code === "HUB_TAKEN_OVER"));
    const clients = () => both.reduce((sum, { state }) => sum + state.clients, 0);
    const before = clients();
    expect(before).toBeLessThan(60);
    // The one that knows waits for minutes, so that the other one's connection stands.
    await systemClock.sleep(1_000);
    expect(clients() - before).toBeLessThan(4);
  } finally {
    await Promise.all(links.splice(0).map((subject) => subject.stop()));
    await hub.stop();
  }
}

test.each([
  ["that a message explains are no takeover", true],
  ["that nothing explains are one", false],
])("nine ends in a row %s", async (_, isEndExpected) => {
  const distinct = { ...schedules, takeover: { ...quick } };
  const {
    link: subject,
    clients,
    log,
  } = link(undefined, {
    isEndExpected: () => isEndExpected,
    schedules: distinct,
  });
  for (let number = 1; number <= 9; number++) {
    await until("a connection", () => clients.length === number && subject.state.state === "connected");
    clients.at(-1)?.events.lost(new TransientError("HUB_LOST", "the hub closed the connection"));
    await until("its end", () => subject.state.state !== "connected" || clients.length > number);
  }
  const isTold = log.lines.some(({ object }) => "code" in object && object.code === "HUB_TAKEN_OVER");
  expect(isTold).toBe(!isEndExpected);
});
