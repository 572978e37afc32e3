import { describe, expect, test } from "vitest";
import type { TimeQuality } from "../../src/core/reading.ts";
import { Intake } from "../../src/journal/intake.ts";
import type { CommitTarget } from "../../src/journal/intake-contract.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import { jsonSource, pipelineOf } from "../config/pipelines.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { openStore } from "../store/stores.ts";
import { behind } from "../support/composing.ts";
import { defaults } from "./running-intake.ts";

describe("with a real store", () => {
  const opened = (sections: Parameters<typeof pipelineOf>[0], quality: TimeQuality = "synced") => {
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
    intake.clock("boot", quality);
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
    const message = store.next(behind(0));
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

  test.each([
    ["3 s back", -3_000],
    ["an hour ahead", 3_600_000],
    ["30 years back", -946_080_000_000],
  ])(
    "with a wall clock that steps %s a window and its message fall due as if nothing had happened",
    async (_, ms) => {
      const { clock, store, frame, configured, commits } = opened({
        sources: { s: jsonSource("s") },
        windows: { minute: { sizeMs: 60_000 } },
      });
      await Promise.all([configured, clock.advance(100)]);
      frame({ t: 1 });
      await clock.advance(20_000);
      clock.stepWall(ms);
      frame({ t: 1 });
      // The window ends at 60,000, its message is due 1,000 later.
      await clock.advance(40_850);
      expect(store.next(behind(0))).toBeUndefined();
      await clock.advance(100);
      expect(JSON.parse(Buffer.from(store.next(behind(0))?.body ?? []).toString("utf8"))).toMatchObject([
        { count: 2 },
      ]);
      frame({ t: 1 });
      await clock.advance(65_000);
      expect(store.next(behind(1))).toBeDefined();
      expect([imbalances(store.audit()), commits() < 12]).toEqual([[], true]);
    },
  );

  test("frames that wait for the clock pass when they have waited enough, without any further frame", async () => {
    const { clock, store, frame, configured, intake } = opened(
      {
        sources: { s: jsonSource("s") },
        windows: { second: { sizeMs: 1_000 } },
        clock: { maxHoldMs: 10_000 },
      },
      "unsynced",
    );
    await Promise.all([configured, clock.advance(100)]);
    frame({ t: 1 });
    await Promise.all([intake.flush(), clock.advance(100)]);
    expect(store.status()).toMatchObject({ holding: 1, openWindows: 0, books: {} });
    await clock.advance(9_700);
    expect(store.status().holding).toBe(1);
    await clock.advance(2_500);
    expect(store.status()).toMatchObject({ holding: 0, outbox: { entries: 1, messages: 1 } });
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
