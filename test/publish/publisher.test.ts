import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { OutboxMessage } from "../../src/outbox/outbox.ts";
import { Publisher, type PublishSettings } from "../../src/publish/publisher.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";
import { plain } from "../support/hub-message.ts";
import { lost, one, refused, running } from "./running-publisher.ts";

test("messages go in order, one in flight, each acknowledged when the hub confirmed it", async () => {
  const r = running();
  r.put(1, 2, 5);
  r.publisher.start();
  await setImmediate();
  expect([r.events, r.underWay]).toEqual([["send m1"], 1]);
  await r.end("confirm");
  await r.end("confirm");
  await r.end("confirm");
  expect(r.events).toEqual([
    "send m1",
    "acknowledge 1",
    "send m2",
    "acknowledge 2",
    "send m5",
    "acknowledge 5",
  ]);
  expect(r.publisher.status).toEqual({ sent: 3, repeated: 0, rejected: 0, inFlight: 0 });
  expect(r.underWay).toBe(0);
});

test("a message is not sent again while its acknowledgement waits for the store", async () => {
  const r = running();
  r.put(1);
  r.publisher.start();
  await setImmediate();
  await r.end("confirm");
  r.publisher.wake();
  await setImmediate();
  expect(r.events).toEqual(["send m1", "acknowledge 1"]);
});

test("a lost connection repeats the message before its successor", async () => {
  const r = running();
  r.put(1, 2);
  r.publisher.start();
  await setImmediate();
  r.connect(false);
  await r.end(lost());
  expect(r.events).toEqual(["send m1"]);
  r.connect(true);
  await setImmediate();
  await r.end("confirm");
  expect(r.events).toEqual(["send m1", "send m1", "acknowledge 1", "send m2"]);
  expect(r.publisher.status).toMatchObject({ sent: 1, repeated: 1, rejected: 0 });
});

test("what the hub refuses for good is rejected once, and the rest goes on", async () => {
  const r = running();
  r.put(1, 2);
  r.publisher.start();
  await setImmediate();
  await r.end(refused());
  await r.end("confirm");
  expect(r.events).toEqual(["send m1", "reject 1", "send m2", "acknowledge 2"]);
  expect(r.publisher.status).toMatchObject({ sent: 1, repeated: 0, rejected: 1 });
});

test("nothing is sent before there is a connection", async () => {
  const r = running();
  r.connect(false);
  r.put(1);
  r.publisher.start();
  await setImmediate();
  expect(r.events).toEqual([]);
  r.connect(true);
  await setImmediate();
  expect(r.events).toEqual(["send m1"]);
});

test("while it is held back the message under way ends and none follows, until it is woken", async () => {
  const r = running();
  r.put(1, 2);
  r.publisher.start();
  await setImmediate();
  r.hold(true);
  await r.end("confirm");
  r.publisher.wake();
  await setImmediate();
  expect([r.events, r.underWay]).toEqual([["send m1", "acknowledge 1"], 0]);
  r.hold(false);
  r.publisher.wake();
  await setImmediate();
  expect(r.events.at(-1)).toBe("send m2");
});

test("it sleeps when the outbox is empty and goes on when it is woken", async () => {
  const r = running();
  r.publisher.start();
  await setImmediate();
  r.put(1);
  await setImmediate();
  expect(r.events).toEqual([]);
  r.publisher.wake();
  await setImmediate();
  expect(r.events).toEqual(["send m1"]);
});

test("a wake while it looks into the outbox is not lost", async () => {
  const outbox: OutboxMessage[] = [];
  const sent: string[] = [];
  let looks = 0;
  const publisher = new Publisher(
    {
      next: async (done) => {
        const found = outbox.find((m) => m.sequence > done[m.class]);
        if (looks++ === 0) {
          // New just behind the look, as a commit on the other thread does it.
          outbox.push({
            sequence: 1,
            previous: 0,
            id: "m1",
            output: "o",
            class: "live",
            ...plain,
            body: new Uint8Array(),
          });
          publisher.wake();
        }
        return found;
      },
      connected: async () => undefined,
      mayHandOver: () => true,
      send: async (message) => {
        sent.push(message.id);
      },
      acknowledge: () => undefined,
      reject: () => undefined,
      onFatal: (error) => {
        throw error;
      },
      clock: systemClock,
      log: recordingLog(),
    },
    one,
  );
  publisher.start();
  await setImmediate();
  expect(sent).toEqual(["m1"]);
  await publisher.stop();
});

test("a bug ends it and is told, and the message is neither acknowledged nor rejected", async () => {
  const r = running();
  r.put(1);
  r.publisher.start();
  await setImmediate();
  await r.end(new Error("a bug"));
  expect([r.events, r.fatal.length]).toEqual([["send m1"], 1]);
});

test.each([true, false])(
  "a stop while it sleeps or waits for a connection ends it (connected: %s)",
  async (connected) => {
    const r = running();
    r.connect(connected);
    if (!connected) r.put(1);
    r.publisher.start();
    await setImmediate();
    await r.publisher.stop();
    await r.publisher.stop();
    expect([r.events, r.fatal]).toEqual([[], []]);
  },
);

test("a stop during a send that hangs ends with the connection, and answers nothing for the message", async () => {
  const r = running();
  r.put(1, 2);
  r.publisher.start();
  await setImmediate();
  const stopped = r.publisher.stop();
  r.connect(false);
  await r.end(lost());
  await stopped;
  expect([r.events, r.fatal]).toEqual([["send m1"], []]);
});

test("a send that the hub confirms during a stop is acknowledged, and none follows it", async () => {
  const r = running();
  r.put(1, 2);
  r.publisher.start();
  await setImmediate();
  const stopped = r.publisher.stop();
  await r.end("confirm");
  await stopped;
  expect(r.events).toEqual(["send m1", "acknowledge 1"]);
});

test("a stop while it looks into the outbox is not lost", async () => {
  let found = (): void => undefined;
  const r = running();
  const looking = new Publisher(
    {
      ...r.options,
      next: () =>
        new Promise((resolve) => {
          found = () => resolve(undefined);
        }),
    },
    one,
  );
  looking.start();
  await setImmediate();
  const stopped = looking.stop();
  found();
  await stopped;
});

test("a stop without a start ends at once", async () => {
  await running().publisher.stop();
});

describe("several in flight", () => {
  const four: PublishSettings = { ...one, maxInFlight: 4 };

  test("so many go without waiting, and each confirmation lets another go", async () => {
    const r = running(four);
    r.put(1, 2, 3, 4, 5, 6);
    r.publisher.start();
    await setImmediate();
    expect(r.events).toEqual(["send m1", "send m2", "send m3", "send m4"]);
    await r.endOf(3, "confirm");
    expect(r.events.slice(4)).toEqual(["acknowledge 3", "send m5"]);
    expect(r.publisher.status.inFlight).toBe(4);
  });

  test("after a loss everything goes again from the first that was not confirmed, but what was", async () => {
    const r = running(four);
    r.put(1, 2, 3, 4, 5);
    r.publisher.start();
    await setImmediate();
    await r.endOf(1, "confirm");
    await r.endOf(3, "confirm");
    r.events.length = 0;
    await r.loseAll();
    expect(r.events).toEqual(["send m2", "send m4", "send m5"]);
    expect(r.publisher.status).toMatchObject({ sent: 2, repeated: 3 });
  });

  test("nothing is sent while one of a lost connection has not ended", async () => {
    const r = running(four);
    r.put(1, 2, 3);
    r.publisher.start();
    await setImmediate();
    r.events.length = 0;
    await r.endOf(1, lost());
    await r.endOf(2, lost());
    expect(r.events).toEqual([]);
    await r.endOf(3, "confirm");
    expect(r.events).toEqual(["acknowledge 3", "send m1", "send m2"]);
  });

  test("an alarm overtakes what is new, and that the backlog, which takes half of what is in flight", async () => {
    const r = running(four);
    r.putAs("backfill", 1, 2, 3);
    r.put(4);
    r.putAs("alarm", 5);
    r.publisher.start();
    await setImmediate();
    expect(r.events).toEqual(["send m5", "send m4", "send m1", "send m2"]);
    await r.endOf(5, "confirm");
    await r.endOf(4, "confirm");
    // Two are free, and the backlog has its half.
    expect(r.events.slice(4)).toEqual(["acknowledge 5", "acknowledge 4"]);
    await r.endOf(1, "confirm");
    expect(r.events.slice(6)).toEqual(["acknowledge 1", "send m3"]);
  });

  test("a store that was opened again is looked at from its beginning, and what is under way is not doubled", async () => {
    const r = running(four);
    r.put(1, 2);
    r.publisher.start();
    await setImmediate();
    await r.endOf(1, "confirm");
    r.publisher.restart();
    await setImmediate();
    expect(r.events).toEqual(["send m1", "send m2", "acknowledge 1", "send m1"]);
  });
});

test("offered messages go without being asked for, unless others of their class are before them", async () => {
  const r = running({ ...one, maxInFlight: 4 });
  r.publisher.start();
  await setImmediate();
  r.putAs("alarm", 1, 2, 3);
  const [first, second, third] = r.outbox;
  if (!first || !second || !third) throw new Error("three were put");
  // Not there any more for whoever asks.
  r.outbox.length = 0;
  r.publisher.offer([second, third]);
  await setImmediate();
  expect(r.events).toEqual([]);
  r.publisher.offer([first, second]);
  await setImmediate();
  expect(r.events).toEqual(["send m1", "send m2"]);
  r.publisher.offer([second, third]);
  await setImmediate();
  expect(r.events).toEqual(["send m1", "send m2"]);
});

test("the backlog keeps to its rate, and what is new goes meanwhile", async () => {
  const clock = new ManualClock();
  const r = running({ maxInFlight: 8, backfill: { messagesPerSecond: 2, bytesPerSecond: 1e9 } }, clock);
  r.putAs("backfill", 1, 2, 3, 4, 5, 6);
  r.publisher.start();
  await setImmediate();
  expect(r.events).toEqual(["send m1", "send m2"]);
  await r.end("confirm");
  await r.end("confirm");
  await clock.advance(500);
  expect(r.events.slice(4)).toEqual(["send m3"]);
  r.put(7);
  r.publisher.wake();
  await setImmediate();
  expect(r.events.slice(5)).toEqual(["send m7"]);
  await clock.advance(1_000);
  expect(r.events.slice(6)).toEqual(["send m4", "send m5"]);
});
