import { expect, test } from "vitest";
import type { UpstreamSample } from "../../src/hub/upstream-watch.ts";
import { HoldBack } from "../../src/publish/hold-back.ts";

const intervalMs = 10_000;
const settings = { state: "on", url: "http://edgeHub:9600/metrics", intervalMs } as const;
/** A message held back may pass this long after the last; where it would only wait in edge hub's queue, this long. */
const trickleMs = 6 * intervalMs;
const rareMs = 360 * intervalMs;

/** Edge hub connected once and was never offline; what is given changes that. */
function sample(changes: Partial<UpstreamSample> = {}): UpstreamSample {
  return { instance: "a", queueLength: 0, offlineCount: 0, offlineEnds: 1, expired: 0, sent: 0, ...changes };
}

/** Judges samples one after the other; gives the states. */
function judge(holdBack: HoldBack, ...samples: (Partial<UpstreamSample> | "missed")[]): string[] {
  return samples.map((one) => {
    if (one === "missed") holdBack.missed();
    else holdBack.observe(sample(one));
    return holdBack.state;
  });
}
const fresh = (maxQueueLength?: number) =>
  new HoldBack(maxQueueLength === undefined ? settings : { ...settings, maxQueueLength });

test("without metrics it is unknown, and holds nothing", () => {
  const holdBack = fresh();
  expect([holdBack.state, holdBack.mayHandOver(0)]).toEqual(["unknown", true]);
  expect(judge(holdBack, "missed", "missed", "missed", "missed")).toEqual(Array(4).fill("unknown"));
  expect([holdBack.holding, holdBack.mayHandOver(0)]).toEqual([false, true]);
});

test("metrics that say nothing of the connection leave it unknown until a message went upstream", () => {
  const quiet = { offlineEnds: undefined };
  expect(judge(fresh(), quiet, { ...quiet, queueLength: 3 }, { ...quiet, sent: 3 })).toEqual([
    "unknown",
    "unknown",
    "online",
  ]);
});

test("edge hub's word that it is offline holds at once, and its word that this ended lets go at once", () => {
  const holdBack = fresh();
  const offline = { offlineCount: 1, queueLength: 4, sent: 9 };
  expect(judge(holdBack, { sent: 5 }, offline, offline)).toEqual(["online", "offline", "offline"]);
  holdBack.handedOver(0);
  expect(holdBack.mayHandOver(trickleMs)).toBe(false);
  expect(judge(holdBack, { ...offline, offlineEnds: 2 })).toEqual(["online"]);
  expect(holdBack.mayHandOver(0)).toBe(true);
});

test("a gateway that starts while edge hub is offline knows it from the first sample", () => {
  expect(judge(fresh(), { offlineCount: 7, offlineEnds: 7 })).toEqual(["offline"]);
});

test("with an empty queue a message may pass every so often; once one waits there, only seldom", () => {
  const holdBack = fresh();
  const offline = { offlineCount: 1 };
  judge(holdBack, {}, offline);
  holdBack.handedOver(1_000);
  expect(holdBack.mayHandOver(1_000 + trickleMs - 1)).toBe(false);
  expect(holdBack.mayHandOver(1_000 + trickleMs)).toBe(true);
  judge(holdBack, { ...offline, queueLength: 1 });
  expect(holdBack.mayHandOver(1_000 + rareMs - 1)).toBe(false);
  expect(holdBack.mayHandOver(1_000 + rareMs)).toBe(true);
});

test("messages that go upstream refute that edge hub is offline, until it says so anew", () => {
  const holdBack = fresh();
  const offline = { offlineCount: 1, offlineEnds: 1 };
  expect(
    judge(holdBack, { ...offline, queueLength: 1 }, { ...offline, sent: 1 }, { ...offline, sent: 1 }),
  ).toEqual(["offline", "online", "online"]);
  const again = { offlineCount: 2, offlineEnds: 2, sent: 1 };
  expect(judge(holdBack, again, again)).toEqual(["offline", "offline"]);
});

test("where edge hub does not tell ends, a count that rose is believed while nothing goes upstream", () => {
  const holdBack = fresh();
  const base = { offlineEnds: undefined, sent: 3 };
  const offline = { ...base, offlineCount: 1, queueLength: 2 };
  expect(judge(holdBack, base, offline, offline)).toEqual(["unknown", "offline", "offline"]);
  expect(judge(holdBack, { ...offline, queueLength: 1 }, { ...offline, queueLength: 0 })).toEqual([
    "online",
    "online",
  ]);
});

test("a queue that holds what was just sent is not congestion, however often", () => {
  const lengths = [0, 40, 3, 45, 0, 30, 45, 48, 50, 2, 200, 1, 300, 0];
  const states = judge(fresh(), ...lengths.map((queueLength) => ({ queueLength })));
  expect(new Set(states)).toEqual(new Set(["online"]));
});

test("a queue that grows over several samples is congestion, until half of it is gone", () => {
  const holdBack = fresh();
  let sent = 0;
  const samples = [0, 100, 250, 400, 350, 300, 201, 200, 190].map((queueLength) => ({
    queueLength,
    sent: sent++,
  }));
  expect(judge(holdBack, ...samples)).toEqual([
    "online",
    "online",
    "online",
    "congested",
    "congested",
    "congested",
    "congested",
    "online",
    "online",
  ]);
});

test("slow growth counts as well, because nothing ever falls", () => {
  const lengths = Array.from({ length: 60 }, (_, i) => ({ queueLength: i }));
  const states = judge(fresh(), ...lengths);
  expect([states[50], states[51]]).toEqual(["online", "congested"]);
});

test("a congested queue lets a message pass every so often, or seldom when nothing says that edge hub is connected", () => {
  const holdBack = fresh();
  judge(holdBack, ...[0, 100, 250, 400].map((queueLength, i) => ({ queueLength, sent: i })));
  holdBack.handedOver(0);
  expect([holdBack.mayHandOver(trickleMs - 1), holdBack.mayHandOver(trickleMs)]).toEqual([false, true]);
  // Its length stands still: edge hub would renew it when something enters.
  judge(holdBack, { queueLength: 400, sent: 3 });
  expect(holdBack.mayHandOver(trickleMs)).toBe(true);
  const unknowing = fresh();
  const lengths = [0, 100, 250, 400, 400].map((queueLength) => ({ queueLength, offlineEnds: undefined }));
  expect(judge(unknowing, ...lengths).at(-1)).toBe("congested");
  unknowing.handedOver(0);
  expect([unknowing.mayHandOver(rareMs - 1), unknowing.mayHandOver(rareMs)]).toEqual([false, true]);
});

test("what gathered in edge hub's queue in an outage is not congestion after it", () => {
  const gathered = [0, 100, 200, 300, 400].map((queueLength) => ({ queueLength, offlineCount: 1 }));
  const back = { queueLength: 400, offlineCount: 1, offlineEnds: 2 };
  expect(judge(fresh(), ...gathered, back, back, back, back).slice(-4)).toEqual(Array(4).fill("online"));
});

test("a bound of the queue's length holds whether it grows or not", () => {
  const lengths = [900, 1_001, 800, 501, 500].map((queueLength) => ({ queueLength }));
  expect(judge(fresh(1_000), ...lengths)).toEqual([
    "online",
    "congested",
    "congested",
    "congested",
    "online",
  ]);
});

test("messages that expire while none is sent are congestion; those of a queue with a way upstream are not", () => {
  const waiting = { queueLength: 5, sent: 2 };
  expect(judge(fresh(), waiting, { ...waiting, expired: 1 })).toEqual(["online", "congested"]);
  expect(judge(fresh(), waiting, { ...waiting, sent: 3, expired: 1 })).toEqual(["online", "online"]);
  expect(judge(fresh(), { sent: 2 }, { sent: 2, expired: 1 })).toEqual(["online", "online"]);
});

test("a queue that falls because messages expire does not look like a way upstream", () => {
  const offline = { offlineCount: 1, queueLength: 5 };
  expect(judge(fresh(), offline, { ...offline, queueLength: 3, expired: 2 })).toEqual(["offline", "offline"]);
});

test("samples missed for a moment change nothing; more of them make it unknown and let go", () => {
  const holdBack = fresh();
  const offline = { offlineCount: 1, queueLength: 1 };
  expect(judge(holdBack, offline, "missed", "missed", offline, "missed", "missed", "missed")).toEqual([
    "offline",
    "offline",
    "offline",
    "offline",
    "offline",
    "offline",
    "unknown",
  ]);
  expect(holdBack.mayHandOver(0)).toBe(true);
});

test("what was refuted is believed again of a restarted edge hub", () => {
  const offline = { offlineCount: 1, offlineEnds: 1 };
  const reborn = { ...offline, instance: "b" };
  expect(judge(fresh(), offline, { ...offline, sent: 1 }, reborn)).toEqual(["offline", "online", "offline"]);
});

test("a restarted edge hub is judged anew: its counts began at 0", () => {
  const before = { offlineCount: 3, offlineEnds: 3, queueLength: 500, sent: 1_000 };
  const reborn = { instance: "b", offlineCount: 0, offlineEnds: undefined, sent: 0 };
  expect(judge(fresh(), before, reborn, { ...reborn, offlineEnds: 1 })).toEqual([
    "offline",
    "unknown",
    "online",
  ]);
});
