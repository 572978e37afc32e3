/** From frames and ticks to alarms, through the whole pipeline. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { type AlarmEntryBody, messageBody } from "../../src/outbox/entry-schema.ts";
import { jsonSource } from "../config/pipelines.ts";
import { tick } from "../journal/batches.ts";
import { clock, configuration, ownTime, reading, running, t0, told } from "../support/running-pipeline.ts";
import { SteppingBox } from "../support/stepping-box.ts";

const hour = 3_600_000;
const limits = { validate: { v: { channels: { t: { min: 0, max: 50 } } } } };

/** A pipeline without windows; what it is fed with gives the alarms of that. */
function watching(sections: JsonObject = {}) {
  const all = running();
  const feed = (...entries: JournalEntry[]): AlarmEntryBody[] => {
    const bodies = told(all.feed(...entries));
    // An empty message is none.
    return (bodies.length > 0 ? messageBody.parse(bodies) : []).filter(
      (body): body is AlarmEntryBody => body.kind === "alarm",
    );
  };
  const set = { ...limits, windows: {}, ...sections };
  const configure = (at: number, more: JsonObject = {}) => feed(configuration(at, { ...set, ...more }));
  feed(clock(-5_000, "synced"));
  configure(-5_000);
  return {
    ...all,
    feed,
    configure,
    read: (at: number, t: number, source = "s") => feed(reading(at, { t }, source)),
    tick: (at: number) => feed(tick(t0 + at)),
  };
}
const short = (alarms: readonly AlarmEntryBody[]) =>
  alarms.map(({ channel, from, to, time, suppressed }) => [
    channel,
    from,
    to,
    Date.parse(time) - t0,
    suppressed,
  ]);
const silent = { sources: { s: jsonSource("s", { silentMs: 1_000 }) } };

describe("a channel", () => {
  test("that was good is no alarm until it is bad, and again when it is good, told with all that is known", () => {
    const { read, feed } = watching({ channels: { t: { unit: "°C" } } });
    expect([...read(0, 20), ...read(100, 50)]).toEqual([]);
    const entries = feed(reading(200, { t: 50.5, h: 3 }));
    expect(entries).toMatchObject([
      {
        gateway: "box",
        source: "s",
        device: "s-1",
        channel: "t",
        time: "2025-01-01T00:00:00.200Z",
        timeQuality: "synced",
        from: "good",
        to: "bad",
        reason: "aboveMax",
        value: 50.5,
        unit: "°C",
      },
    ]);
    expect([...read(300, 60), ...read(20_000, -1)]).toEqual([]);
    const [cleared] = read(20_100, 0);
    expect(cleared).toMatchObject({ from: "bad", to: "good", value: 0 });
    expect(cleared).not.toHaveProperty("reason");
    expect(cleared?.id).not.toBe(entries[0]?.id);
  });

  test("that is bad from its first value on is an alarm, and nobody claims that it was good", () => {
    const { read, account } = watching();
    expect(short(read(0, 99))).toEqual([["t", undefined, "bad", 0, undefined]]);
    expect(short(read(11_000, 1))).toEqual([["t", "bad", "good", 11_000, undefined]]);
    expect(account()).toMatchObject({ bad: 1, ingested: 2, discards: { unrouted: 2 }, notes: { alarm: 2 } });
  });

  test("that jitters around its limit is told once per spacing, at last as it is", () => {
    const { read, tick, pipeline } = watching();
    const alarms = Array.from({ length: 300 }, (_, i) => read(i * 100, i % 2 === 0 ? 49 : 51)).flat();
    expect(short(alarms)).toEqual([
      ["t", "good", "bad", 100, undefined],
      ["t", "bad", "good", 10_200, 100],
      ["t", "good", "bad", 20_300, 100],
    ]);
    read(30_000, 49);
    // The last alarm is 9.7 s ago; what it is now is told when 10 are over.
    expect(pipeline.wakeAtMs()).toBe(t0 + 30_300);
    expect(tick(30_299)).toEqual([]);
    expect(short(tick(30_300))).toEqual([["t", "bad", "good", 30_000, 96]]);
    expect(pipeline.wakeAtMs()).toBeUndefined();
  });

  test("that is again as it was told when the spacing is over is no alarm", () => {
    const { read, tick, pipeline } = watching();
    read(0, 99);
    read(1_000, 1);
    read(2_000, 99);
    expect(pipeline.wakeAtMs()).toBeUndefined();
    expect(tick(hour)).toEqual([]);
    expect(short(read(hour, 1))).toEqual([["t", "bad", "good", hour, 2]]);
  });

  test("is judged by what arrives, but nothing older than what was judged changes it", () => {
    const { feed } = watching({ sources: { s: jsonSource("s", ownTime) } });
    const read = (at: number, ts: number, t: number) => short(feed(reading(at, { t, ts: t0 + ts })));
    expect(read(0, 0, 1)).toEqual([]);
    expect(read(20_000, 20_000, 99)).toEqual([["t", "good", "bad", 20_000, undefined]]);
    expect(read(31_000, 19_999, 1)).toEqual([]);
    expect(read(31_001, 20_000, 1)).toEqual([["t", "bad", "good", 20_000, undefined]]);
  });

  test("of a device whose clock was put back is judged again after a minute of older times only", () => {
    const { feed } = watching({ sources: { s: jsonSource("s", ownTime) } });
    const read = (at: number, ts: number, t: number) => short(feed(reading(at, { t, ts: t0 + ts })));
    const back = -hour;
    read(0, 0, 1);
    expect([...read(1_000, back, 99), ...read(60_999, back + 1, 99)]).toEqual([]);
    // One that is not older says that those before were late, not put back.
    expect([...read(61_000, 61_000, 1), ...read(61_001, back + 2, 99)]).toEqual([]);
    expect(read(121_000, back + 3, 99)).toEqual([]);
    expect(read(121_001, back + 4, 99)).toEqual([["t", "good", "bad", back + 4, undefined]]);
    expect(read(132_000, back + 10_000, 1)).toEqual([["t", "bad", "good", back + 10_000, undefined]]);
  });

  test("whose value a slope takes beyond the numbers has no value", () => {
    const calibrate = { c: { device: "s-1", channels: { t: { slope: 1e300 } } } };
    const [alarm] = watching({ calibrate }).read(0, 1e300);
    expect(alarm).toMatchObject({ to: "bad", reason: "notFinite" });
    expect(alarm).not.toHaveProperty("value");
  });
});

describe("a device", () => {
  test("that sends nothing for silentMs is silent, found by a tick, and heard again by a frame", () => {
    const { read, tick, pipeline } = watching({ ...silent, alarms: { minSpacingMs: 500 } });
    read(0, 1);
    read(700, 1);
    expect(pipeline.wakeAtMs()).toBe(t0 + 1_700);
    expect(tick(1_699)).toEqual([]);
    expect(tick(1_800)).toMatchObject([
      {
        device: "s-1",
        time: "2025-01-01T00:00:01.800Z",
        lastHeard: "2025-01-01T00:00:00.700Z",
        from: "good",
        to: "silent",
      },
    ]);
    expect([pipeline.wakeAtMs(), tick(hour)]).toEqual([undefined, []]);
    const [again] = read(hour, 1);
    expect(again).toMatchObject({ from: "silent", to: "good", lastHeard: "2025-01-01T00:00:00.700Z" });
    expect(again).not.toHaveProperty("channel");
  });

  test("is watched each for itself, and only where its source says it", () => {
    const sources = {
      s: jsonSource("s", { device: { field: "id" }, intervalMs: 2_000 }),
      other: jsonSource("other", { silentMs: 0, intervalMs: 10 }),
    };
    const { feed, tick, read } = watching({ sources });
    read(0, 1, "other");
    for (let at = 0; at < 40_000; at += 2_000) {
      feed(reading(at, { id: "a", t: 1 }));
      if (at === 6_000) feed(reading(at, { id: "b", t: 1 }));
    }
    expect(tick(41_000).map(({ device, to }) => [device, to])).toEqual([["b", "silent"]]);
  });

  test("that falls silent again and again is told once per spacing", () => {
    const { read, tick } = watching(silent);
    const alarms = Array.from({ length: 30 }, (_, i) => [
      ...read(i * 2_000, 1),
      ...tick(i * 2_000 + 1_500),
    ]).flat();
    for (const [i, alarm] of alarms.entries()) {
      expect(alarm.from).toBe(i === 0 ? "good" : alarms[i - 1]?.to);
    }
    expect(alarms.length).toBeGreaterThan(4);
    expect(alarms.length).toBeLessThan(8);
  });

  test("whose frames are repeats is not heard by them", () => {
    const dedupe = { by: "sequence", field: "n" };
    const { feed, tick } = watching({ sources: { s: jsonSource("s", { silentMs: 1_000, dedupe }) } });
    feed(reading(0, { t: 1, n: 1 }));
    feed(reading(900, { t: 99, n: 1 }));
    expect(tick(1_000)).toMatchObject([{ to: "silent" }]);
  });
});

describe("it is no silence when", () => {
  /** A box that has heard its device; with what is told from then on. */
  function box() {
    const all = running();
    const box = new SteppingBox();
    const sections = { ...silent, ...limits, windows: {}, clock: { maxHoldMs: 5_000 } };
    all.feed(box.clock("synced"), box.configuration(sections));
    all.feed(box.frame({ t: 1 }));
    const at = (ms: number, entry: () => JournalEntry) => {
      box.pass(ms);
      return told(all.feed(entry())).map(({ to }) => to);
    };
    return { ...all, box, at };
  }

  test("the wall clock steps", () => {
    const { box: clock, at } = box();
    clock.wrongMs = hour;
    expect([...at(400, () => clock.tick()), ...at(400, () => clock.tick())]).toEqual([]);
    expect(at(200, () => clock.tick())).toEqual(["silent"]);
  });

  test("nobody listened: it counts from the start of the process", () => {
    const { box: clock, at } = box();
    expect(at(hour, () => clock.clock("synced"))).toEqual([]);
    expect(at(999, () => clock.tick())).toEqual([]);
    expect(at(1, () => clock.tick())).toEqual(["silent"]);
  });

  test("the box boots, to whatever clock", () => {
    for (const wrongMs of [0, -hour, hour]) {
      const { box: clock, at } = box();
      clock.boot(60_000, wrongMs);
      expect(at(0, () => clock.clock("synced"))).toEqual([]);
      expect(at(999, () => clock.tick())).toEqual([]);
      expect(at(1, () => clock.tick())).toEqual(["silent"]);
    }
  });

  test("frames wait for the clock; when the wait is over, who did not send since the boot is silent", () => {
    const { box: clock, at, pipeline } = box();
    clock.boot(60_000, 0);
    expect(at(0, () => clock.clock("unsynced"))).toEqual([]);
    expect(at(4_000, () => clock.frame({ t: 1 }))).toEqual([]);
    expect(at(900, () => clock.clock("synced"))).toEqual([]);
    expect(at(900, () => clock.tick())).toEqual([]);
    const other = box();
    other.box.boot(60_000, 0);
    other.at(0, () => other.box.clock("unsynced"));
    // Nothing else waits for the end of the hold.
    expect(other.pipeline.wakeAtMs()).toBeGreaterThan(0);
    expect(other.at(5_000, () => other.box.tick())).toEqual(["silent"]);
    expect(pipeline.time.isHolding).toBe(false);
  });

  test("steady time begins anew: what comes then is not older than what was judged", () => {
    const { box: clock, at } = box();
    clock.boot(1_000, -hour);
    at(0, () => clock.clock("synced"));
    expect(at(100, () => clock.frame({ t: 99 }))).toEqual(["bad"]);
  });
});

test("a boot forgets when the last alarm was: the next one does not wait for a clock that began anew", () => {
  const { feed } = running();
  const box = new SteppingBox();
  feed(box.clock("synced"), box.configuration({ ...limits, sources: { s: jsonSource("s") } }));
  box.pass(hour);
  expect(feed(box.frame({ t: 99 }))).toHaveLength(1);
  box.boot(1_000, 0);
  expect(feed(box.clock("synced"), box.frame({ t: 1 }))).toHaveLength(1);
});

test("what waits to be told keeps its order over a restart", () => {
  const before = watching({ sources: { s: jsonSource("s", { device: { field: "id" } }) } });
  before.feed(reading(0, { id: "a", t: 99 }), reading(0, { id: "b", t: 99 }));
  before.feed(reading(1, { id: "b", t: 1 }), reading(1, { id: "a", t: 1 }));
  const after = running();
  after.pipeline.restore(JSON.parse(JSON.stringify(before.pipeline.snapshot())));
  expect(told(after.feed(tick(t0 + 10_000))).map(({ device }) => device)).toEqual(["b", "a"]);
});

describe("a configuration", () => {
  test("that changes calibration or ranges forgets nothing, and the next reading is judged by it", () => {
    const { read, configure } = watching();
    read(0, 99);
    expect(configure(11_000, { validate: { v: { channels: { t: { max: 100 } } } } })).toEqual([]);
    expect(short(read(11_100, 99))).toEqual([["t", "bad", "good", 11_100, undefined]]);
  });

  test("that takes a source away, or switches alarms off, forgets without an alarm", () => {
    const { read, configure, tick, pipeline } = watching(silent);
    for (const without of [{ sources: { other: jsonSource("other") } }, { alarms: { state: "off" } }]) {
      expect(read(0, 99)).toHaveLength(1);
      read(100, 1);
      configure(200, without);
      expect([pipeline.wakeAtMs(), tick(hour)]).toEqual([undefined, []]);
      expect(pipeline.snapshot().alarms).toMatchObject({ conditions: [], heard: [] });
      configure(300);
    }
  });

  test("that no longer asks for silence keeps the channels", () => {
    const { read, configure, tick, pipeline } = watching(silent);
    read(0, 99);
    configure(100, { sources: { s: jsonSource("s") } });
    expect([pipeline.wakeAtMs(), tick(hour), read(hour, 99)]).toEqual([undefined, [], []]);
  });

  test("that gives a source times of its own, or takes them, makes nothing too old to be judged", () => {
    const own = { sources: { s: jsonSource("s", ownTime) } };
    const { feed, configure } = watching();
    feed(reading(hour, { t: 1 }));
    configure(hour, own);
    expect(feed(reading(hour + 1, { t: 99, ts: t0 }))).toHaveLength(1);
  });
});

test("a source that invents names has a hundred thousand conditions; what is too much is noted", () => {
  const { feed, pipeline, account } = watching({
    sources: { s: jsonSource("s", { device: { field: "id" } }) },
  });
  const device = (id: number) => {
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`c${i}`, 1]));
    return reading(0, { id: `d${id}`, ...many });
  };
  for (let id = 0; id < 101; id++) feed(device(id));
  expect(account()?.notes.tooManyConditions).toBe(1_000);
  const { alarms } = pipeline.snapshot();
  expect(alarms?.conditions).toHaveLength(100_000);
  // What is known is judged all the same, also after a restart.
  const after = running();
  after.pipeline.restore(JSON.parse(JSON.stringify(pipeline.snapshot())));
  after.feed(configuration(1, { ...limits, sources: { s: jsonSource("s", { device: { field: "id" } }) } }));
  expect(after.feed(device(0), device(100))).toHaveLength(0);
  expect(after.account()?.notes.tooManyConditions).toBe(1_000);
});

test("a snapshot of a version that knew no alarms is restored", () => {
  const { pipeline } = watching();
  const { alarms: _, ...older } = pipeline.snapshot();
  const after = running();
  after.pipeline.restore(JSON.parse(JSON.stringify(older)));
  expect(after.feed(reading(0, { t: 99 })).map(({ kind }) => kind)).toContain("alarm");
});

test("any readings and ticks: alarms of a condition follow one another, apart, and the last one tells how it is", () => {
  const events = fc.array(
    fc.record({
      by: fc.integer({ min: 0, max: 3_000 }),
      t: fc.constantFrom(1, 99, undefined),
      id: fc.constantFrom("a", "b"),
    }),
    { maxLength: 80 },
  );
  fc.assert(
    fc.property(events, (some) => {
      const sources = { s: jsonSource("s", { device: { field: "id" }, silentMs: 4_000 }) };
      const { feed, tick } = watching({ sources, alarms: { minSpacingMs: 2_000 } });
      const alarms: (AlarmEntryBody & { readonly toldMs: number })[] = [];
      const now = new Map<string, string>();
      const changes = new Map<string, number>();
      const becomes = (key: string, state: string) => {
        if (state !== (now.get(key) ?? "good")) changes.set(key, (changes.get(key) ?? 0) + 1);
        now.set(key, state);
      };
      let at = 0;
      for (const { by, t, id } of some) {
        at += by;
        const made = t === undefined ? tick(at) : feed(reading(at, { id, t }));
        alarms.push(...made.map((alarm) => ({ ...alarm, toldMs: at })));
        if (t !== undefined) becomes(`${id} t`, t === 1 ? "good" : "bad");
      }
      for (const end of [at + 5_000, at + 10_000])
        alarms.push(...tick(end).map((alarm) => ({ ...alarm, toldMs: end })));
      for (const [key, state] of now) {
        const [id, channel] = key.split(" ");
        const own = alarms.filter((alarm) => alarm.device === id && alarm.channel === channel);
        for (const [i, alarm] of own.entries()) {
          const before = own[i - 1];
          if (!before) continue;
          expect(alarm.from).toBe(before.to);
          expect(alarm.to).not.toBe(before.to);
          expect(alarm.toldMs - before.toldMs).toBeGreaterThanOrEqual(2_000);
        }
        expect(own.at(-1)?.to ?? "good").toBe(state);
        const counted = own.reduce((sum, { suppressed = 0 }) => sum + suppressed + 1, 0);
        expect(counted).toBeLessThanOrEqual(changes.get(key) ?? 0);
        const device = alarms.filter((alarm) => alarm.device === id && alarm.channel === undefined);
        expect(device.at(-1)?.to).toBe("silent");
      }
      expect(new Set(alarms.map(({ id }) => id)).size).toBe(alarms.length);
    }),
    { numRuns: 200 },
  );
});
