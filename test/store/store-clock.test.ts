/** What a store keeps over a restart when the clock is not known good, was wrong, or stepped. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { expect, test } from "vitest";
import { imbalances } from "../../src/ledger/ledger.ts";
import { Store } from "../../src/store/store.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { anyEvents, journalOf } from "../support/clock-events.ts";
import { SteppingBox } from "../support/stepping-box.ts";
import { commitOf, compose, copyAsKilled, messagesOf, openStore, settings, t0, truth } from "./stores.ts";

const year = 365 * 86_400_000;
const sections = { sources: { s: jsonSource("s") }, windows: { w: { sizeMs: 1_000 } } };
const bodies = (store: Store) => messagesOf(store).flatMap(({ body }) => JSON.parse(body));

function committing(box: SteppingBox) {
  return (store: Store, entries: Parameters<typeof commitOf>[0], more: Parameters<typeof commitOf>[2] = {}) =>
    store.commit(commitOf(entries, box.wallMs, { monotonicMs: box.monotonicMs, ...more }));
}

test.each(["kill", "stop"])("frames that wait are still there after a %s, and pass once", (ending) => {
  const folder = temporaryFolder();
  const box = new SteppingBox();
  const commit = committing(box);
  box.wrongMs = -50 * year;
  const { store, close } = openStore(folder, { snapshotEvery: 2 });
  commit(store, [box.clock("unsynced"), box.configuration(sections)]);
  for (let i = 0; i < 10; i++) {
    box.pass(100);
    commit(store, [box.frame({ t: i }), box.tick()]);
  }
  const before = commit(store, [], ending === "stop" ? { last: true } : {});
  expect(before).toMatchObject({ holding: 10, openWindows: 0, books: {} });
  const copy = ending === "kill" ? copyAsKilled(folder, join(folder, "copy")) : folder;
  close();
  const { store: again, opened } = openStore(copy, { snapshotEvery: 2 });
  expect([opened.replayed, opened.status.holding]).toEqual([ending === "kill" ? 11 : 0, 10]);
  expect(opened.boot).toEqual({ id: "boot 0", wasSynced: false });
  expect(truth(again, opened.status)).toEqual(truth(again, before));
  box.pass(1_000);
  box.wrongMs = 0;
  const after = commit(again, [box.clock("synced"), box.tick()], { compose: { ...compose, maxDelayMs: 0 } });
  expect(after).toMatchObject({ holding: 0, books: { s: { frames: 10, ingested: 10 } } });
  expect(imbalances(again.audit())).toEqual([]);
  expect(bodies(again)).toMatchObject([
    { windowStart: "2025-01-01T00:00:00.000Z", count: 9, timeQuality: "synced" },
    { windowStart: "2025-01-01T00:00:01.000Z", count: 1, timeQuality: "synced" },
  ]);
});

test("a restart at any point, after steps and boots and while frames wait, changes nothing", () => {
  fc.assert(
    fc.property(
      anyEvents,
      fc.array(fc.nat(80), { maxLength: 4 }),
      fc.constantFrom(1, 7, 1_000),
      (events, cuts, every) => {
        const base = mkdtempSync(join(tmpdir(), "headgate-store-"));
        new Store(join(base, "reference"), settings).close();
        let folder = join(base, "0");
        cpSync(join(base, "reference"), folder, { recursive: true });
        const reference = new Store(join(base, "reference"), settings);
        const options = { ...settings, snapshotEvery: every };
        let subject = new Store(folder, options);
        try {
          reference.open();
          subject.open();
          let monotonicMs = 0;
          for (const [i, entry] of journalOf(events).entries.entries()) {
            monotonicMs = "monotonicMs" in entry ? (entry.monotonicMs ?? 0) : monotonicMs;
            const commit = () => commitOf([entry], t0, { monotonicMs });
            const expected = reference.commit(commit());
            expect(truth(subject, subject.commit(commit()))).toEqual(truth(reference, expected));
            if (!cuts.includes(i)) continue;
            const copy = copyAsKilled(folder, join(base, `killed ${i}`));
            subject.close();
            folder = copy;
            subject = new Store(folder, options);
            const { status } = subject.open();
            expect(status.holding).toBe(expected.holding);
            expect(truth(subject, status)).toEqual(truth(reference, expected));
          }
        } finally {
          reference.close();
          subject.close();
          rmSync(base, { recursive: true, force: true });
        }
      },
    ),
    // Shrinking a failure of a store takes minutes; the time limit ends it with what it has.
    { numRuns: 25, interruptAfterTimeLimit: 12_000 },
  );
});

test("an outbox filled by a clock years ahead is not delayed after a boot to the right one", () => {
  const box = new SteppingBox();
  const commit = committing(box);
  const { store } = openStore(temporaryFolder());
  box.wrongMs = 10 * year;
  commit(store, [box.clock("synced"), box.configuration(sections), box.frame({ t: 1 })]);
  box.pass(1_000);
  expect(commit(store, [box.tick()]).outbox).toMatchObject({ entries: 1, messages: 0 });
  box.boot(60_000, 0);
  expect(commit(store, [box.clock("synced")]).outbox).toMatchObject({ entries: 1, messages: 1 });
});

test("a store of schema 1 goes on where it was: same boot or another, its windows keep their ids", () => {
  const folder = temporaryFolder();
  const fixture = fileURLToPath(new URL("fixtures/store-1.db", import.meta.url));
  const going = (name: string, monotonicMs: number) => {
    cpSync(fixture, join(folder, name, "headgate.db"), { recursive: true });
    const { store, opened } = openStore(join(folder, name));
    expect([opened.boot, opened.status.openWindows, opened.status.steadyBaseMs]).toEqual([
      undefined,
      12,
      1_735_689_595_000,
    ]);
    const wallMs = 1_735_689_605_960 + 60_000;
    const stamp = { wallMs, monotonicMs };
    const clock = { type: "clock", ...stamp, bootId: "b", quality: "synced" } as const;
    const batch = [clock, { type: "tick", ...stamp } as const];
    store.commit(commitOf(batch, wallMs, { monotonicMs, compose: { ...compose, maxDelayMs: 0 } }));
    expect(imbalances(store.audit())).toEqual([]);
    return bodies(store);
  };
  const same = going("same", 70_960);
  expect(same.filter((body) => body.partial === "clock")).toEqual([]);
  expect(going("rebooted", 5_000).filter((body) => body.source === "oven")).toEqual(
    same.filter((body) => body.source === "oven"),
  );
  expect(same.some((body) => body.window === "minute" && body.source === "oven" && body.revision === 0)).toBe(
    true,
  );
});
