import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Composer, fullDemand, noDemand } from "../../src/outbox/composer.ts";
import { laneOf, placeOf } from "../../src/outbox/lanes.ts";
import { headerBytes } from "../../src/outbox/message-body.ts";
import type { OutboxMessage } from "../../src/outbox/outbox.ts";
import { box, entry, idsOf, plainOf, settings } from "./composing-box.ts";

describe("what the hub does not take", () => {
  test("stays uncomposed, so that it can make room, and is composed when the hub takes messages again", () => {
    const { insert, compose, counters, messages } = box();
    insert(entry(1_000));
    expect(compose(9_000, {}, noDemand)).toBeUndefined();
    expect([counters.messages, messages()]).toEqual([0, []]);
    compose(9_001);
    expect(messages()).toHaveLength(1);
  });

  test("is composed ahead up to the demand of its class, and no further than the bytes", () => {
    const one = box();
    one.insert(...Array.from({ length: 9 }, () => entry(1_000, "usual", { pad: 900 })));
    one.compose(2_000, {}, { ...fullDemand, live: 3 });
    expect(one.messages()).toHaveLength(3);
    const composer = new Composer(one.outbox);
    composer.compose(2_000, settings, fullDemand, 1);
    expect(one.messages()).toHaveLength(3);
    // What is left out is in nobody's way, neither by its number nor by its bytes.
    const leftOut = { alarm: 0, live: 3, backfill: 0 };
    composer.compose(2_000, settings, { ...fullDemand, leftOut }, 1);
    expect(one.messages()).toHaveLength(4);
    one.compose(2_000, {}, { ...fullDemand, live: 2, leftOut });
    expect(one.messages()).toHaveLength(5);
  });
});

describe("blocks", () => {
  const bytesOf = (message: OutboxMessage) =>
    message.body.length +
    headerBytes(message.id, message.output, { class: message.class, format: "array" }, false);

  test("a message at its time takes what fills its last block, and leaves what would begin another", () => {
    const { insert, compose, messages } = box();
    const all = [1_000, 1_500, 1_600, 1_700].map((ms) => entry(ms, "usual", { pad: 80 }));
    insert(...all);
    expect(compose(1_900)).toBe(2_000);
    // Two fill a block; the rest waits for its own time.
    expect(compose(2_000, { blockBytes: 300, maxMessageBytes: 3_000 })).toBe(2_600);
    expect(messages().map(idsOf)).toEqual([all.slice(0, 2).map(({ id }) => id)]);
    expect(bytesOf(messages()[0] as OutboxMessage)).toBeLessThanOrEqual(300);
  });

  test("many entries that wait fill whole blocks when the first of them is due", () => {
    const { insert, compose, messages } = box();
    insert(entry(1_000), ...Array.from({ length: 30 }, () => entry(1_900)));
    compose(2_000, { blockBytes: 500, maxMessageBytes: 100_000 });
    const [message] = messages();
    expect(messages()).toHaveLength(1);
    const bytes = bytesOf(message as OutboxMessage);
    expect(bytes % 500).toBeGreaterThan(500 - 80);
    expect(Math.ceil(bytes / 500)).toBeGreaterThan(3);
  });
});

describe("a daily budget", () => {
  const midnight = 20_000 * 86_400_000;
  const hour = 3_600_000;

  test("bounds what is composed in a day, whatever waits; alarms go all the same", () => {
    const one = box();
    const composer = new Composer(one.outbox);
    let blocks = 0;
    for (let atMs = 0; atMs < 24 * hour; atMs += hour / 4) {
      one.insert(...Array.from({ length: 20 }, () => entry(atMs)), entry(atMs, "usual", { kind: "alarm" }));
      composer.compose(
        atMs + 2_000,
        { ...settings, dailyBlocks: 240 },
        fullDemand,
        undefined,
        midnight + atMs,
      );
      for (const message of one.messages()) {
        if (message.class !== "alarm") blocks += Math.ceil((message.body.length + 45) / 200);
        one.outbox.remove(message.sequence);
      }
      // No hour takes what belongs to the rest of the day.
      expect(blocks).toBeLessThanOrEqual(10 + (230 * (atMs + hour / 4)) / (24 * hour) + 5);
    }
    expect(blocks).toBeGreaterThan(100);
    expect(one.counters.bill.blocks).toBeLessThanOrEqual(240 + 5);
    expect([...one.outbox.looseFrom(0, Number.MAX_SAFE_INTEGER)].length).toBeGreaterThan(0);
  });

  test("says when what waits may go on, and it does then", () => {
    const one = box();
    const composer = new Composer(one.outbox);
    const compose = (nowMs: number) =>
      composer.compose(
        nowMs,
        { ...settings, dailyBlocks: 24, backfillAfterMs: 1e12 },
        fullDemand,
        undefined,
        midnight + nowMs,
      );
    one.insert(...Array.from({ length: 40 }, () => entry(0)));
    const dueMs = compose(1_000) ?? 0;
    expect(dueMs).toBeGreaterThan(hour / 2);
    const before = one.counters.messages;
    expect(compose(dueMs - 60_000)).toBeGreaterThanOrEqual(dueMs - 1);
    expect(one.counters.messages).toBe(before);
    compose(dueMs + 1);
    expect(one.counters.messages).toBe(before + 1);
  });
});

describe("formats", () => {
  test.each([
    ["array", "application/json", /^\[\{.*\},\{.*\}\]$/],
    ["lines", "application/x-ndjson", /^\{[^\n]*\}\n\{[^\n]*\}\n$/],
    ["object", "application/json", /^\{[^\n]*\}$/],
  ] as const)("%s", (format, contentType, form) => {
    const { insert, compose, messages } = box();
    insert(entry(1_000), entry(1_000));
    compose(2_000, { format });
    expect(messages()).toHaveLength(format === "object" ? 2 : 1);
    for (const message of messages()) {
      expect(message.contentType).toBe(contentType);
      expect(plainOf(message)).toMatch(form);
    }
  });

  test("compressed messages stay below the limit, hold more, and are the same bytes after a restart", () => {
    const one = box();
    one.insert(...Array.from({ length: 400 }, (_, i) => entry(1_000, "usual", { pad: 20 + (i % 7) })));
    one.compose(2_000, { compression: "gzip" });
    const before = one.messages();
    expect(before.flatMap(idsOf)).toHaveLength(400);
    for (const message of before) {
      expect(message.contentEncoding).toBe("gzip");
      expect(message.body.length).toBeLessThanOrEqual(1_000);
    }
    expect(Math.max(...before.map((message) => plainOf(message).length))).toBeGreaterThan(1_500);
    one.reopen();
    expect(one.messages()).toEqual(before);
  });
});

type Step =
  | { readonly do: "insert"; readonly entries: readonly { source: string; alarm: boolean; pad: number }[] }
  | { readonly do: "compose"; readonly by: number; readonly isAway: boolean; readonly some: number }
  | { readonly do: "remove"; readonly which: number }
  | { readonly do: "reopen" };
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("insert" as const),
    entries: fc.array(
      fc.record({
        source: fc.constantFrom("low", "usual", "high"),
        alarm: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
        pad: fc.oneof(fc.nat(60), fc.nat(1_200)),
      }),
      { minLength: 1, maxLength: 8 },
    ),
  }),
  fc.record({
    do: fc.constant("compose" as const),
    by: fc.oneof(fc.nat(1_500), fc.nat(20_000)),
    isAway: fc.boolean(),
    some: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ do: fc.constant("remove" as const), which: fc.nat(5) }),
  fc.record({ do: fc.constant("reopen" as const) }),
);

test.each(["array", "lines"] as const)(
  "any sequence (%s): each entry in one message, in order within its lane and class, unchanged while it waits",
  (format) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const one = box();
        const made = new Map<string, { number: number; source: string; isAlarm: boolean }>();
        const seen = new Map<number, OutboxMessage>();
        let now = 0;
        let place = 1;
        const look = () => {
          for (const message of one.messages()) {
            const before = seen.get(message.sequence);
            // What else waits is no part of it.
            if (before) expect({ ...message, previous: before.previous }).toEqual(before);
            else seen.set(message.sequence, message);
          }
          const rows = one.database.prepare<[], { body: string }>("SELECT body FROM outbox").all();
          const { counters } = one;
          expect(counters.entries).toBe(rows.length);
          expect(counters.bytes).toBe(rows.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0));
          const loose = [...one.outbox.looseFrom(0, Number.MAX_SAFE_INTEGER)];
          const inLanes = Object.values(counters.lanes).reduce((sum, lane) => sum + lane.entries, 0);
          expect(inLanes).toBe(loose.length);
          const bytes = Object.values(counters.loose).reduce((sum, size) => sum + size, 0);
          expect(bytes).toBe(loose.reduce((sum, { size }) => sum + size, 0));
        };
        for (const doing of steps) {
          if (doing.do === "insert") {
            for (const { source, alarm, pad } of doing.entries) {
              const added = entry(now, source, { pad, kind: alarm ? "alarm" : "window" });
              one.insert(added);
              made.set(added.id, { number: place++, source, isAlarm: alarm });
            }
          } else if (doing.do === "compose") {
            now += doing.by;
            const demand = { alarm: doing.some, live: doing.some, backfill: doing.some };
            one.compose(now, { format }, doing.isAway ? noDemand : demand);
            for (const name of ["alarm", "live", "backfill"] as const)
              if (!doing.isAway) expect(one.outbox.composed.countOf(name)).toBeLessThanOrEqual(64);
          } else if (doing.do === "remove") {
            const message = one.messages()[doing.which];
            if (message) one.outbox.remove(message.sequence);
          } else one.reopen();
          look();
        }
        // Until nothing is left.
        for (let round = 0; one.counters.entries > 0 && round < 1_000; round++) {
          now += 1_000;
          one.compose(now, { format });
          look();
          for (const { sequence } of one.messages()) one.outbox.remove(sequence);
        }
        expect(one.counters).toMatchObject({ entries: 0, messages: 0, bytes: 0 });
        const last = new Map<string, number>();
        const arrived = new Set<string>();
        for (const message of [...seen.values()].sort((a, b) => a.sequence - b.sequence)) {
          const text = plainOf(message);
          const entries: { id: string; backfill?: true }[] =
            format === "array"
              ? JSON.parse(text)
              : text
                  .trim()
                  .split("\n")
                  .map((line) => JSON.parse(line));
          for (const { id, backfill } of entries) {
            const of = made.get(id);
            expect(arrived.has(id)).toBe(false);
            arrived.add(id);
            const stream = `${message.class} ${message.class === "alarm" ? "" : of?.source}`;
            expect(of?.number).toBeGreaterThan(last.get(stream) ?? 0);
            last.set(stream, of?.number ?? 0);
            expect(of?.isAlarm).toBe(message.class === "alarm");
            expect(backfill === true).toBe(message.class === "backfill");
          }
          if (entries.length > 1) {
            const bytes =
              message.body.length +
              headerBytes(message.id, message.output, { class: message.class, format }, false);
            expect(bytes).toBeLessThanOrEqual(settings.maxMessageBytes);
          }
        }
        expect(arrived.size).toBe(made.size);
      }),
      { numRuns: 100 },
    );
  },
);

test("an entry's number tells its lane and its place", () => {
  const one = box();
  one.insert(entry(1, "low"), entry(1, "usual"), entry(1, "high"));
  const numbers = one.database.prepare<[], number>("SELECT entry FROM outbox").pluck().all();
  expect(numbers.map(placeOf).sort()).toEqual([1, 2, 3]);
  expect(new Set(numbers.map(laneOf)).size).toBe(3);
});

test("a missing row is noticed when its lane is read to its end", () => {
  const one = box();
  one.insert(entry(1_000), entry(1_000), entry(1_000));
  one.database.exec("DELETE FROM outbox WHERE entry = (SELECT max(entry) FROM outbox)");
  expect(() => one.compose(1_500)).toThrow(/3 entries wait in the outbox, and 2 are there/);
});
