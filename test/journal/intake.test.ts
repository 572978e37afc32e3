import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { TransientError } from "../../src/core/errors.ts";
import { type JournalEntry, readBatch } from "../../src/journal/batch.ts";
import { type CommitTarget, Intake, type IntakeSettings } from "../../src/journal/intake.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Commit, StoreStatus } from "../../src/store/store.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { openStore } from "../store/stores.ts";

const emptyStatus: StoreStatus = {
  storeId: "store",
  position: 0,
  outbox: { entries: 0, messages: 0, bytes: 0, oldestMs: undefined },
  openWindows: 0,
  books: {},
  windowDueMs: undefined,
  composeDueMs: undefined,
};

interface Seen extends Omit<Commit, "batch"> {
  readonly startedMs: number;
  readonly entries: readonly JournalEntry[];
  readonly bytes: string;
}

/** A store in memory that takes its batches as the store thread does: the buffer is gone for the caller. */
class MemoryStore implements CommitTarget {
  readonly #clock: ManualClock;
  readonly seen: Seen[] = [];
  /** Times at which a commit ended well. */
  readonly doneMs: number[] = [];
  takesMs = 0;
  /** Said of the commits to come, in order: what becomes of each. The rest succeeds. */
  fates: ("repeatable" | "bug")[] = [];
  alwaysFails = false;
  status: StoreStatus = emptyStatus;
  underWay = 0;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  async commit(commit: Commit): Promise<StoreStatus> {
    expect(++this.underWay).toBe(1);
    const { batch, ...rest } = structuredClone(commit, {
      transfer: commit.batch.length > 0 ? [commit.batch.buffer as ArrayBuffer] : [],
    });
    this.seen.push({
      ...rest,
      startedMs: this.#clock.monotonic(),
      bytes: Buffer.from(batch).toString("hex"),
      entries: [...readBatch(new Uint8Array(batch))],
    });
    if (this.takesMs > 0) await this.#clock.sleep(this.takesMs);
    this.underWay--;
    const fate = this.alwaysFails ? "repeatable" : this.fates.shift();
    if (fate === "bug") throw new Error("a bug");
    if (fate === "repeatable")
      throw Object.assign(new TransientError("STORE_UNUSABLE", "disk full"), { batch });
    this.doneMs.push(this.#clock.monotonic());
    return this.status;
  }

  /** Entries of all commits, each batch once. */
  get entries(): JournalEntry[] {
    return this.seen.flatMap((commit) => commit.entries);
  }
  frames(): string[] {
    return this.entries.flatMap((e) => (e.type === "frame" ? [Buffer.from(e.bytes).toString("utf8")] : []));
  }
}

const defaults: IntakeSettings = {
  maxLossMs: 5_000,
  minCommitMs: 20,
  maxQueueBytes: 100_000,
  compose: { maxDelayMs: 1_000, maxMessageBytes: 65_536, output: "readings" },
};

function running(settings: Partial<IntakeSettings> = {}, start = true) {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const log = recordingLog();
  const fatal: unknown[] = [];
  const intake = new Intake(
    { store, clock, log, onCommit: () => undefined, onFatal: (error) => fatal.push(error) },
    { ...defaults, ...settings },
  );
  if (start) intake.start();
  const frame = (text: string, source = "s") => intake.frame(source, Buffer.from(text));
  /** Whether a promise has settled by now, and how. */
  const watch = (work: Promise<unknown>) => {
    const state = { is: "waiting" as "waiting" | "resolved" | "rejected" };
    work.then(
      () => {
        state.is = "resolved";
      },
      () => {
        state.is = "rejected";
      },
    );
    return state;
  };
  return { clock, store, log, fatal, intake, frame, watch };
}
const never = () => new AbortController().signal;

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
    intake.reject(3);
    await clock.advance(600);
    expect(store.seen).toMatchObject([{ acknowledged: [1, 2], rejected: [3], entries: [] }]);
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

  test("a wall clock that jumps ahead over the end of a window is noticed", async () => {
    const { clock, store, intake } = running();
    store.status = { ...emptyStatus, openWindows: 1, windowDueMs: clock.wall() + 3_600_000 };
    await Promise.all([intake.flush(), clock.advance(100)]);
    clock.stepWall(3_600_000);
    store.status = emptyStatus;
    await clock.advance(5_000);
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
    intake.reject(2);
    await clock.advance(1_000);
    intake.acknowledge(3);
    await clock.advance(20_000);
    expect(store.seen[0]).toMatchObject({ acknowledged: [1], rejected: [2] });
    expect(store.seen.slice(1).flatMap((c) => c.acknowledged)).toEqual([1, 3]);
    expect(store.seen.slice(1).flatMap((c) => c.rejected)).toEqual([2]);
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

describe("with a real store", () => {
  const opened = (sections: Parameters<typeof pipelineOf>[0]) => {
    const clock = new ManualClock();
    const { store } = openStore(temporaryFolder());
    let commits = 0;
    const target: CommitTarget = {
      commit: async (commit) => {
        commits++;
        return store.commit(commit);
      },
    };
    const fatal: unknown[] = [];
    const options = {
      store: target,
      clock,
      log: recordingLog(),
      onCommit: () => undefined,
      onFatal: (e: unknown) => fatal.push(e),
    };
    const intake = new Intake(options, defaults);
    intake.start();
    intake.clock("boot", "synced");
    const configured = intake.configuration(pipelineOf(sections));
    const frame = (fields: object, source = "s") => intake.frame(source, Buffer.from(JSON.stringify(fields)));
    return { clock, store, intake, configured, frame, fatal, commits: () => commits };
  };

  test("a reading ends in a message once its window and its delay are over, without any further frame", async () => {
    const { clock, store, frame, configured, fatal, commits } = opened({
      sources: { s: jsonSource("s") },
      windows: { minute: { sizeMs: 60_000 } },
    });
    await Promise.all([configured, clock.advance(100)]);
    frame({ t: 21.5 });
    await clock.advance(65_000);
    const message = store.next(0);
    expect(JSON.parse(Buffer.from(message?.body ?? []).toString("utf8"))).toMatchObject([
      { window: "minute", count: 1, timeQuality: "synced", channels: { t: { mean: 21.5 } } },
    ]);
    expect(imbalances(store.audit())).toEqual([]);
    expect([fatal, commits() < 8]).toEqual([[], true]);
    const before = commits();
    await clock.advance(3_600_000);
    expect(commits()).toBe(before);
  });

  test("a late reading of a device with its own time does not make the disk busy", async () => {
    const own = { decode: { format: "json", time: { field: "ts" } }, idleMs: 600_000 };
    const { clock, frame, configured, commits } = opened({
      sources: { s: jsonSource("s", own) },
      windows: { minute: { sizeMs: 60_000, allowedLatenessMs: 3_600_000 } },
    });
    await Promise.all([configured, clock.advance(100)]);
    frame({ t: 1, ts: clock.wall() });
    await clock.advance(10_000);
    frame({ t: 1, ts: clock.wall() - 1_800_000 });
    const before = commits();
    await clock.advance(60_000);
    expect(commits() - before).toBeLessThan(20);
  });

  test("a wall clock that steps back does not make the disk busy", async () => {
    const { clock, frame, configured, commits } = opened({
      sources: { s: jsonSource("s") },
      windows: { minute: { sizeMs: 60_000, allowedLatenessMs: 3_600_000 } },
    });
    await Promise.all([configured, clock.advance(100)]);
    frame({ t: 1 });
    await clock.advance(10_000);
    clock.stepWall(-1_800_000);
    frame({ t: 1 });
    const before = commits();
    await clock.advance(60_000);
    expect(commits() - before).toBeLessThan(20);
  });
});
