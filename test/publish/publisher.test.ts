import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { PermanentError, TransientError } from "../../src/core/errors.ts";
import type { HubMessage } from "../../src/hub/hub-client.ts";
import type { OutboxMessage } from "../../src/outbox/outbox.ts";
import { Publisher } from "../../src/publish/publisher.ts";
import { recordingLog } from "../core/recording-log.ts";
import { plain } from "../support/hub-message.ts";

/** An outbox and a hub in memory; each send ends when the test says how. */
function running() {
  const outbox: OutboxMessage[] = [];
  const events: string[] = [];
  const sends: { readonly message: HubMessage; confirm(): void; fail(error: unknown): void }[] = [];
  const fatal: unknown[] = [];
  let online = true;
  let held = false;
  let waiting: (() => void)[] = [];
  const publisher = new Publisher({
    next: async (sequence) => outbox.find((m) => m.sequence > sequence),
    connected: async (signal) => {
      while (!online) {
        signal.throwIfAborted();
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve);
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        });
      }
    },
    mayHandOver: () => !held,
    send: (message) =>
      new Promise((resolve, reject) => {
        events.push(`send ${message.id}`);
        sends.push({ message, confirm: resolve, fail: reject });
      }),
    acknowledge: (sequence) => events.push(`acknowledge ${sequence}`),
    reject: (sequence) => events.push(`reject ${sequence}`),
    onFatal: (error) => fatal.push(error),
    pause: async () => undefined,
    log: recordingLog(),
  });
  return {
    publisher,
    events,
    fatal,
    put: (...sequences: number[]) => {
      for (const sequence of sequences)
        outbox.push({
          sequence,
          id: `m${sequence}`,
          output: "readings",
          ...plain,
          body: new Uint8Array([sequence]),
        });
    },
    connect: (now: boolean) => {
      online = now;
      for (const resolve of waiting.splice(0)) resolve();
      waiting = [];
    },
    hold: (now: boolean) => {
      held = now;
    },
    /** Ends the send under way and lets everything that follows from it happen. */
    end: async (how: "confirm" | Error) => {
      const send = sends.shift();
      if (!send) throw new Error("nothing is being sent");
      if (how === "confirm") send.confirm();
      else send.fail(how);
      await setImmediate();
    },
    get underWay() {
      return sends.length;
    },
  };
}
const lost = () => new TransientError("HUB_LOST", "gone");
const refused = () => new PermanentError("HUB_REJECTED", "too large");

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
  expect(r.publisher.status).toEqual({ sent: 3, repeated: 0, rejected: 0 });
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
  expect(r.publisher.status).toEqual({ sent: 1, repeated: 1, rejected: 0 });
});

test("what the hub refuses for good is rejected once, and the rest goes on", async () => {
  const r = running();
  r.put(1, 2);
  r.publisher.start();
  await setImmediate();
  await r.end(refused());
  await r.end("confirm");
  expect(r.events).toEqual(["send m1", "reject 1", "send m2", "acknowledge 2"]);
  expect(r.publisher.status).toEqual({ sent: 1, repeated: 0, rejected: 1 });
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
  const publisher = new Publisher({
    next: async (sequence) => {
      const found = outbox.find((m) => m.sequence > sequence);
      if (looks++ === 0) {
        // New just behind the look, as a commit on the other thread does it.
        outbox.push({ sequence: 1, id: "m1", output: "o", ...plain, body: new Uint8Array() });
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
    pause: async () => undefined,
    log: recordingLog(),
  });
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

test("a stop without a start ends at once", async () => {
  await running().publisher.stop();
});
