/** The whole daemon with what the hub brings as its source, and asked by direct methods: the embedded hub, both clients. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import { recordingLog } from "./core/recording-log.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let log: ReturnType<typeof recordingLog>;
let gateway: Gateway | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-hub-source-"));
  hub = await startEmbeddedHub({ inputRedeliveryMs: 300 });
  log = recordingLog();
});
afterEach(async () => {
  const left = gateway;
  gateway = undefined;
  if (left) {
    expect(imbalances(await left.audit())).toEqual([]);
    await left.stop(AbortSignal.timeout(8_000));
  }
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

const line = { type: "hub", input: "line", decode: { format: "json" }, device: { field: "id" } };

function configOf(sources: object, { store = {}, client = "direct" } = {}) {
  return {
    gateway: { name: "box" },
    sources,
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), ...store },
    hub: { type: "edge", client },
  };
}
function configure(...options: Parameters<typeof configOf>): string {
  const file = join(folder, "headgate.json");
  writeFileSync(file, JSON.stringify(configOf(...options)));
  return file;
}
async function start(configFile: string): Promise<Gateway> {
  const environment = hub.environment("gateway");
  Object.assign(process.env, environment);
  const onFatal = (error: unknown) => expect.fail(String(error));
  gateway = await Gateway.start({ configFile, environment, clock: systemClock, log, onFatal });
  await until("the hub is connected", () => gateway?.status.hub.state === "connected");
  return gateway;
}
const send = (input: string, body: string | Buffer, properties: Record<string, string> = {}) =>
  hub.sendInput("gateway", input, { body, properties });
const entries = () =>
  hub.messages.flatMap(
    (message) => JSON.parse(message.body.toString("utf8")) as { [key: string]: unknown }[],
  );

test("messages of an input become readings, and are acknowledged; what is no reading is a discard", async () => {
  const running = await start(configure({ oven: { ...line, maxPayloadBytes: 1_000 } }));
  expect(running.status.sources.oven?.state).toBe("open");
  expect(await send("line", `{"id":"kiln","temperature":21.5}`)).toBe(true);
  expect(await send("line", "{torn")).toBe(true);
  expect(await send("line", Buffer.alloc(5_000, "x"))).toBe(true);
  expect((await running.audit()).oven).toMatchObject({
    frames: 3,
    ingested: 1,
    frameDiscards: { malformed: 1, overlong: 1 },
  });
  await until("the reading is at the hub", () => entries().length > 0);
  expect(entries()[0]).toMatchObject({ source: "oven", device: "kiln" });
  const shown = log.lines.filter(({ message }) => message === "a frame brought no reading");
  expect(shown.map(({ level, object }) => [level, object])).toEqual([
    ["debug", { source: "oven", reason: "malformed", hex: Buffer.from("{torn").toString("hex"), bytes: 5 }],
    ["debug", { source: "oven", reason: "overlong", hex: "78".repeat(64), bytes: 5_000 }],
  ]);
});

test("a message that no source takes is acknowledged, counted and named once, and holds nobody up", async () => {
  const running = await start(configure({ oven: line }));
  for (let i = 0; i < 3; i++) expect(await send("other", "{}")).toBe(true);
  expect(await send("line", `{"id":"kiln","temperature":1}`)).toBe(true);
  expect(running.status.hub.unclaimed).toBe(3);
  expect(log.lines.filter(({ object }) => "input" in object && object.input === "other")).toHaveLength(1);
});

test("a source without an input takes what no other does, and a property names the device", async () => {
  const rest = { type: "hub", decode: { format: "json" }, device: { property: "sensor" } };
  const running = await start(configure({ oven: line, rest }));
  await send("line", `{"id":"kiln","temperature":1}`);
  await send("other", `{"temperature":2}`, { sensor: "roof" });
  await send("other", `{"temperature":3}`);
  await until("both are at the hub", () => entries().length === 2);
  expect(entries()).toMatchObject([
    { source: "oven", device: "kiln" },
    { source: "rest", device: "roof" },
  ]);
  expect((await running.audit()).rest).toMatchObject({ frames: 2, frameDiscards: { noDevice: 1 } });
  expect(running.status.hub.unclaimed).toBe(0);
});

test("while a twin gives the input to another source, no message is lost", async () => {
  const rest = { type: "hub", decode: { format: "json" }, device: "other" };
  const running = await start(configure({ oven: line, rest }, { store: { minCommitMs: 1 } }));
  let sent = 0;
  let isOver = false;
  const sending = (async () => {
    while (!isOver) expect(await send("line", `{"id":"kiln","temperature":${sent++}}`)).toBe(true);
  })();
  for (const [gone, come] of [
    ["oven", "hall"],
    ["hall", "yard"],
  ] as const) {
    hub.updateDesired(hub.deviceId, "gateway", { sources: { [gone]: { state: "off" }, [come]: line } });
    await until("the twin is in force", () => running.status.sources[come]?.state === "open");
    const before = sent;
    await until("messages come through", () => sent > before + 20);
  }
  isOver = true;
  await sending;
  const books = await running.audit();
  const ingested = [books.oven, books.hall, books.yard].map((book) => book?.ingested ?? 0);
  expect(ingested.reduce((sum, one) => sum + one)).toBe(sent);
  expect(ingested.every((one) => one > 0)).toBe(true);
  expect(books.rest?.frames ?? 0).toBe(0);
  expect(running.status.hub.unclaimed).toBe(0);
});

test("a kill between receipt and commit loses nothing: the hub sends again what was not acknowledged", async () => {
  // Commits are as far apart as can be, so that the kill comes between them.
  const store = { maxLossMs: 600_000, minCommitMs: 10_000 };
  const daemon = new RunningDaemon(folder, configOf({ oven: line }, { store }), hub.environment("gateway"));
  daemon.start();
  try {
    await daemon.untilStatus("the source is open", ({ sources }) => sources.oven?.state === "open");
    const delivered = send("line", `{"id":"kiln","temperature":1}`);
    const { store: before } = await daemon.untilStatus(
      "it is received",
      ({ intake }) => intake.queuedBytes > 25,
    );
    expect(before.books.oven?.ingested ?? 0).toBe(0);
    expect(hub.counter("inputsAcknowledged")).toBe(0);
    await daemon.kill();
    const again = await start(configure({ oven: line }));
    expect(await delivered).toBe(true);
    const { oven } = await again.audit();
    expect(oven?.ingested).toBe(1);
    expect(oven?.discards).toEqual({});
  } finally {
    await daemon.kill();
  }
});

test("when a twin takes the last source of the hub away, messages stay at the hub until there is one again", async () => {
  const running = await start(configure({ oven: line }));
  expect(await send("line", `{"id":"kiln","temperature":1}`)).toBe(true);
  const { clients } = running.status.hub;
  hub.updateDesired(hub.deviceId, "gateway", { sources: { oven: { state: "off" } } });
  await until("the connection is made anew", () => running.status.hub.clients > clients);
  await until("it stands", () => running.status.hub.state === "connected");
  let isDelivered = false;
  const delivered = send("line", `{"id":"kiln","temperature":2}`).then(() => {
    isDelivered = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(isDelivered).toBe(false);
  hub.updateDesired(hub.deviceId, "gateway", { sources: { oven: null } });
  await delivered;
  expect((await running.audit()).oven).toMatchObject({ ingested: 2 });
  expect(running.status.hub.unclaimed).toBe(0);
});

test("what the hub repeats because a commit takes long is one reading", async () => {
  const store = { maxLossMs: 600_000, minCommitMs: 2_000 };
  const running = await start(configure({ oven: line }, { store }));
  for (let i = 0; i < 2; i++) expect(await send("line", `{"id":"kiln","temperature":${i}}`)).toBe(true);
  expect(hub.counter("inputsRedelivered")).toBeGreaterThan(2);
  expect((await running.audit()).oven).toMatchObject({ frames: 2, ingested: 2 });
});

test("a source that a twin brings later subscribes, and what waited comes", async () => {
  const running = await start(configure({}));
  const delivered = send("line", `{"id":"kiln","temperature":1}`);
  hub.updateDesired(hub.deviceId, "gateway", { sources: { oven: line } });
  expect(await delivered).toBe(true);
  expect((await running.audit()).oven).toMatchObject({ ingested: 1 });
  expect(running.status.hub.unclaimed).toBe(0);
});

test.each(["direct", "sdk"])(
  "an orderly stop loses nothing of what was acknowledged (%s)",
  async (client) => {
    const config = configure({ oven: line }, { client, store: { maxLossMs: 100 } });
    const first = await start(config);
    let acknowledged = 0;
    let isOver = false;
    const sending = (async () => {
      for (let i = 0; !isOver; i++)
        if (await send("line", `{"id":"kiln","temperature":${i}}`).catch(() => false)) acknowledged++;
    })();
    await until("messages come through", () => acknowledged > 50);
    gateway = undefined;
    await first.stop(AbortSignal.timeout(8_000));
    const stopped = acknowledged;
    // The one under way is the next process's.
    isOver = true;
    const second = await start(config);
    await sending;
    await until("all are stored", async () => ((await second.audit()).oven?.ingested ?? 0) >= acknowledged);
    // The SDK's answer to the last one may be cut off by its own close, and that one comes again.
    const again = client === "sdk" ? 1 : 0;
    expect((await second.audit()).oven?.ingested).toBeLessThanOrEqual(acknowledged + again);
    expect(acknowledged - stopped).toBeLessThanOrEqual(1);
  },
);

test("with the SDK's client messages come in as well", async () => {
  const running = await start(configure({ oven: line }, { client: "sdk", store: { maxLossMs: 100 } }));
  expect(await send("line", `{"id":"kiln","temperature":1}`)).toBe(true);
  expect(await send("other", "{}")).toBe(true);
  await until("it is stored", async () => (await running.audit()).oven?.ingested === 1);
  expect(running.status.hub.unclaimed).toBe(1);
});

test("without a hub the source is absent, and with it open again", async () => {
  const running = await start(configure({ oven: line }));
  await hub.stopListening({ keepSessions: true });
  await until("the source is absent", () => running.status.sources.oven?.state === "absent");
  expect(running.status.sources.oven?.reason).toBe(running.status.hub.reason);
  await hub.startListening();
  await until("the source is open", () => running.status.sources.oven?.state === "open");
  expect(await send("line", `{"id":"kiln","temperature":1}`)).toBe(true);
});

test.each(["direct", "sdk"])(
  "a source whose subscription is refused is failed, until another connection (%s)",
  async (client) => {
    hub.setFault("subscriptionRefused", { kind: "inputs", next: 1 });
    const running = await start(configure({ oven: line }, { client }));
    expect(running.status.sources.oven).toMatchObject({
      state: "failed",
      reason: expect.stringContaining("refuses"),
    });
    expect(running.status.hub.state).toBe("connected");
    await hub.stopListening({ keepSessions: true });
    await hub.startListening();
    await until("the source is open", () => running.status.sources.oven?.state === "open");
    expect(await send("line", `{"id":"kiln","temperature":1}`)).toBe(true);
  },
);

test.each(["direct", "sdk"])("direct methods answer with the views of the API (%s)", async (client) => {
  const running = await start(configure({ oven: line }, { client }));
  const call = (methodName: string) => hub.invokeMethod(hub.deviceId, "gateway", { methodName, payload: {} });
  const status = await call("getStatus");
  expect(status).toMatchObject({ status: 200, payload: { gateway: "box", hub: { state: "connected" } } });
  expect(await call("getLedger")).toEqual({
    status: 200,
    payload: JSON.parse(JSON.stringify(running.ledger)),
  });
  expect(await call("getDeadLetters")).toEqual({ status: 200, payload: { deadLetters: [] } });
  const unknown = await call("reboot");
  expect(unknown).toMatchObject({ status: 404, payload: { message: expect.stringContaining("getStatus") } });
});
