import { execFileSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openDatabase } from "../../src/core/database.ts";
import type { JsonObject } from "../../src/core/json.ts";
import type { JournalEntry } from "../../src/journal/batch.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import { type Commit, Store, type StoreStatus } from "../../src/store/store.ts";
import { jsonSource } from "../config/pipelines.ts";
import { codeOf } from "../core/codes.ts";
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
} from "./stores.ts";

/** What must not depend on restarts. */
function truth(store: Store, status: StoreStatus) {
  const { position, outbox, openWindows, books } = status;
  // Cloned: the books share their inner counts with the running ledger.
  return structuredClone({ position, outbox, openWindows, books, messages: messagesOf(store) });
}

describe("a store", () => {
  test("begins empty and clean, in a folder it makes", () => {
    const folder = join(temporaryFolder(), "new", "data");
    const { opened } = openStore(folder);
    expect(opened).toMatchObject({
      configHash: undefined,
      uncleanSinceMs: undefined,
      sources: [],
      replayed: 0,
      status: { position: 0, openWindows: 0, books: {}, outbox: { entries: 0, messages: 0 } },
    });
    expect(statSync(folder).mode & 0o007).toBe(0);
  });

  test("keeps its id", () => {
    const folder = temporaryFolder();
    const first = openStore(folder);
    first.close();
    expect(openStore(folder).opened.storeId).toBe(first.opened.storeId);
    expect(openStore(temporaryFolder()).opened.storeId).not.toBe(first.opened.storeId);
  });

  test("carries a reading from the batch to the acknowledged message, each in one book", () => {
    const { store } = openStore(temporaryFolder());
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 }), frame("s", t0, "?")], t0));
    expect(store.status().books.s).toMatchObject({
      frames: 2,
      decoded: 1,
      ingested: 1,
      held: 1,
      published: 0,
    });
    const { outbox, composeDueMs } = store.commit(commitOf([tick(t0 + 1_000)], t0 + 1_000));
    expect([outbox.entries, outbox.messages, composeDueMs]).toEqual([1, 0, t0 + 2_000]);
    store.commit(commitOf([], t0 + 2_000));
    const [message] = messagesOf(store);
    expect(JSON.parse(message?.body ?? "")).toMatchObject([{ window: "w", count: 1 }]);
    expect(store.status().books.s).toMatchObject({ held: 1, published: 0 });
    const done = store.commit(commitOf([], t0 + 2_001, { acknowledged: [message?.sequence ?? 0] }));
    expect(done.books.s).toMatchObject({ held: 0, published: 1 });
    expect(messagesOf(store)).toEqual([]);
  });

  test("a message refused for good is discarded, once, and an acknowledgement repeated counts nothing", () => {
    const { store } = openStore(temporaryFolder());
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 }), tick(t0 + 1_000)], t0 + 9_000));
    store.commit(commitOf([reading(1_000, { t: 1 }), tick(t0 + 2_000)], t0 + 19_000));
    const [one, two] = messagesOf(store).map((m) => m.sequence);
    if (one === undefined || two === undefined) throw new Error("two messages were expected");
    for (let i = 0; i < 2; i++)
      store.commit(commitOf([], t0 + 20_000, { acknowledged: [two], rejected: [one] }));
    const { books } = store.status();
    expect(books.s).toMatchObject({ ingested: 2, published: 1, held: 0, discards: { rejected: 1 } });
    expect(imbalances(books)).toEqual([]);
  });

  test("is clean after the last commit of an orderly stop only", () => {
    const folder = temporaryFolder();
    const reopened = (more: Partial<Commit>) => {
      const { store, close } = openStore(folder);
      store.commit(commitOf([configuration(0), tick(t0)], t0 + 5, more));
      close();
      const again = openStore(folder);
      again.close();
      return again.opened;
    };
    expect(reopened({})).toMatchObject({ uncleanSinceMs: t0 + 5, sources: ["s"], replayed: 1 });
    expect(reopened({ last: true })).toMatchObject({ uncleanSinceMs: undefined, replayed: 0 });
    expect(reopened({})).toMatchObject({ uncleanSinceMs: t0 + 5 });
  });

  test("replays no more than what stands behind the last snapshot", () => {
    const folder = temporaryFolder();
    const first = openStore(folder, { snapshotEvery: 10 });
    first.store.commit(commitOf([configuration(0)], t0));
    for (let i = 0; i < 25; i++) first.store.commit(commitOf([tick(t0 + i)], t0));
    first.close();
    expect(openStore(folder).opened.replayed).toBeLessThan(10);
  });

  test("keeps the journal below the snapshot as far as is asked for, and does not replay it", () => {
    const folder = temporaryFolder();
    const first = openStore(folder, { snapshotEvery: 10, replayBytes: 1_000_000 });
    first.store.commit(commitOf([configuration(0)], t0));
    for (let i = 0; i < 25; i++) first.store.commit(commitOf([tick(t0 + i)], t0));
    first.close();
    const database = openDatabase(join(folder, "headgate.db"));
    expect(database.prepare("SELECT count(*) AS n FROM journal").get()).toEqual({ n: 26 });
    database.close();
    expect(openStore(folder).opened.replayed).toBeLessThan(10);
  });
});

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
        const more = { acknowledged: waiting.slice(0, acknowledge), rejected, compose: settingsNow };
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

/** Lets the system refuse to grow any file of this process beyond `bytes`, while `work` runs. */
function withFilesLimitedTo<T>(bytes: number, work: () => T): T {
  const limit = (soft: string) => execFileSync("prlimit", ["--pid", `${process.pid}`, `--fsize=${soft}:`]);
  limit(`${bytes}`);
  try {
    return work();
  } finally {
    limit("unlimited");
  }
}

// `prlimit` is Linux's; elsewhere nothing honest makes a write fail in the middle.
describe.runIf(process.platform === "linux")("a commit that fails", () => {
  const filled = (folder: string) => {
    const { store, close } = openStore(folder);
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 }), tick(t0 + 1_000)], t0 + 9_000));
    store.commit(commitOf([reading(1_000, { t: 2 }), reading(1_100, { t: 3 })], t0 + 9_100));
    return { store, close };
  };
  const next = () => {
    // Not compressible, so that the batch needs pages of its own.
    const noise = Array.from({ length: 3_000 }, (_, i) =>
      String.fromCharCode(33 + ((i * i * 7919) % 90)),
    ).join("");
    const entries = [reading(1_500, { t: 4, noise }), tick(t0 + 2_000), reading(2_100, { t: 5 })];
    return commitOf(entries, t0 + 12_000, { acknowledged: [1] });
  };

  test("at any byte of its writes leaves everything as before, and can be repeated", async () => {
    const expected = filled(temporaryFolder());
    const after = truth(expected.store, expected.store.commit(next()));
    const stripped = (t: typeof after) =>
      JSON.stringify(t).replaceAll(/[0-9a-f]{8}-[0-9]+|[0-9a-f]{32}/g, "id");
    let failed = 0;
    for (let more = 0; more < 40_000; more += 2_500) {
      const folder = temporaryFolder();
      const { store, close } = filled(folder);
      const before = truth(store, store.status());
      const wal = statSync(join(folder, "headgate.db-wal")).size;
      const code = await codeOf(() => withFilesLimitedTo(wal + more, () => store.commit(next())));
      if (code === "none") {
        close();
        continue;
      }
      failed++;
      expect(code).toBe("STORE_UNUSABLE");
      expect(truth(store, store.status())).toEqual(before);
      expect(store.audit()).toEqual(before.books);
      const copy = openStore(copyAsKilled(folder, join(folder, "copy")));
      expect(truth(copy.store, copy.opened.status)).toEqual(before);
      copy.close();
      expect(stripped(truth(store, store.commit(next())))).toBe(stripped(after));
      expect(store.audit()).toEqual(store.status().books);
      close();
      const again = openStore(folder);
      expect(stripped(truth(again.store, again.opened.status))).toBe(stripped(after));
      again.close();
    }
    expect(failed).toBeGreaterThan(2);
  });

  test("again and again leaves it as before each time", async () => {
    const folder = temporaryFolder();
    const { store } = filled(folder);
    const before = truth(store, store.status());
    const { size } = statSync(join(folder, "headgate.db-wal"));
    const codes = withFilesLimitedTo(size, () =>
      Array.from({ length: 5 }, () => {
        try {
          store.commit(next());
          return "none";
        } catch (error) {
          return (error as { code: string }).code;
        }
      }),
    );
    expect(codes).toEqual(Array(5).fill("STORE_UNUSABLE"));
    expect(truth(store, store.status())).toEqual(before);
    expect(await codeOf(() => store.commit(next()))).toBe("none");
  });
});

describe("a store that cannot be used", () => {
  /** A store with a snapshot, a journal of five batches behind it, and messages. */
  const made = () => {
    const folder = temporaryFolder();
    const { store, close } = openStore(folder);
    store.commit(commitOf([configuration(-5_000), reading(0, { t: 1 })], t0, { last: true }));
    for (let i = 1; i <= 5; i++) store.commit(commitOf([reading(i * 400, { t: i })], t0 + i * 400));
    close();
    return folder;
  };
  const openCode = (folder: string) => codeOf(() => openStore(folder).close());
  const change = (folder: string, sql: string) => {
    const database = openDatabase(join(folder, "headgate.db"));
    database.exec(sql);
    database.close();
  };
  const filesOf = (folder: string) =>
    readdirSync(folder)
      .sort()
      .map((file) => [file, readFileSync(join(folder, file)).toString("base64")]);

  test("a second store on the same folder is busy; the first goes on", async () => {
    const folder = temporaryFolder();
    const { store } = openStore(folder);
    expect(await openCode(folder)).toBe("STORE_BUSY");
    expect(await openCode(folder)).toBe("STORE_BUSY");
    store.commit(commitOf([configuration(0)], t0));
    expect(store.status().position).toBe(1);
  });

  test("a store that was closed is free again, also after somebody found it busy", async () => {
    const folder = temporaryFolder();
    const first = openStore(folder);
    expect(await openCode(folder)).toBe("STORE_BUSY");
    first.close();
    expect(await openCode(folder)).toBe("none");
  });

  test("a store of a newer version is refused, and nothing of it changes", async () => {
    const folder = made();
    change(folder, "PRAGMA user_version = 99");
    const before = filesOf(folder);
    expect(await openCode(folder)).toBe("STORE_NEWER");
    expect(filesOf(folder)).toEqual(before);
    change(folder, "PRAGMA user_version = 1");
    expect(await openCode(folder)).toBe("none");
  });

  test.each([
    ["ends early", "DELETE FROM journal WHERE position = 6"],
    ["lacks a batch in its middle", "DELETE FROM journal WHERE position = 4"],
    ["lacks its beginning behind the snapshot", "DELETE FROM journal WHERE position = 2"],
    ["is gone", "DELETE FROM journal"],
    [
      "goes on where the books end",
      "INSERT INTO journal SELECT 7, checksum, batch FROM journal WHERE position = 6",
    ],
    ["has a batch with a wrong checksum", "UPDATE journal SET checksum = checksum + 1 WHERE position = 5"],
    ["has no snapshot before it", "DELETE FROM snapshot"],
  ])("a journal that %s is corrupt", async (_, sql) => {
    const folder = made();
    change(folder, sql);
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
  });

  test("a damaged snapshot is corrupt", async () => {
    const folder = made();
    change(folder, "UPDATE snapshot SET snapshot = zeroblob(length(snapshot))");
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
  });

  test("a store without its id is corrupt", async () => {
    const folder = made();
    change(folder, "DELETE FROM store");
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
  });

  test("a file that is no database is corrupt, and stays as it is", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "headgate.db");
    writeFileSync(path, "these are notes, not a database\n".repeat(100));
    expect(await openCode(folder)).toBe("STORE_CORRUPT");
    expect(readFileSync(path, "utf8")).toContain("these are notes");
  });

  test("a folder that is a file cannot be used", async () => {
    const path = join(temporaryFolder(), "file");
    closeSync(openSync(path, "w"));
    expect(await openCode(path)).toBe("STORE_UNUSABLE");
  });
});
