import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pipelineOf } from "../config/pipelines.ts";
import { defaults, emptyStatus, running } from "./running-intake.ts";

describe("when a commit is due", () => {
  test("what was received is committed just before a power cut would cost more than promised", async () => {
    const { clock, store, frame, intake } = running();
    frame("a");
    await clock.advance(4_000);
    expect(store.seen).toEqual([]);
    frame("b");
    await clock.advance(1_000);
    expect(store.frames()).toEqual(["a", "b"]);
    expect(store.seen).toHaveLength(1);
    expect(intake.status.overshootMs).toBe(0);
  });

  test("any traffic: every frame is committed once, in order, within the promise", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3_000), { minLength: 1, maxLength: 40 }),
        fc.constantFrom(20, 200, 5_000),
        fc.constantFrom(0, 4),
        async (pauses, maxLossMs, takesMs) => {
          const { clock, store, frame, intake } = running({ maxLossMs });
          store.takesMs = takesMs;
          const receivedMs: number[] = [];
          for (const [i, pause] of pauses.entries()) {
            await clock.advance(pause);
            receivedMs.push(clock.monotonic());
            expect(frame(`${i}`)).toBe(true);
          }
          await clock.advance(maxLossMs);
          expect(store.frames()).toEqual(pauses.map((_, i) => `${i}`));
          let at = 0;
          for (const [i, commit] of store.seen.entries()) {
            for (const entry of commit.entries) {
              if (entry.type !== "frame") continue;
              expect((store.doneMs[i] ?? Number.NaN) - (receivedMs[at++] ?? 0)).toBeLessThanOrEqual(
                maxLossMs,
              );
            }
          }
          expect(intake.status.overshootMs).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("when the hub comes back while a commit is under way, the next one composes what that one brings", async () => {
    const { clock, store, frame, intake } = running({ maxLossMs: 100 });
    frame("before");
    await clock.advance(1_000);
    store.takesMs = 10;
    frame("a");
    await clock.advance(95);
    expect(store.underWay).toBe(1);
    store.status = { ...emptyStatus, outbox: { ...emptyStatus.outbox, entries: 1 } };
    intake.compose();
    await clock.advance(200);
    expect(store.seen).toHaveLength(3);
  });

  test("when the hub comes back and nothing waits, no commit is made for it", async () => {
    const { clock, store, frame, intake } = running({ maxLossMs: 100 });
    frame("a");
    await clock.advance(1_000);
    intake.compose();
    await clock.advance(10_000);
    expect(store.seen).toHaveLength(1);
  });

  test("the least spacing between commits does not break the promise", async () => {
    const { clock, store, frame, intake } = running({ maxLossMs: 1_000, minCommitMs: 10_000 });
    for (let i = 0; i < 5; i++) {
      frame(`${i}`);
      await clock.advance(1_000);
      expect(store.frames()).toHaveLength(i + 1);
    }
    expect(intake.status.overshootMs).toBe(0);
  });

  test("a commit that takes too long is an overshoot, and the next ones start earlier", async () => {
    const { clock, store, frame, intake } = running();
    store.takesMs = 400;
    frame("a");
    await clock.advance(6_000);
    const first = intake.status.overshootMs;
    expect(first).toBeGreaterThan(0);
    for (let i = 0; i < 5; i++) {
      frame("b");
      await clock.advance(6_000);
    }
    expect(intake.status.overshootMs).toBe(first);
    expect(store.doneMs).toHaveLength(6);
  });

  test("a large batch is committed at once", async () => {
    const { clock, store, intake } = running({ maxQueueBytes: 8_000_000 });
    intake.frame("s", new Uint8Array(1_100_000));
    await clock.advance(50);
    expect(store.seen).toHaveLength(1);
  });

  test("acknowledgements wait a little for company and go without a frame", async () => {
    const { clock, store, intake } = running();
    intake.acknowledge(1);
    await clock.advance(500);
    intake.acknowledge(2);
    intake.reject(3, "too large");
    await clock.advance(600);
    expect(store.seen).toMatchObject([
      { acknowledged: [1, 2], rejected: [{ message: 3, reason: "too large" }], entries: [] },
    ]);
  });

  test("what waits in the outbox for its time brings a commit then", async () => {
    const { clock, store, intake } = running();
    store.status = { ...emptyStatus, composeDueMs: clock.wall() + 30_000 };
    await Promise.all([intake.flush(), clock.advance(100)]);
    store.status = emptyStatus;
    await clock.advance(29_800);
    expect(store.seen).toHaveLength(1);
    await clock.advance(200);
    expect(store.seen).toHaveLength(2);
  });

  test("a window that ends brings a commit with a tick, also when no frame comes any more", async () => {
    const { clock, store, intake } = running();
    const windowDueMs = clock.wall() + 60_000;
    store.status = { ...emptyStatus, openWindows: 1, windowDueMs };
    await Promise.all([intake.flush(), clock.advance(100)]);
    await clock.advance(59_800);
    expect(store.seen).toHaveLength(1);
    store.status = emptyStatus;
    await clock.advance(2_000);
    expect(store.seen).toHaveLength(2);
    const [tick] = store.seen[1]?.entries ?? [];
    expect(tick).toMatchObject({ type: "tick" });
    expect(tick?.type === "tick" && tick.wallMs).toBeGreaterThanOrEqual(windowDueMs);
  });

  test.each([
    ["ahead", 3_600_000],
    ["back", -3_600_000],
    ["back by 30 years", -946_080_000_000],
  ])("a wall clock that steps %s neither hastens nor delays what falls due", async (_, ms) => {
    const { clock, store, intake } = running();
    const dueMs = clock.wall() + 60_000;
    store.status = { ...emptyStatus, openWindows: 1, windowDueMs: dueMs, composeDueMs: dueMs };
    await Promise.all([intake.flush(), clock.advance(100)]);
    clock.stepWall(ms);
    intake.acknowledge(1);
    await clock.advance(2_000);
    const before = store.seen.length;
    await clock.advance(57_800);
    expect(store.seen).toHaveLength(before);
    store.status = emptyStatus;
    await clock.advance(200);
    expect(store.seen).toHaveLength(before + 1);
  });

  test("what is hastened is committed at once, whatever the spacing, and no more often for it afterwards", async () => {
    const { clock, store, frame, intake } = running();
    frame("a");
    intake.hasten();
    await clock.advance(1);
    expect(store.frames()).toEqual(["a"]);
    frame("b");
    intake.hasten();
    await clock.advance(1);
    expect(store.frames()).toEqual(["a", "b"]);
    await clock.advance(4_000);
    expect(store.seen).toHaveLength(2);
  });

  test("other settings hold at once", async () => {
    const { clock, store, frame, intake } = running();
    frame("a");
    await clock.advance(100);
    intake.configure({ ...defaults, maxLossMs: 200 });
    await clock.advance(100);
    expect(store.frames()).toEqual(["a"]);
  });
});

describe("a tick", () => {
  test("stands behind the entries of its batch", async () => {
    const { clock, store, frame } = running();
    frame("a");
    await clock.advance(5_000);
    expect(store.seen[0]?.entries.map((e) => e.type)).toEqual(["frame", "tick"]);
  });

  test("comes alone while frames wait for the clock", async () => {
    const { clock, store, intake } = running();
    const windowDueMs = clock.wall() + 30_000;
    store.status = { ...emptyStatus, holding: 1, windowDueMs };
    await Promise.all([intake.flush(), clock.advance(100)]);
    store.status = emptyStatus;
    await clock.advance(31_000);
    expect(store.seen.map((c) => c.entries.map((e) => e.type))).toEqual([[], ["tick"]]);
  });

  test("comes alone only while windows are open", async () => {
    const { clock, store, intake } = running();
    await Promise.all([intake.flush(), clock.advance(100)]);
    store.status = { ...emptyStatus, openWindows: 1 };
    await Promise.all([intake.flush(), clock.advance(100)]);
    await Promise.all([intake.flush(), clock.advance(100)]);
    expect(store.seen.map((c) => c.entries.map((e) => e.type))).toEqual([[], [], ["tick"]]);
  });
});

describe("when nothing happens", () => {
  test.each([
    ["at all", emptyStatus],
    ["but windows that stay open", { ...emptyStatus, openWindows: 3 }],
    [
      "but a window that ends tomorrow",
      { ...emptyStatus, openWindows: 1, windowDueMs: Date.UTC(2025, 0, 2) },
    ],
    [
      "but messages that nobody acknowledges",
      { ...emptyStatus, outbox: { entries: 9, messages: 9, bytes: 9, oldestMs: 0 } },
    ],
  ])("%s, nothing is committed", async (_, status) => {
    const { clock, store, intake } = running();
    store.status = status;
    await Promise.all([intake.flush(), clock.advance(100)]);
    const sleepsBefore = clock.sleeps;
    await clock.advance(3_600_000);
    expect(store.seen).toHaveLength(1);
    expect(clock.sleeps - sleepsBefore).toBeLessThan(3_700);
  });

  test("before a start nothing is committed", async () => {
    const { clock, store, frame } = running({}, false);
    frame("a");
    await clock.advance(60_000);
    expect(store.seen).toEqual([]);
  });
});

describe("flush", () => {
  test("resolves when what was taken before it is committed, and not earlier", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.takesMs = 300;
    frame("a");
    const flushed = watch(intake.flush());
    await clock.advance(200);
    expect(flushed.is).toBe("waiting");
    await clock.advance(200);
    expect([flushed.is, store.frames()]).toEqual(["resolved", ["a"]]);
  });

  test("during a commit waits for the next one", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.takesMs = 300;
    frame("a");
    watch(intake.flush());
    await clock.advance(100);
    frame("b");
    const second = watch(intake.flush());
    await clock.advance(250);
    expect(second.is).toBe("waiting");
    await clock.advance(400);
    expect([second.is, store.frames()]).toEqual(["resolved", ["a", "b"]]);
  });

  test("callers who wait cause commits, at the least spacing", async () => {
    const { clock, store, frame, intake } = running({ minCommitMs: 50 });
    let callers = 0;
    for (let i = 0; i < 200; i++) {
      frame(`${i}`);
      intake.flush().then(() => callers++);
      await clock.advance(5);
    }
    await clock.advance(100);
    expect(callers).toBe(200);
    expect(store.frames()).toHaveLength(200);
    for (const [i, { startedMs }] of store.seen.entries()) {
      if (i > 0) expect(startedMs - (store.doneMs[i - 1] ?? 0)).toBeGreaterThanOrEqual(50);
    }
    expect(store.seen.length).toBeLessThanOrEqual(1_100 / 50 + 1);
    expect(store.seen.length).toBeGreaterThan(10);
  });

  test("a configuration resolves when it stands in the journal, behind the frames before it", async () => {
    const { clock, store, frame, intake, watch } = running();
    frame("a");
    const done = watch(intake.configuration(pipelineOf({})));
    frame("b");
    await clock.advance(100);
    expect(done.is).toBe("resolved");
    expect(store.entries.map((e) => e.type)).toEqual(["frame", "configuration", "frame", "tick"]);
  });
});

describe("committed", () => {
  test("is one promise for all that the same commit takes along, and another for the next", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.takesMs = 100;
    frame("a");
    const first = intake.committed();
    frame("b");
    expect(intake.committed()).toBe(first);
    const done = watch(first);
    await clock.advance(0);
    expect(store.frames()).toEqual(["a", "b"]);
    frame("c");
    const second = intake.committed();
    expect(second).not.toBe(first);
    const later = watch(second);
    await clock.advance(100);
    expect([done.is, later.is]).toEqual(["resolved", "waiting"]);
    await clock.advance(200);
    expect(later.is).toBe("resolved");
    expect(store.frames()).toEqual(["a", "b", "c"]);
  });

  test("makes commits early, and not more often than minCommitMs", async () => {
    const { clock, store, frame, intake } = running({ minCommitMs: 200 });
    for (let i = 0; i < 100; i++) {
      frame(`${i}`);
      intake.committed().catch(() => undefined);
      await clock.advance(10);
    }
    expect(store.seen.length).toBe(1_000 / 200 + 1);
  });

  test("resolves only with the repetition of a commit that failed", async () => {
    const { clock, store, frame, intake, watch } = running();
    store.fates = ["repeatable", "repeatable"];
    frame("a");
    const done = watch(intake.committed());
    await clock.advance(0);
    expect(store.seen).toHaveLength(1);
    expect(done.is).toBe("waiting");
    await clock.advance(10_000);
    expect(store.doneMs).toHaveLength(1);
    expect(done.is).toBe("resolved");
  });
});
