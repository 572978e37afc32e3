/** One connection with an inbox that the test opens and closes. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { MqttConnection, type MqttConnectionOptions } from "../../src/sources/mqtt-connection.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { TestBroker } from "../support/test-broker.ts";
import { until } from "../support/until.ts";

let broker: TestBroker;
let clock: ManualClock;
let connection: MqttConnection | undefined;

beforeEach(async () => {
  broker = await new TestBroker({ concurrency: 1_000 }).start();
  clock = new ManualClock();
});
afterEach(async () => {
  await connection?.close();
  await broker.stop();
});

/** Takes messages while `room` is true, and commits when it is told to. */
class Inbox {
  room = true;
  readonly taken: string[] = [];
  asked = 0;
  #resolve: () => void = () => undefined;
  #committed = this.#next();

  take(_topic: string, payload: Uint8Array, waits: boolean): boolean {
    this.asked++;
    if (waits && !this.room) return false;
    this.taken.push(Buffer.from(payload).toString());
    return true;
  }
  committed(): Promise<void> {
    return this.#committed;
  }
  commit(): void {
    this.#resolve();
    this.#committed = this.#next();
  }
  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }
}

function connect(inbox: Inbox, more: Partial<MqttConnectionOptions> = {}): MqttConnection {
  const options: MqttConnectionOptions = {
    url: broker.url,
    clientId: "c",
    topic: "a/#",
    qos: 1,
    username: undefined,
    password: undefined,
    caFile: undefined,
    certFile: undefined,
    keyFile: undefined,
    keepaliveS: 60,
    connectTimeoutMs: 300,
    closeTimeoutMs: 300,
    ...more,
  };
  connection = new MqttConnection(options, inbox, clock);
  return connection;
}
const never = new AbortController().signal;

test("a subscription whose answer stands behind messages that wait for room has no deadline", async () => {
  await connect(new Inbox()).open(never);
  await connection?.close();
  await broker.publish("a/b", "0");
  await broker.publish("a/b", "1");
  const inbox = new Inbox();
  inbox.room = false;
  const before = connect(inbox).open(never);
  await until("a message waits", () => inbox.asked > 0);
  // Longer than the deadline of 300 ms, and repeated commits give no room.
  for (let i = 0; i < 8; i++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    inbox.commit();
  }
  inbox.room = true;
  inbox.commit();
  expect(await before).toBe(1);
  inbox.commit();
  await until("both are answered", () => {
    inbox.commit();
    return broker.acknowledged.length === 2;
  });
  expect(inbox.taken).toEqual(["0", "1"]);
});

test("while messages wait for room the broker hears from us, and its silence is no loss", async () => {
  let pings = 0;
  broker.aedes.on("ping", () => pings++);
  const inbox = new Inbox();
  // The library gives up after 1.5 s without an answer to its own pings; the time between ours is the clock's.
  const subject = connect(inbox, { keepaliveS: 1 });
  await subject.open(never);
  let gone: string | undefined;
  subject.gone.then((reason) => {
    gone = reason;
  });
  inbox.room = false;
  await broker.publish("a/b", "0");
  await until("the message waits", () => inbox.asked > 0);
  for (let i = 0; i < 12; i++) {
    await clock.advance(400);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  expect(pings).toBeGreaterThan(5);
  expect(gone).toBe(undefined);
  inbox.room = true;
  inbox.commit();
  await until("it is taken", () => inbox.taken.length === 1);
});

test("under more than can be taken the answer to a ping stands behind messages, which is no loss either", async () => {
  const inbox = new (class extends Inbox {
    places = 1;
    override take(topic: string, payload: Uint8Array, waits: boolean): boolean {
      this.room = this.places > 0;
      const isTaken = super.take(topic, payload, waits);
      if (isTaken) this.places--;
      return isTaken;
    }
  })();
  const subject = connect(inbox, { keepaliveS: 1 });
  await subject.open(never);
  let gone: string | undefined;
  subject.gone.then((reason) => {
    gone = reason;
  });
  for (let i = 0; i < 12; i++) await broker.publish("a/b", `${i}`);
  // One message with each commit, 300 ms apart: none waits as long as a ping may.
  for (let taken = 1; taken <= 12; taken++) {
    await until("one more is taken", () => inbox.taken.length === taken);
    await new Promise((resolve) => setTimeout(resolve, 300));
    inbox.places = 1;
    inbox.commit();
  }
  expect(gone).toBe(undefined);
  expect(inbox.taken).toHaveLength(12);
});

test("what comes during a close is neither taken nor answered; what was taken before is answered", async () => {
  const inbox = new Inbox();
  const subject = connect(inbox, { closeTimeoutMs: 10_000 });
  await subject.open(never);
  await broker.publish("a/b", "0");
  await until("it is taken", () => inbox.taken.length === 1);
  const closed = subject.close();
  await broker.publish("a/b", "1");
  await new Promise((resolve) => setTimeout(resolve, 200));
  inbox.commit();
  await closed;
  expect(inbox.taken).toEqual(["0"]);
  await until("the answer", () => broker.acknowledged.length > 0);
  expect(broker.acknowledged).toEqual(["0"]);
});

test("a lost connection ends the waiting for room, and the message is not taken later", async () => {
  const inbox = new Inbox();
  const subject = connect(inbox);
  await subject.open(never);
  inbox.room = false;
  await broker.publish("a/b", "0");
  await until("the message waits", () => inbox.asked > 0);
  broker.cut();
  expect(await subject.gone).toContain("closed");
  inbox.room = true;
  inbox.commit();
  await clock.advance(60_000);
  expect(inbox.taken).toEqual([]);
});

test("a subscription at QoS 0 takes what comes, and answers nothing", async () => {
  const inbox = new Inbox();
  expect(await connect(inbox, { qos: 0 }).open(never)).toBe(0);
  await broker.publish("a/b", "0", 1);
  await until("it is taken", () => inbox.taken.length === 1);
  await connection?.close();
  expect(broker.acknowledged).toEqual([]);
});
