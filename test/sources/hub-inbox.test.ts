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

test("while a source gives way, its messages do not go to the one that takes the rest", async () => {
  const rest: string[] = [];
  inbox.attach(undefined, { ...taker, take: ({ id = "" }) => rest.push(id) > 0 });
  const detach = inbox.attach("a", taker);
  commit();
  inbox.hold();
  detach();
  const received = inbox.receive(message("1"));
  await turns();
  inbox.attach("a", taker);
  inbox.release();
  await received;
  await inbox.receive(message("2", true, "b"));
  expect([taken, rest]).toEqual([["1"], ["2"]]);
});

test("what the hub repeats because a commit takes long is taken once, and answered each time", async () => {
  inbox.attach("a", taker);
  const copies = Array.from({ length: 500 }, () => inbox.receive(message("1")));
  await turns();
  expect(taken).toEqual(["1"]);
  commit();
  await Promise.all(copies);
  await inbox.receive(message("1"));
  expect(taken).toEqual(["1", "1"]);
});

test("what the cloud sends twice comes twice", async () => {
  inbox.attach(undefined, taker);
  commit();
  const { input: _, ...toDevice } = message("1");
  await Promise.all([0, 1].map(() => inbox.receive({ ...toDevice, input: undefined })));
  expect(taken).toEqual(["1", "1"]);
});

test("after the close what waits is not taken and not answered; what has its answer is taken", async () => {
  const detach = inbox.attach("a", taker);
  inbox.close();
  detach();
  await expect(inbox.receive(message("1"))).rejects.toMatchObject({ code: "HUB_LOST" });
  await inbox.receive(message("2", false));
  expect([taken, inbox.unclaimed]).toEqual([["2"], 0]);
});

test("a message that waits for room when the close comes is not answered", async () => {
  inbox.attach("a", taker);
  hasRoom = false;
  const waiting = inbox.receive(message("1"));
  inbox.close();
  await expect(waiting).rejects.toMatchObject({ code: "HUB_LOST" });
  await expect(inbox.receive(message("2"))).rejects.toMatchObject({ code: "HUB_LOST" });
  expect([taken, inbox.unclaimed]).toEqual([[], 0]);
});
