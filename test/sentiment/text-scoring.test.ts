/** The loop that has waiting texts scored, against a queue of the test's and a scorer that does what the test says. */
import { expect, onTestFinished, test } from "vitest";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import type { NotScored, Scored } from "../../src/sentiment/scorer.ts";
import { TextScoring } from "../../src/sentiment/text-scoring.ts";
import type { TakenText } from "../../src/sentiment/text-stage.ts";
import { recordingLog } from "../core/recording-log.ts";
import { until } from "../support/until.ts";

/** The system's, a thousand times as fast. */
const quickClock: Clock = {
  wall: systemClock.wall,
  monotonic: () => systemClock.monotonic() * 1_000,
  sleep: (ms, signal) => systemClock.sleep(ms / 1_000, signal),
};

type Behaviour = (texts: readonly string[]) => Scored | NotScored | Promise<Scored | NotScored>;

const scored = (texts: readonly string[]): Scored => ({
  outcomes: texts.map(() => ({
    label: "positive",
    score: 1,
    scores: { positive: 1 },
    warnings: [],
    parts: 1,
  })),
  api: "v3.1",
  modelVersion: undefined,
});

const failed: NotScored = { refusal: "notReady", message: "it answers 500", mayBeTheText: true };

/** What is told of a text takes it out of the queue, as its commit does. */
function scoringOf(
  behaviour: Behaviour,
  ready: (signal: AbortSignal) => Promise<void> = async () => undefined,
) {
  let queue: TakenText[] = [];
  let behave = behaviour;
  const asked: string[] = [];
  const told: string[] = [];
  const log = recordingLog();
  const scoring = new TextScoring({
    next: async (after) => queue.filter(({ number }) => number > after).slice(0, 10),
    target: {
      hasRoom: () => true,
      frame: (_, bytes, origin) => {
        told.push(`${JSON.parse(Buffer.from(bytes).toString()).device} ${origin}`);
        queue = queue.filter(({ number }) => number !== Number.parseInt(origin, 10));
        return true;
      },
    },
    scorer: {
      ready,
      score: async (documents) => {
        const texts = documents.map(({ text }) => text);
        asked.push(texts.join(" "));
        return await behave(texts);
      },
    },
    clock: quickClock,
    log,
  });
  onTestFinished(() => scoring.stop());
  const put = (from: number, ...texts: string[]) => {
    queue.push(
      ...texts.map((text, n) => ({
        number: from + n,
        source: "mood",
        device: text,
        timeMs: 1,
        language: undefined,
        text,
      })),
    );
    scoring.wake();
  };
  scoring.start();
  return {
    scoring,
    asked,
    told,
    log,
    put,
    behave: (next: Behaviour) => {
      behave = next;
    },
    waiting: () => queue.map(({ text }) => text),
    clear: () => {
      queue = [];
    },
  };
}

test("a scorer that throws at one text costs that text, and neither the others nor the process", async () => {
  const { put, told, log, waiting } = scoringOf((texts) => {
    if (texts.includes("poison")) throw new RangeError("a bug");
    return scored(texts);
  });
  put(1, "one", "poison", "two");
  await until("all have left", () => waiting().length === 0);
  expect(told.toSorted()).toEqual(["one 1", "poison 2 unscored", "two 3"]);
  expect(log.lines).toContainEqual(
    expect.objectContaining({ level: "error", object: expect.objectContaining({ reason: "a bug" }) }),
  );
});

test("a container that scores no text costs none, however long that lasts", async () => {
  const { put, told, behave, waiting, asked } = scoringOf(() => failed);
  const texts = Array.from({ length: 25 }, (_, n) => `text${n}`);
  put(1, ...texts.slice(0, 3));
  await until("each was asked for often", () => asked.length > 40);
  put(4, ...texts.slice(3));
  await until("the others were, too", () =>
    texts.every((text) => asked.filter((a) => a === text).length > 9),
  );
  expect(told).toEqual([]);
  behave(scored);
  await until("all are scored", () => waiting().length === 0);
  expect(told.toSorted()).toEqual(texts.map((text, n) => `${text} ${n + 1}`).toSorted());
});

test("a text that fails holds up nobody, and is given up when another was scored meanwhile", async () => {
  const { put, told, waiting, asked } = scoringOf((texts) =>
    texts.includes("poison") ? failed : scored(texts),
  );
  put(1, "poison");
  await until("it was asked for often", () => asked.length > 20);
  expect(told).toEqual([]);
  put(2, "behind");
  await until("all have left", () => waiting().length === 0);
  expect(told).toEqual(["behind 2", "poison 1 unscored"]);
  const after = asked.slice(asked.indexOf("behind") + 1);
  expect(after).toEqual(Array.from({ length: 9 }, () => "poison"));
});

test("a store made anew gives numbers again, and a score of before settles none of them", async () => {
  let answer: (scored: Scored) => void = () => undefined;
  const { scoring, put, asked, told, behave, clear } = scoringOf(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  put(1, "old");
  await until("it is asked for", () => asked.length === 1);
  clear();
  put(1, "new");
  scoring.restart();
  behave(scored);
  answer(scored(["old"]));
  await until("the new one is scored", () => told.length > 0);
  expect([asked, told]).toEqual([["old", "new"], ["new 1"]]);
});

test("a text that failed is not asked for again when the store was made anew", async () => {
  let isUp = true;
  const { scoring, put, asked, told, behave, clear } = scoringOf(
    () => {
      isUp = false;
      return failed;
    },
    async (signal) => {
      while (!isUp && !signal.aborted) await systemClock.sleep(5);
    },
  );
  put(1, "old");
  await until("it has failed", () => asked.length === 1);
  clear();
  put(1, "new");
  behave(scored);
  scoring.restart();
  isUp = true;
  await until("the new one is scored", () => told.length > 0);
  expect([asked, told]).toEqual([["old", "new"], ["new 1"]]);
});
