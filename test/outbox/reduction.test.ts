import { expect, test } from "vitest";
import { openDatabase } from "../../src/core/database.ts";
import type { WindowEntryBody } from "../../src/outbox/entry-schema.ts";
import { emptyOutbox, Outbox } from "../../src/outbox/outbox.ts";
import { Reduction } from "../../src/outbox/reduction.ts";

const t0 = Date.UTC(2025, 0, 1);

function windowOf(device: string, index: number): WindowEntryBody {
  return {
    id: `${device}${String(index).padStart(31, "0")}`,
    revision: 0,
    kind: "window",
    window: "w",
    gateway: "g",
    source: "s",
    device,
    windowStart: new Date(t0 + index * 1_000).toISOString(),
    windowEnd: new Date(t0 + index * 1_000 + 1_000).toISOString(),
    timeQuality: "synced",
    quality: "good",
    count: 3,
    bad: 0,
    channels: { t: { count: 3, mean: index, bad: 0 } },
    configurations: ["h"],
  };
}

/** Two devices, forty windows each, told in turn. */
function full() {
  const database = openDatabase(":memory:");
  database.exec(Outbox.schema);
  const counters = emptyOutbox();
  const outbox = new Outbox(database, "00000000", counters);
  for (let index = 0; index < 40; index++) {
    outbox.insert(
      ["a", "b"].map((device) => ({
        kind: "window",
        source: "s",
        readyMs: t0 + index * 1_000,
        body: JSON.stringify(windowOf(device, index)),
        accounts: { s: 3 },
      })),
    );
  }
  const reduction = new Reduction(database, "00000000", counters, outbox.composed);
  const bodies = () => [...outbox.entries()].map(({ body }) => JSON.parse(body) as WindowEntryBody);
  return { database, counters, outbox, reduction, bodies };
}

test("little by little the same is merged as in one go, each window once, and no reading is lost", () => {
  const whole = full();
  const before = whole.counters.bytes;
  whole.reduction.thin("s");
  const parts = full();
  let calls = 0;
  for (let freed = parts.reduction.thin("s", 1); freed; freed = parts.reduction.thin("s", 1)) {
    calls++;
    // One group at a time.
    expect(freed).toBeLessThan(before / 5);
  }
  expect(calls).toBe(8);
  const byStart = (bodies: WindowEntryBody[]) =>
    bodies.toSorted((x, y) => `${x.device} ${x.windowStart}`.localeCompare(`${y.device} ${y.windowStart}`));
  expect(byStart(parts.bodies())).toEqual(byStart(whole.bodies()));
  expect(parts.bodies().map(({ thinned }) => thinned)).toEqual(Array(8).fill(10));
  expect(parts.bodies().reduce((sum, { count }) => sum + count, 0)).toBe(240);
  expect(parts.counters).toMatchObject({ entries: 8, bytes: whole.counters.bytes });
  whole.database.close();
  parts.database.close();
});

test("where nothing can be merged, no more than a bounded number of rows is looked at in one go", () => {
  const { database, outbox, reduction, bodies } = full();
  const reading = (index: number) => ({
    kind: "reading" as const,
    source: "s",
    readyMs: t0,
    body: JSON.stringify({ kind: "reading", time: new Date(t0 + index).toISOString() }),
    accounts: { s: 1 },
  });
  reduction.thin("s");
  outbox.insert(Array.from({ length: 45_000 }, (_, index) => reading(index)));
  outbox.insert(
    Array.from({ length: 10 }, (_, index) => ({
      kind: "window" as const,
      source: "s",
      readyMs: t0,
      body: JSON.stringify(windowOf("c", index)),
      accounts: { s: 3 },
    })),
  );
  expect([reduction.thin("s"), reduction.thin("s")]).toEqual([0, 0]);
  expect(reduction.thin("s")).toBeGreaterThan(0);
  expect(bodies().filter(({ kind, device }) => kind === "window" && device === "c")).toHaveLength(1);
  expect(reduction.thin("s")).toBeUndefined();
  database.close();
});

test("raw readings are given up by so many bytes, the oldest first, and windows among them stay", () => {
  const { database, counters, outbox, reduction } = full();
  const told = (index: number) => new Date(t0 + index).toISOString();
  const reading = (index: number) => JSON.stringify({ kind: "reading", source: "s", time: told(index) });
  const entries = Array.from({ length: 1_000 }, (_, index) => ({
    kind: "reading" as const,
    source: "s",
    readyMs: t0 + index,
    body: reading(index),
    accounts: { s: 1 },
  }));
  outbox.insert(entries);
  const size = reading(0).length;
  expect(reduction.evictReadings("s", 10 * size)).toEqual({
    accounts: { s: 10 },
    entries: 10,
    bytes: 10 * size,
    fromMs: t0,
    toMs: t0 + 9,
  });
  expect(reduction.evictReadings("s", Number.POSITIVE_INFINITY)?.entries).toBe(990);
  expect(reduction.evictReadings("s", 1)).toBeUndefined();
  expect(counters.entries).toBe(80);
  // New ones are found behind the end of the search.
  outbox.insert(entries.slice(0, 1));
  expect(reduction.evictReadings("s", 1)?.entries).toBe(1);
  database.close();
});
