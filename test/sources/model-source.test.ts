import { getEventListeners } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { Feed } from "../../src/feed/pending.ts";
import type { FeedScorer } from "../../src/infer/feed-scorer.ts";
import { refuse } from "../../src/infer/refusal.ts";
import { FeedInbox } from "../../src/sources/feed-inbox.ts";
import { ModelSource } from "../../src/sources/model-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { modelSource } from "../config/model-source.ts";
import { impatientClock } from "../infer/running-model.ts";
import { until } from "../support/until.ts";

type Scorer = Pick<FeedScorer, "standing" | "score">;
const feed = (id: number): Feed => ({ id, device: "d", timeMs: 1_000 * id, values: [id] });
const news = (...ids: number[]) => [{ source: "m", waiting: ids, feeds: ids.map(feed) }];
const config = modelSource({
  inputs: { from: "values", source: "s", channels: ["x"], last: 1 },
  outputs: { y: {} },
});
const ready = { state: "ready", reason: undefined } as const;

/** A source whose model answers as `score` says; what it tells, and how it stands. */
function running(score: Scorer["score"], standing: Scorer["standing"] = () => ready) {
  const inbox = new FeedInbox();
  const frames: string[] = [];
  const states: string[] = [];
  const box = { hasRoom: true };
  const sink = {
    frame: (bytes: Uint8Array, origin = "") => {
      if (!box.hasRoom) throw new Error("nobody asked whether there is room");
      return frames.push(`${origin} ${Buffer.from(bytes)}`) > 0;
    },
    discard: () => undefined,
    hasRoom: () => box.hasRoom,
    committed: () => Promise.resolve(),
    status: ({ state, reason }: SourceStatus) => void states.push(reason ? `${state}: ${reason}` : state),
  };
  const source = new ModelSource("m", config, sink, impatientClock, inbox, { standing, score });
  onTestFinished(() => source.stop());
  source.start();
  return { inbox, frames, states, box, source };
}
const told = (id: number) => `${id} {"device":"d","time":${1_000 * id},"values":{"y":${2 * id}}}`;
const doubled: Scorer["score"] = async (_, { values }) => ({ values: { y: 2 * (values[0] ?? 0) } });

test("each feed is answered once, in the order of time, also when a store that was opened again tells it once more", async () => {
  const { inbox, frames } = running(doubled);
  inbox.take(news(1, 2), "store");
  await until("both are told", () => frames.length === 2);
  inbox.take(news(1, 2, 4, 3), "store");
  await until("the others are told", () => frames.length === 4);
  expect(frames).toEqual([told(1), told(2), told(3), told(4)]);
});

test("a feed waits while the model is not ready or busy, and is told when there is room", async () => {
  let asked = 0;
  let state: ReturnType<Scorer["standing"]> = { state: "absent", reason: "model x is loading" };
  const busyAtFirst: Scorer["score"] = async (...given) =>
    asked++ < 3 ? refuse(asked % 2 ? "busy" : "notReady", "later") : doubled(...given);
  const { inbox, frames, states, box } = running(busyAtFirst, () => state);
  inbox.take(news(1), "store");
  await until("it is told that there is no model", () => states.length === 1);
  expect(asked).toBe(0);
  state = ready;
  box.hasRoom = false;
  await until("it is asked until it answers", () => asked === 4);
  await systemClock.sleep(50);
  expect([frames, inbox.first("m")]).toEqual([[], feed(1)]);
  box.hasRoom = true;
  await until("it is told", () => frames.length === 1);
  expect(frames).toEqual([told(1)]);
  expect(states).toEqual(["opening: model x is loading", "open"]);
});

test("a refusal is told with its reason and is the source's state, until a result comes", async () => {
  const fails: Scorer["score"] = async (...given) =>
    given[1].values[0] === 1 ? refuse("notFinite", "output y[0] is NaN") : doubled(...given);
  const { inbox, frames, states } = running(fails);
  inbox.take(news(1), "store");
  await until("it is failed", () => states.length === 2);
  inbox.take(news(2), "store");
  await until("it is open again", () => states.length === 3);
  expect(frames).toEqual(['1 {"discard":"modelFailed","reason":"output y[0] is NaN"}', told(2)]);
  expect(states).toEqual(["open", "failed: output y[0] is NaN", "open"]);
});

test("a model that is lost over a feed is asked again, and not for ever", async () => {
  const asked: unknown[] = [];
  const losing: Scorer["score"] = async (...given) => {
    asked.push(given[1].values[0]);
    return given[1].values[0] === 1 || asked.length === 4 ? refuse("lost", "it is gone") : doubled(...given);
  };
  const { inbox, frames } = running(losing);
  inbox.take(news(1, 2), "store");
  await until("both are told", () => frames.length === 2);
  expect(asked).toEqual([1, 1, 1, 2, 2]);
  expect(frames).toEqual(['1 {"discard":"modelFailed","reason":"it is gone"}', told(2)]);
});

test("what nobody waits for any more is not told, and not asked for", async () => {
  const asked: unknown[] = [];
  let answer: () => void = () => undefined;
  const slow: Scorer["score"] = async (...given) => {
    asked.push(given[1].values[0]);
    if (given[1].values[0] === 1) await new Promise<void>((resolve) => (answer = resolve));
    return doubled(...given);
  };
  const { inbox, frames } = running(slow);
  inbox.take(news(1, 2), "store");
  await until("it is asked", () => asked.length === 1);
  inbox.take(news(3), "store");
  answer();
  await until("the newest is told", () => frames.length === 1);
  expect([frames, asked]).toEqual([[told(3)], [1, 3]]);
});

test("a stop waits for no run, and leaves the feed to whoever comes next", async () => {
  const { inbox, source, frames, states } = running(() => new Promise(() => undefined));
  inbox.take(news(1), "store");
  await until("it is at work", () => states.length === 1);
  await source.stop();
  expect([frames, inbox.first("m")]).toEqual([[], feed(1)]);
  inbox.keep((name) => name !== "m");
  expect(inbox.first("m")).toBeUndefined();
});

test("an error costs the feed it comes over, and the source goes on", async () => {
  const throwing: Scorer["score"] = async (...given) => {
    if (given[1].values[0] === 1) throw new Error("no answer within 1500000 ms");
    return doubled(...given);
  };
  const { inbox, frames } = running(throwing);
  inbox.take(news(1, 2), "store");
  await until("both are told", () => frames.length === 2);
  expect(frames).toEqual(['1 {"discard":"modelFailed","reason":"no answer within 1500000 ms"}', told(2)]);
});

test("a store that was made anew is fed from its first feed on, whatever its ids", async () => {
  const { inbox, frames } = running(doubled);
  inbox.take(news(7, 8), "store");
  await until("both are told", () => frames.length === 2);
  inbox.take(news(3), "another");
  await until("that of the other is told", () => frames.length === 3);
  expect(frames[2]).toBe(told(3));
});

test("what nobody waits for any more when there is room again is not told", async () => {
  let asked = 0;
  const counted: Scorer["score"] = (...given) => {
    asked++;
    return doubled(...given);
  };
  const { inbox, frames, box } = running(counted);
  box.hasRoom = false;
  inbox.take(news(1), "store");
  await until("it is asked", () => asked === 1);
  await systemClock.sleep(50);
  inbox.take(news(2), "store");
  box.hasRoom = true;
  await until("the other is told", () => frames.length > 0);
  expect(frames).toEqual([told(2)]);
});

test("pauses leave nothing at the source's signal", async () => {
  let looks = 0;
  const signals: AbortSignal[] = [];
  const busy: Scorer["score"] = async (_, __, signal) => {
    signals.push(signal);
    return refuse("busy", "later");
  };
  const { inbox, source } = running(busy, () => {
    looks++;
    return ready;
  });
  inbox.take(news(1), "store");
  await until("it paused often", () => looks > 10);
  const [signal] = signals;
  if (!signal) throw new Error("it was not asked");
  // Where Node keeps the signals that AbortSignal.any made of it.
  const dependants = Object.getOwnPropertySymbols(signal)
    .filter(({ description }) => description === "kDependantSignals")
    .map((symbol) => (Reflect.get(signal, symbol) as Set<unknown> | undefined)?.size ?? 0);
  expect(dependants.reduce((sum, size) => sum + size, 0)).toBe(0);
  expect(getEventListeners(signal, "abort").length).toBeLessThan(4);
  await source.stop();
  expect(getEventListeners(signal, "abort")).toEqual([]);
});
