/** Messages of the hub on their way to the sources that take them. */
import { beforeEach, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { InputMessage } from "../../src/hub/hub-client.ts";
import { HubInbox, type InputTaker } from "../../src/sources/hub-inbox.ts";
import { recordingLog } from "../core/recording-log.ts";

const message = (id: string, waits = true, input = "a"): InputMessage => ({
  input,
  id,
  contentType: undefined,
  contentEncoding: undefined,
  properties: {},
  body: new Uint8Array(),
  waits,
});

let inbox: HubInbox;
let taken: string[];
let hasRoom: boolean;
let commit: () => void;
let taker: InputTaker;
const turns = () => new Promise((resolve) => setTimeout(resolve, 60));

beforeEach(() => {
  inbox = new HubInbox(systemClock, recordingLog());
  taken = [];
  hasRoom = true;
  const committed = new Promise<void>((resolve) => {
    commit = resolve;
  });
  taker = {
    take: ({ id, waits }) => {
      if (waits && !hasRoom) return false;
      taken.push(id ?? "");
      return true;
    },
    committed: () => committed,
  };
});

test("a message is answered after its commit; one that has its answer waits for none", async () => {
  inbox.attach("a", taker);
  let isAnswered = false;
  const first = inbox.receive(message("1")).then(() => {
    isAnswered = true;
  });
  await inbox.receive(message("2", false));
  expect(taken).toEqual(["1", "2"]);
  expect(isAnswered).toBe(false);
  commit();
  await first;
});

test("while there is no room messages wait in their order, and are taken when there is", async () => {
  inbox.attach("a", taker);
  hasRoom = false;
  const all = ["1", "2", "3"].map((id) => inbox.receive(message(id)));
  await turns();
  expect(taken).toEqual([]);
  hasRoom = true;
  commit();
  await Promise.all(all);
  expect(taken).toEqual(["1", "2", "3"]);
});

test("beyond a bound the hub keeps what waits, and what does not wait is counted", async () => {
  inbox.attach("a", taker);
  hasRoom = false;
  const waiting = Array.from({ length: 200 }, (_, i) => inbox.receive(message(`${i}`)));
  await expect(inbox.receive(message("more"))).rejects.toMatchObject({ code: "STORE_FULL" });
  await inbox.receive(message("more", false));
  expect(inbox.unclaimed).toBe(1);
  hasRoom = true;
  commit();
  await Promise.all(waiting);
  expect(taken).toHaveLength(200);
  await inbox.receive(message("again"));
  expect(taken.at(-1)).toBe("again");
});

test("while one source gives way to another the message waits for the other", async () => {
  const detach = inbox.attach("a", taker);
  inbox.hold();
  detach();
  commit();
  const received = inbox.receive(message("1"));
  await turns();
  inbox.attach("a", taker);
  inbox.release();
  await received;
  expect([taken, inbox.unclaimed]).toEqual([["1"], 0]);
});

test("a change that takes its input from every source holds nothing up for good", async () => {
  let nowMs = 0;
  const clock = {
    ...systemClock,
    monotonic: () => nowMs,
    sleep: async (ms: number) => {
      nowMs += ms;
    },
  };
  const held = new HubInbox(clock, recordingLog());
  held.hold();
  await held.receive(message("1"));
  expect([held.unclaimed, nowMs]).toEqual([1, 30_000]);
});

test("after the close nothing is taken, and nothing answered", async () => {
  inbox.attach("a", taker);
  hasRoom = false;
  const waiting = inbox.receive(message("1"));
  inbox.close();
  await expect(waiting).rejects.toMatchObject({ code: "HUB_LOST" });
  await expect(inbox.receive(message("2"))).rejects.toMatchObject({ code: "HUB_LOST" });
  expect([taken, inbox.unclaimed]).toEqual([[], 0]);
});
