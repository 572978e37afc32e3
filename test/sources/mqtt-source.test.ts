/** Messages of a real broker; what is received goes through the real intake into a store that the test holds back. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { MqttSourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { FrameDiscard } from "../../src/core/reading.ts";
import { createServerCertificate } from "../../src/embedded-hub/certificates.ts";
import { Intake } from "../../src/journal/intake.ts";
import { MqttSource } from "../../src/sources/mqtt-source.ts";
import type { SourceStatus, WaitingSink } from "../../src/sources/source.ts";
import { recordingLog } from "../core/recording-log.ts";
import { defaults } from "../journal/running-intake.ts";
import { TestBroker } from "../support/test-broker.ts";
import { until } from "../support/until.ts";
import { HeldStore } from "./held-store.ts";

let broker: TestBroker;
let store: HeldStore;
let intake: Intake;
let intakeRuns: boolean;
let stops: (() => Promise<void>)[];

beforeEach(async () => {
  broker = await new TestBroker({ concurrency: 10_000 }).start();
  store = new HeldStore();
  stops = [];
  intakeRuns = false;
});
afterEach(async () => {
  store.release();
  for (const stop of stops) await stop();
  if (intakeRuns) await intake.stop(AbortSignal.timeout(5_000));
  await broker.stop();
});

function source(more: JsonObject = {}, environment: NodeJS.ProcessEnv = {}, maxQueueBytes = 1_000_000) {
  if (!intakeRuns) {
    intakeRuns = true;
    const fatal = (error: unknown) => expect.fail(String(error));
    const options = {
      store,
      clock: systemClock,
      log: recordingLog(),
      onCommit: () => undefined,
      onFatal: fatal,
    };
    intake = new Intake(options, { ...defaults, maxLossMs: 60_000, minCommitMs: 1, maxQueueBytes });
    intake.start();
  }
  const yard = {
    type: "mqtt",
    url: broker.url,
    topic: "yard/+",
    decode: { format: "json" },
    device: { topicLevel: 1 },
    ...more,
  };
  const checked = checkConfig({ gateway: { name: "box" }, hub: { type: "edge" }, sources: { yard } });
  const config = checked.config.sources.yard as MqttSourceConfig;
  const states: SourceStatus[] = [];
  const sink: WaitingSink = {
    frame: (bytes, origin) => intake.frame("yard", bytes, origin),
    discard: (reason: FrameDiscard, bytes) => intake.discard("yard", reason, bytes),
    hasRoom: (bytes) => intake.hasRoom(bytes),
    committed: () => intake.committed(),
    status: (status) => states.push(status),
  };
  const made = new MqttSource("yard", config, sink, systemClock, { gateway: "box", environment });
  stops.push(() => made.stop());
  made.start();
  return { source: made, states, state: () => states.at(-1)?.state };
}
async function open(...arguments_: Parameters<typeof source>) {
  const made = source(...arguments_);
  await until("the source is open", () => made.state() === "open");
  return made;
}
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${from + i}`);
/** Sums by reason, over however many commits they came in. */
function discards(): string[] {
  const sums = new Map<string, [count: number, bytes: number]>();
  for (const entry of store.committed) {
    if (entry.type !== "discard") continue;
    const [count, bytes] = sums.get(entry.reason) ?? [0, 0];
    sums.set(entry.reason, [count + entry.count, bytes + entry.bytes]);
  }
  return [...sums].map(([reason, [count, bytes]]) => `${reason} ${count} ${bytes}`);
}
/** Whatever was on its way has arrived once the broker is answered to something that came later. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 150));

test("a message is a frame, with its topic as origin, and is answered", async () => {
  await open();
  await broker.publish("yard/north", '{"t":1}');
  await broker.publish("elsewhere/x", '{"t":1}');
  await until("the answer", () => broker.acknowledged.length === 1);
  expect(store.committed.filter(({ type }) => type === "frame")).toMatchObject([
    { source: "yard", origin: "yard/north" },
  ]);
});

test("no answer precedes the commit that holds its message, and none holds up the next message", async () => {
  await open();
  const tooEarly: string[] = [];
  broker.aedes.on("ack", () => {
    const answered = broker.acknowledged.at(-1) ?? "";
    if (!store.frames.includes(answered)) tooEarly.push(answered);
  });
  store.held = true;
  for (const text of numbers(0, 500)) await broker.publish("yard/a", text);
  await until("all are received", () => intake.status.queuedBytes > 500 * 26);
  await settled();
  expect(broker.acknowledged).toEqual([]);
  store.release();
  await until("all are answered", () => broker.acknowledged.length === 500);
  expect(broker.acknowledged).toEqual(numbers(0, 500));
  expect(store.frames).toEqual(numbers(0, 500));
  for (const text of numbers(500, 600)) await broker.publish("yard/a", text);
  await until("these as well", () => broker.acknowledged.length === 600);
  expect(tooEarly).toEqual([]);
});

test("messages that come while one commit runs wait for the next", async () => {
  await open();
  store.held = true;
  await broker.publish("yard/a", "0");
  await until("it is on its way into the store", () => intake.status.queuedBytes > 0);
  await settled();
  await broker.publish("yard/a", "1");
  await settled();
  const before = store.commits;
  store.release();
  await until("both are answered", () => broker.acknowledged.length === 2);
  expect(store.commits).toBe(before + 2);
});

test("a broker that allows one message in flight gets its answer at once, not when a power cut would cost too much", async () => {
  await broker.stop();
  broker = await new TestBroker({ concurrency: 1 }).start();
  await open();
  for (const text of numbers(0, 50)) await broker.publish("yard/a", text);
  // maxLossMs is a minute here.
  await until("all are answered", () => broker.acknowledged.length === 50);
});

test("a connection that breaks before the commit: the broker sends again, and what was withheld is not answered twice", async () => {
  const { states } = await open();
  store.held = true;
  for (const text of numbers(0, 20)) await broker.publish("yard/a", text);
  await until("all are received", () => intake.status.queuedBytes > 20 * 26);
  const queued = intake.status.queuedBytes;
  broker.cut();
  await until("it is open again", () => states.filter(({ state }) => state === "open").length === 2);
  await until("they came again", () => intake.status.queuedBytes >= queued * 2 - 200);
  expect(broker.acknowledged).toEqual([]);
  store.release();
  await until("all are answered", () => broker.acknowledged.length === 20);
  await settled();
  expect(broker.acknowledged).toEqual(numbers(0, 20));
  expect(new Set(store.frames)).toEqual(new Set(numbers(0, 20)));
});

test("what comes while the source is away is kept by the broker, under the same client id", async () => {
  const first = await open();
  expect(broker.clientIds).toEqual(["headgate-box-yard"]);
  await first.source.stop();
  expect(first.state()).toBe("stopped");
  for (const text of numbers(0, 5)) await broker.publish("yard/a", text);
  await open();
  await until("all are answered", () => broker.acknowledged.length === 5);
  expect(store.frames).toEqual(numbers(0, 5));
});

test("a stop answers what is committed meanwhile, and takes nothing more", async () => {
  const { source: subject } = await open();
  store.held = true;
  for (const text of numbers(0, 10)) await broker.publish("yard/a", text);
  await until("all are received", () => intake.status.queuedBytes > 10 * 26);
  const stopped = subject.stop();
  for (const text of numbers(10, 20)) await broker.publish("yard/a", text);
  store.release();
  await stopped;
  await until("they are answered", () => broker.acknowledged.length === 10);
  expect(store.frames).toEqual(numbers(0, 10));
  await open();
  await until("the others came later", () => broker.acknowledged.length === 20);
  expect(store.frames).toEqual(numbers(0, 20));
});

test("a stop while the store holds everything up ends all the same, and nothing is answered", async () => {
  const { source: subject } = await open();
  store.held = true;
  await broker.publish("yard/a", "0");
  await until("it is received", () => intake.status.queuedBytes > 0);
  await subject.stop();
  store.release();
  await settled();
  expect(broker.acknowledged).toEqual([]);
});

test("without room QoS 1 waits and loses nothing; QoS 0 is a counted gap", async () => {
  const { states } = await open({ maxPayloadBytes: 1_000 }, {}, 5_000);
  store.held = true;
  const texts = numbers(100, 300).map((text) => text.repeat(30));
  for (const text of texts) await broker.publish("yard/a", text);
  await until("it is full", () => !intake.hasRoom(90));
  await settled();
  const queued = intake.status.queuedBytes;
  expect(queued).toBeLessThanOrEqual(5_000);
  expect(broker.acknowledged).toEqual([]);
  store.release();
  await until("all are answered", () => broker.acknowledged.length === texts.length);
  expect(store.frames).toEqual(texts);
  expect(store.committed.filter(({ type }) => type === "gap")).toEqual([]);
  expect(states.map(({ state }) => state)).toEqual(["opening", "open"]);

  store.held = true;
  for (const text of texts) await broker.publish("yard/a", text, 0);
  await until("it is full", () => !intake.hasRoom(90));
  await settled();
  store.release();
  // Nobody waits for it: it would be committed when a power cut would cost too much.
  await intake.flush();
  const gaps = store.committed.flatMap((e) => (e.type === "gap" && e.count !== "unknown" ? [e.count] : []));
  const taken = store.frames.length - texts.length;
  expect(taken).toBeGreaterThan(0);
  expect(gaps.reduce((a, b) => a + b, 0)).toBe(texts.length - taken);
});

test("while messages wait for room, a stop ends, and the broker keeps them", async () => {
  const { source: subject } = await open({ maxPayloadBytes: 1_000 }, {}, 5_000);
  store.held = true;
  const texts = numbers(100, 200).map((text) => text.repeat(30));
  for (const text of texts) await broker.publish("yard/a", text);
  await until("it is full", () => !intake.hasRoom(90));
  await subject.stop();
  store.release();
  await open({ maxPayloadBytes: 1_000 }, {}, 5_000);
  await until("all have come", () => new Set(store.frames).size === texts.length);
});

test("a subscription whose answer stands behind messages that wait for room is waited for", async () => {
  const first = await open({ maxPayloadBytes: 1_000 }, {}, 5_000);
  await first.source.stop();
  const texts = numbers(100, 200).map((text) => text.repeat(30));
  for (const text of texts) await broker.publish("yard/a", text);
  store.held = true;
  const { state } = source({ maxPayloadBytes: 1_000 }, {}, 5_000);
  await until("it is full", () => !intake.hasRoom(90));
  store.release();
  await until("all are answered", () => broker.acknowledged.length === texts.length);
  await until("it is open", () => state() === "open");
});

test("a payload of 1 MB and what is over the limit is a discard, and answered; at the limit it is a frame", async () => {
  await open({ maxPayloadBytes: 100 });
  await broker.publish("yard/a", Buffer.alloc(1_048_576, "x"));
  await broker.publish("yard/a", "y".repeat(101));
  await broker.publish("yard/a", "z".repeat(100));
  await until("all are answered", () => broker.acknowledged.length === 3);
  expect(store.frames).toEqual(["z".repeat(100)]);
  expect(discards()).toEqual(["overlong 2 1048677"]);
});

test("1 MB is taken where it is allowed, and an empty payload and bytes that are no text are frames like others", async () => {
  await open({ maxPayloadBytes: 400_000 });
  await broker.publish("yard/a", Buffer.alloc(400_000, "x"));
  await broker.publish("yard/a", "");
  await broker.publish("yard/a", Buffer.from([0xff, 0xfe, 0x00]));
  await until("all are answered", () => broker.acknowledged.length === 3);
  const sizes = store.committed.flatMap((e) => (e.type === "frame" ? [e.bytes.length] : []));
  expect(sizes).toEqual([400_000, 0, 3]);
});

test("a retained message is taken like others, at every subscription", async () => {
  await broker.publish("yard/a", "kept", 1, true);
  const { states } = await open();
  await until("it is in", () => store.frames.length === 1);
  broker.cut();
  await until("it is open again", () => states.filter(({ state }) => state === "open").length === 2);
  await until("it is in again", () => store.frames.length === 2);
  expect(store.frames).toEqual(["kept", "kept"]);
});

test("after a change of the topic, what the broker still sends of the old one is a discard, and answered", async () => {
  const first = await open({ topic: "old/#" });
  await first.source.stop();
  await broker.publish("old/x", "0");
  await open();
  await broker.publish("yard/a", "1");
  await until("both are answered", () => broker.acknowledged.length === 2);
  expect(store.frames).toEqual(["1"]);
  expect(discards()).toEqual(["otherTopic 1 1"]);
});

test("a stop for good leaves nothing behind that collects", async () => {
  const { source: subject } = await open({ topic: "old/#" });
  await broker.publish("old/x", "0");
  await until("it is answered", () => broker.acknowledged.length === 1);
  await subject.stop(true);
  await broker.publish("old/x", "1");
  await open();
  await broker.publish("yard/a", "2");
  await until("it is answered", () => broker.acknowledged.length === 2);
  expect(store.frames).toEqual(["0", "2"]);
  expect(discards()).toEqual([]);
});

test("a broker behind TLS needs an authority that is known; without one it is a failure, with the reason", async () => {
  const folder = mkdtempSync(join(tmpdir(), "headgate-test-"));
  stops.push(async () => rmSync(folder, { recursive: true, force: true }));
  const { caPem, certificatePem, privateKeyPem } = await createServerCertificate(["localhost"], []);
  const caFile = join(folder, "ca.pem");
  writeFileSync(caFile, caPem);
  const server = createServer({ key: privateKeyPem, cert: certificatePem }, (socket) =>
    broker.aedes.handle(socket),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  stops.push(async () => void server.close());
  const address = server.address();
  const url = `mqtts://localhost:${typeof address === "object" && address ? address.port : 0}`;
  const { states, state } = source({ url });
  await until("it is told", () => state() === "failed");
  expect(states.at(-1)?.reason).toMatch(/certificate/);
  await open({ url, caFile });
  await broker.publish("yard/a", "0");
  await until("it is answered", () => broker.acknowledged.length === 1);
});

test("a broker that is not there is absent, and found when it comes", async () => {
  await broker.unlisten();
  const { states, state } = source();
  await until("it is told", () => state() === "absent");
  expect(states.at(-1)?.reason).toContain("ECONNREFUSED");
  await broker.listen();
  await until("it is open", () => state() === "open");
  const told = states.length;
  broker.cut();
  // It may be open again before anyone looks.
  await until("the loss is told", () => states.slice(told).some(({ state }) => state === "absent"));
  await until("it is open again", () => state() === "open");
});

test("the password comes from where the configuration says, anew at each attempt; a wrong one is a failure", async () => {
  broker.aedes.authenticate = (_client, username, password, done) => {
    const known = username === "u" && password?.toString() === "right";
    done(known ? null : Object.assign(new Error("no"), { returnCode: 4 as const }), known);
  };
  const folder = mkdtempSync(join(tmpdir(), "headgate-test-"));
  stops.push(async () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "password");
  const { states, state } = source({ username: "u", password: { file } });
  await until("it has failed", () => state() === "failed");
  expect(states.at(-1)?.reason).toContain("sources.yard.password");
  writeFileSync(file, "wrong\n");
  await until("it is refused", () => states.at(-1)?.reason?.includes("refused") === true);
  expect(state()).toBe("failed");
  writeFileSync(file, "right\n");
  await until("it is open", () => state() === "open");
  await open({ username: "u", password: { env: "P" }, clientId: "other" }, { P: "right" });
  expect(broker.clientIds.slice(-2)).toEqual(["headgate-box-yard", "other"]);
});

test("a subscription that the broker refuses is a failure, and tried again", async () => {
  let allowed = false;
  broker.aedes.authorizeSubscribe = (_client, subscription, done) => {
    done(null, allowed ? subscription : null);
  };
  const { state } = source();
  await until("it is told", () => state() === "failed");
  allowed = true;
  await until("it is open", () => state() === "open");
});
