/** What a store keeps over a restart when the clock is not known good, was wrong, or stepped. */
import { cpSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { Store } from "../../src/store/store.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { SteppingBox } from "../support/stepping-box.ts";
import { commitOf, compose, copyAsKilled, messagesOf, openStore, truth } from "./stores.ts";

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
