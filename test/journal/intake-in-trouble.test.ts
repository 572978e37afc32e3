import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { never, running } from "./running-intake.ts";

describe("bounds", () => {
  test("frames beyond the queue are refused and counted exactly, per source, with their time", async () => {
    const { clock, store, frame } = running({ maxQueueBytes: 1_000 });
    const lost: Record<string, number> = { a: 0, b: 0 };
    const fromMs = clock.wall();
    for (let i = 0; i < 100; i++) {
      const source = i % 3 === 0 ? "a" : "b";
      if (!frame("x".repeat(50), source)) lost[source] = (lost[source] ?? 0) + 1;
      await clock.advance(1);
    }
    await clock.advance(10_000);
    expect(lost.a).toBeGreaterThan(20);
    const gaps = store.entries.flatMap((e) => (e.type === "gap" ? [e] : []));
    expect(Object.fromEntries(gaps.map((g) => [g.source, g.count]))).toEqual(lost);
    for (const gap of gaps) {
      expect(gap.reason).toBe("overrun");
      expect(gap.fromMs).toBeGreaterThanOrEqual(fromMs);
      expect(gap.toMs).toBeLessThan(fromMs + 100);
      expect(gap.toMs).toBeGreaterThan(gap.fromMs);
    }
    expect(store.frames().length + (lost.a ?? 0) + (lost.b ?? 0)).toBe(100);
  });

  test("bytes under way count too, and room comes back with their commit", async () => {
    const { clock, store, frame, intake } = running({ maxQueueBytes: 1_000 });
    store.takesMs = 500;
    while (frame("x".repeat(50)));
    intake.flush();
    await clock.advance(100);
    expect(store.underWay).toBe(1);
    expect(frame("x".repeat(50))).toBe(false);
    expect(intake.status.queuedBytes).toBeGreaterThan(800);
    await clock.advance(600);
    expect(intake.status.queuedBytes).toBe(0);
    expect(frame("x".repeat(50))).toBe(true);
  });

  test("however much comes and however long the store fails, the bytes stay below the limit", async () => {
    const { clock, store, frame, intake } = running({ maxQueueBytes: 3_000 });
    store.alwaysFails = true;
    let lost = 0;
    for (let i = 0; i < 500; i++) {
      if (!frame("x".repeat(i % 90))) lost++;
      expect(intake.status.queuedBytes).toBeLessThanOrEqual(3_000);
      await clock.advance(100);
    }
    store.alwaysFails = false;
    store.seen.length = 0;
    await clock.advance(20_000);
    const gaps = store.entries.flatMap((e) => (e.type === "gap" && e.count !== "unknown" ? [e.count] : []));
    expect(store.frames().length + lost).toBe(500);
    expect(gaps.reduce((a, b) => a + b, 0)).toBe(lost);
  });

  test("a loss alone stands in the journal within the promise, too", async () => {
    const { clock, store, intake } = running({ maxQueueBytes: 1_000 });
    expect(intake.frame("s", new Uint8Array(2_000))).toBe(false);
    await clock.advance(5_000);
    expect(store.entries).toMatchObject([
      { type: "gap", source: "s", count: 1, reason: "overrun" },
      { type: "tick" },
    ]);
  });

  test("discards are added up by source and reason", async () => {
    const { clock, store, intake } = running();
    for (let i = 0; i < 1_000; i++) intake.discard("s", "overlong", 5_000);
    intake.discard("s", "truncated", 3);
    intake.discard("other", "overlong", 1);
    await clock.advance(5_000);
    expect(store.entries.filter((e) => e.type === "discard")).toEqual([
      { type: "discard", source: "s", reason: "overlong", count: 1_000, bytes: 5_000_000 },
      { type: "discard", source: "s", reason: "truncated", count: 1, bytes: 3 },
      { type: "discard", source: "other", reason: "overlong", count: 1, bytes: 1 },
    ]);
  });
});

test("who asks for room first is told what a frame would be told, and its waiting is no gap", async () => {
  const { clock, store, frame, intake } = running({ maxQueueBytes: 1_000 });
  const text = "x".repeat(200);
  while (intake.hasRoom(text.length)) expect(frame(text)).toBe(true);
  await clock.advance(5_000);
  expect(intake.hasRoom(text.length)).toBe(true);
  expect(store.entries.filter(({ type }) => type === "gap")).toEqual([]);
  while (frame(text)) expect(store.seen).toHaveLength(1);
  expect(intake.hasRoom(text.length)).toBe(false);
  await clock.advance(5_000);
  expect(store.entries.filter(({ type }) => type === "gap")).toMatchObject([{ source: "s", count: 1 }]);
});

describe("a store that fails", () => {
  test("gets the same batch again, before anything newer, until it takes it", async () => {
    const { clock, store, frame, intake } = running();
    store.fates = ["repeatable", "repeatable", "repeatable"];
    frame("a");
    await clock.advance(5_000);
    expect(intake.status).toMatchObject({ state: "failing", commits: 0 });
    expect(intake.status.reason).toBeDefined();
    frame("b");
    await clock.advance(20_000);
    const batches = store.seen.map((c) => c.bytes);
    expect(batches.slice(0, 4)).toEqual(Array(4).fill(batches[0]));
    expect(store.seen.slice(3).flatMap((c) => c.entries.filter((e) => e.type === "frame"))).toMatchObject([
      { bytes: Buffer.from("a") },
      { bytes: Buffer.from("b") },
    ]);
    expect(intake.status).toMatchObject({ state: "ok", reason: undefined });
  });

  test("keeps callers waiting, and their data is committed when they are answered", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.fates = ["repeatable", "repeatable"];
    frame("a");
    const flushed = watch(intake.flush());
    await clock.advance(40);
    expect([store.seen.length, flushed.is]).toEqual([1, "waiting"]);
    await clock.advance(30_000);
    expect([store.doneMs.length > 0, flushed.is]).toEqual([true, "resolved"]);
  });

  test("loses no acknowledgement, and repeats none that was committed", async () => {
    const { clock, store, intake } = running();
    store.fates = ["repeatable"];
    intake.acknowledge(1);
    intake.reject(2, "too large");
    await clock.advance(1_000);
    intake.acknowledge(3);
    await clock.advance(20_000);
    expect(store.seen[0]).toMatchObject({
      acknowledged: [1],
      rejected: [{ message: 2, reason: "too large" }],
    });
    expect(store.seen.slice(1).flatMap((c) => c.acknowledged)).toEqual([1, 3]);
    expect(store.seen.slice(1).flatMap((c) => c.rejected)).toEqual([{ message: 2, reason: "too large" }]);
  });

  test("is tried again for ever, with pauses, and logged when the state changes", async () => {
    const { clock, store, frame, intake, log } = running();
    store.alwaysFails = true;
    frame("a");
    await clock.advance(3_600_000);
    const tried = store.seen.length;
    expect(tried).toBeGreaterThan(500);
    expect(tried).toBeLessThan(3_600_000 / 50);
    expect(log.lines.filter((l) => l.level !== "debug")).toHaveLength(1);
    store.alwaysFails = false;
    await clock.advance(10_000);
    expect(intake.status.state).toBe("ok");
    expect(log.lines.filter((l) => l.level !== "debug")).toHaveLength(2);
  });

  test("by a bug ends it: callers are rejected and the owner is told", async () => {
    const { clock, store, frame, intake, watch, fatal } = running();
    store.fates = ["bug"];
    frame("a");
    const flushed = watch(intake.flush());
    await clock.advance(10_000);
    expect([flushed.is, fatal.length, store.seen.length]).toEqual(["rejected", 1, 1]);
  });
});

describe("stop", () => {
  test("commits what is left, as the last commit", async () => {
    const { clock, store, frame, intake } = running();
    frame("a");
    intake.acknowledge(7);
    await Promise.all([intake.stop(never()), clock.advance(1_000)]);
    expect(store.frames()).toEqual(["a"]);
    expect(store.seen.at(-1)).toMatchObject({ last: true, acknowledged: [7] });
    expect(store.seen.filter((c) => c.last)).toHaveLength(1);
  });

  test("lets a commit that is under way end first", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.takesMs = 300;
    frame("a");
    intake.flush();
    await clock.advance(50);
    frame("b");
    const stopped = watch(intake.stop(never()));
    await clock.advance(2_000);
    expect([stopped.is, store.frames()]).toEqual(["resolved", ["a", "b"]]);
    expect(store.seen.map((c) => c.last ?? false)).toEqual([false, true]);
  });

  test("while a batch waits to be repeated commits that batch and what came after it", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.fates = ["repeatable"];
    frame("a");
    intake.flush();
    await clock.advance(30);
    expect(store.seen).toHaveLength(1);
    frame("b");
    intake.acknowledge(5);
    const stopped = watch(intake.stop(never()));
    await clock.advance(10_000);
    expect(stopped.is).toBe("resolved");
    store.seen.splice(0, 1);
    expect(store.frames()).toEqual(["a", "b"]);
    expect(store.seen.flatMap((c) => c.acknowledged)).toEqual([5]);
    expect(store.seen.at(-1)?.last).toBe(true);
  });

  test("ends with the deadline when the store never takes anything", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.alwaysFails = true;
    frame("a");
    const deadline = new AbortController();
    const stopped = watch(intake.stop(deadline.signal));
    await clock.advance(3_000);
    expect(stopped.is).toBe("waiting");
    expect(store.seen.length).toBeLessThan(100);
    deadline.abort();
    await clock.advance(200);
    expect(stopped.is).toBe("resolved");
  });

  test("without start commits what is left, too", async () => {
    const { clock, store, frame, intake } = running({}, false);
    frame("a");
    await Promise.all([intake.stop(never()), clock.advance(1_000)]);
    expect(store.frames()).toEqual(["a"]);
  });
});

describe("who could not be heard is not silent: listening begins anew, before the tick", () => {
  const types = ({ store }: ReturnType<typeof running>) => store.seen.at(-1)?.entries.map(({ type }) => type);

  test("where frames, or callers who are told, found no room", async () => {
    const refusals: ((r: ReturnType<typeof running>) => void)[] = [
      ({ intake }) => expect(intake.frame("s", new Uint8Array(2_000))).toBe(false),
      ({ intake }) => expect(intake.hasRoom(2_000)).toBe(false),
      ({ intake, frame }) => {
        frame("x".repeat(800));
        expect(intake.takeAll("s", [new Uint8Array(500)], 0)).toBe("full");
      },
    ];
    for (const refuse of refusals) {
      const r = running({ maxQueueBytes: 1_000 });
      r.intake.clock("boot", "synced");
      await r.clock.advance(5_000);
      refuse(r);
      r.frame("x");
      await r.clock.advance(5_000);
      expect(types(r)?.slice(-2)).toEqual(["clock", "tick"]);
      expect(r.store.seen.at(-1)?.entries.at(-2)).toMatchObject({ bootId: "boot", quality: "synced" });
      // Once.
      r.frame("x");
      await r.clock.advance(5_000);
      expect(types(r)).toEqual(["frame", "tick"]);
    }
  });

  test("where the process stood still", async () => {
    const r = running();
    r.intake.clock("boot", "synced");
    await r.clock.advance(5_000);
    r.frame("x");
    await setImmediate();
    r.clock.standStill(60_000);
    await r.clock.advance(1);
    expect(types(r)).toEqual(["frame", "clock", "tick"]);
  });
});
