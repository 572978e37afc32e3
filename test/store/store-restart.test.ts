import { cpSync, mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Commit } from "../../src/store/contract.ts";
import { Store } from "../../src/store/store.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { frame, tick } from "../journal/batches.ts";
import {
  commitOf,
  compose,
  configuration,
  copyAsKilled,
  messagesOf,
  openStore,
  reading,
  settings,
  t0,
  truth,
} from "./stores.ts";

/** What can happen to a store between two openings, in numbers that fast-check shrinks. */
const ownTime = { decode: { format: "json", time: { field: "ts" } }, idleMs: 2_000 };
const configurations: JsonObject[] = [
  {
    sources: { s: jsonSource("s", { device: { field: "id" } }), own: jsonSource("own", ownTime) },
    windows: { w: { sizeMs: 1_000, allowedLatenessMs: 3_000 }, x: { sizeMs: 2_500, sources: ["s"] } },
  },
  {
    sources: { s: jsonSource("s", { device: { field: "id" } }), own: jsonSource("own", ownTime) },
    windows: { x: { sizeMs: 2_500, sources: ["s"] }, w: { sizeMs: 1_000, allowedLatenessMs: 3_000 } },
    validate: { v: { channels: { t: { max: 5 } } } },
  },
  { sources: { own: jsonSource("own", ownTime) }, windows: { w: { sizeMs: 700 } } },
];
const by = fc.integer({ min: 0, max: 900 });
const value = fc.integer({ min: -20, max: 20 }).map((n) => n / 8);
const event = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("s" as const), by, value, id: fc.constantFrom("a", "b") }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("own" as const),
      by,
      value,
      ago: fc.integer({ min: -300, max: 4_000 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("tick" as const), by }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("garbage" as const), by }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("configure" as const), by, which: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("gap" as const), by, count: fc.nat(9) }) },
);
const step = fc.record({
  events: fc.array(event, { maxLength: 6 }),
  /** How many of the waiting messages the hub confirms, and whether it refuses the one behind them. */
  acknowledge: fc.nat(3),
  reject: fc.boolean(),
  maxDelayMs: fc.constantFrom(0, 500, 3_000),
  maxMessageBytes: fc.constantFrom(1_024, 2_048, 4_096),
  ending: fc.constantFrom(
    "goOn" as const,
    "goOn" as const,
    "close" as const,
    "kill" as const,
    "stop" as const,
  ),
});
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

/** Commits of the steps: what both stores get. */
function* commitsOf(
  steps: readonly Step[],
): Generator<{ ending: Step["ending"]; commit(store: Store): Commit }> {
  let at = 0;
  const first: JournalEntry[] = [configuration(0, configurations[0])];
  for (const one of steps) {
    const entries = first.splice(0);
    for (const e of one.events) {
      at += e.by;
      if (e.do === "s") entries.push(reading(at, { t: e.value, id: e.id }));
      else if (e.do === "own") entries.push(reading(at, { t: e.value, ts: t0 + at - e.ago }, "own"));
      else if (e.do === "tick") entries.push(tick(t0 + at));
      else if (e.do === "garbage") entries.push(frame("s", t0 + at, "?"));
      else if (e.do === "configure") entries.push(configuration(at, configurations[e.which]));
      else
        entries.push({
          type: "gap",
          source: "s",
          fromMs: t0,
          toMs: t0 + at,
          count: e.count || "unknown",
          reason: "overrun",
        });
    }
    const nowMs = t0 + at;
    const { maxDelayMs, maxMessageBytes, acknowledge, reject, ending } = one;
    yield {
      ending,
      commit: (store) => {
        const waiting = messagesOf(store).map((m) => m.sequence);
        const rejected = reject ? waiting.slice(acknowledge, acknowledge + 1) : [];
        const settingsNow = { ...compose, maxDelayMs, maxMessageBytes };
        const more = {
          acknowledged: waiting.slice(0, acknowledge),
          rejected: rejected.map((message) => ({ message, reason: "too large" })),
          compose: settingsNow,
        };
        return commitOf(entries, nowMs, ending === "stop" ? { ...more, last: true } : more);
      },
    };
  }
}

describe("a restart changes nothing", () => {
  test("any commits, reopened anywhere, give the same messages, ids, revisions and books as without", () => {
    const base = mkdtempSync(join(tmpdir(), "headgate-store-"));
    let runs = 0;
    try {
      fc.assert(
        fc.property(
          fc.array(step, { minLength: 1, maxLength: 12 }),
          fc.constantFrom(1, 5, 1_000),
          (steps, snapshotEvery) => {
            const run = join(base, `${runs++}`);
            new Store(join(run, "reference"), settings).close();
            let folder = join(run, "0");
            cpSync(join(run, "reference"), folder, { recursive: true });
            const reference = new Store(join(run, "reference"), { ...settings, snapshotEvery: 1_000_000 });
            const options = { ...settings, snapshotEvery };
            let subject = new Store(folder, options);
            try {
              reference.open();
              subject.open();
              let copies = 0;
              for (const { commit, ending } of commitsOf(steps)) {
                const expected = reference.commit({ ...commit(reference), last: false });
                const status = subject.commit(commit(subject));
                expect(truth(subject, status)).toEqual(truth(reference, expected));
                expect(imbalances(status.books)).toEqual([]);
                expect(subject.audit()).toEqual(status.books);
                if (ending === "goOn") continue;
                if (ending === "kill") {
                  const copy = copyAsKilled(folder, join(run, `${++copies}`));
                  subject.close();
                  folder = copy;
                } else subject.close();
                subject = new Store(folder, options);
                const { status: reopened, uncleanSinceMs } = subject.open();
                expect(uncleanSinceMs === undefined).toBe(ending === "stop");
                expect(truth(subject, reopened)).toEqual(truth(reference, expected));
                expect(subject.audit()).toEqual(reopened.books);
                expect(imbalances(reopened.books)).toEqual([]);
              }
            } finally {
              reference.close();
              subject.close();
              rmSync(run, { recursive: true, force: true });
            }
          },
        ),
        // Shrinking a failure of a store takes minutes; the time limit ends it with what it has.
        { numRuns: 60, interruptAfterTimeLimit: 12_000 },
      );
    } finally {
      rmSync(base, { recursive: true, force: true });
    }
  });

  test("a late reading that waits for the next revision of its window is not lost by a kill", () => {
    const folder = temporaryFolder();
    const lenient = {
      sources: { own: jsonSource("own", ownTime) },
      windows: { w: { sizeMs: 1_000, allowedLatenessMs: 60_000 } },
    };
    const send = (store: Store, at: number, ts: number) =>
      store.commit(commitOf([reading(at, { t: 1, ts: t0 + ts }, "own")], t0 + at));
    // The snapshot falls on the third reading, the late one.
    const { store } = openStore(folder, { snapshotEvery: 4 });
    store.commit(commitOf([configuration(0, lenient)], t0));
    send(store, 0, 0);
    send(store, 1_200, 1_200);
    send(store, 1_300, 500);
    const before = send(store, 1_400, 1_400);
    const { opened, store: again } = openStore(copyAsKilled(folder, join(folder, "copy")), {
      snapshotEvery: 4,
    });
    expect(truth(again, opened.status)).toEqual(truth(store, before));
    expect(imbalances(again.audit())).toEqual([]);
    const ending = commitOf([tick(t0 + 1e9)], t0 + 1e9, { compose: { ...compose, maxDelayMs: 0 } });
    expect(truth(again, again.commit(ending))).toEqual(truth(store, store.commit(ending)));
  });

  test("no id and revision ever comes with two contents, whatever is reopened", () => {
    const folder = temporaryFolder();
    const bodies = new Map<string, string>();
    let { store, close } = openStore(folder, { snapshotEvery: 3 });
    const lenient = { ...configurations[0] };
    store.commit(commitOf([configuration(0, lenient)], t0));
    for (let i = 1; i < 60; i++) {
      const at = i * 400;
      const late = reading(at, { t: i, ts: t0 + at - (i % 4) * 900 }, "own");
      store.commit(commitOf([late, tick(t0 + at)], t0 + at, { compose: { ...compose, maxDelayMs: 0 } }));
      for (const message of messagesOf(store)) {
        for (const body of JSON.parse(message.body)) {
          const key = `${body.id} ${body.revision}`;
          expect(bodies.get(key) ?? JSON.stringify(body)).toBe(JSON.stringify(body));
          bodies.set(key, JSON.stringify(body));
        }
      }
      expect(imbalances(store.audit())).toEqual([]);
      if (i % 5 !== 0) continue;
      close();
      ({ store, close } = openStore(folder, { snapshotEvery: 3 }));
    }
    expect(bodies.size).toBeGreaterThan(20);
  });

  test("a write cut anywhere leaves a whole commit, and the books of it", () => {
    const folder = temporaryFolder();
    const { store } = openStore(folder, { snapshotEvery: 12 });
    const known = [JSON.stringify(truth(store, store.status()))];
    for (let i = 0; i < 12; i++) {
      const at = i * 400;
      const entries = [reading(at, { t: i }), reading(at + 1, { t: -i }), tick(t0 + at + 2)];
      if (i === 0) entries.unshift(configuration(0));
      const status = store.commit(commitOf(entries, t0 + at + 2, { acknowledged: i === 9 ? [1] : [] }));
      known.push(JSON.stringify(truth(store, status)));
    }
    const { size } = statSync(join(folder, "headgate.db-wal"));
    const seen = new Set<number>();
    const copies = temporaryFolder();
    for (let i = 0; i <= 40; i++) {
      const copy = copyAsKilled(folder, join(copies, `${i}`));
      truncateSync(join(copy, "headgate.db-wal"), Math.floor((size * i) / 40));
      let cut: Store;
      try {
        cut = new Store(copy, settings);
      } catch (error) {
        // The log held the making of the tables, too: cut in it, there is not yet a store.
        if (i < 10) continue;
        throw error;
      }
      try {
        const { status } = cut.open();
        const found = known.lastIndexOf(JSON.stringify(truth(cut, status)));
        expect(found).toBeGreaterThanOrEqual(status.storeId === store.status().storeId ? 0 : -1);
        seen.add(found);
        expect(cut.audit()).toEqual(status.books);
      } finally {
        cut.close();
      }
    }
    expect(seen.size).toBeGreaterThan(5);
    expect(seen).toContain(known.length - 1);
  });
});
