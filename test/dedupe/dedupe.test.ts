import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import { imbalances, type Ledger, mergeLedger } from "../../src/ledger/ledger.ts";
import { Pipeline } from "../../src/pipeline.ts";
import type { PipelineSnapshot } from "../../src/pipeline-contract.ts";
import { jsonSource } from "../config/pipelines.ts";
import { batchOf, frame, tick } from "../journal/batches.ts";
import { configuration, ownTime, reading, running, t0, told } from "../support/running-pipeline.ts";

const deduped = (dedupe: JsonObject, more: JsonObject = {}) => ({
  sources: { s: jsonSource("s", { device: { field: "id" }, dedupe, ...more }) },
});
const bySequence = { by: "sequence", field: "seq" };

/** A pipeline with that dedupe, and a shorthand for what its device says. */
function pipeline(dedupe: JsonObject, more: JsonObject = {}) {
  const made = running();
  made.feed(configuration(0, deduped(dedupe, more)));
  let at = 0;
  const say = (fields: JsonObject) => made.feed(reading(++at, { id: "d", t: 1, ...fields }));
  const configure = (next: JsonObject, nextMore: JsonObject = {}) =>
    made.feed(configuration(++at, deduped(next, nextMore)));
  return {
    ...made,
    say,
    configure,
    taken: () => made.account()?.ingested ?? 0,
    duplicates: () => made.account()?.discards.duplicate ?? 0,
  };
}

/** What a restart keeps: it has gone through JSON. */
const stored = (snapshot: PipelineSnapshot) => JSON.parse(JSON.stringify(snapshot)) as PipelineSnapshot;

test("a sequence number that a device repeats is a duplicate reading; another device's is none", () => {
  const { say, account, feed } = pipeline(bySequence);
  say({ seq: 1, t: 10 });
  say({ seq: 1, t: 99 });
  say({ seq: 2, t: 20 });
  say({ seq: 1, id: "e" });
  expect(account()).toMatchObject({ frames: 4, decoded: 4, ingested: 4, discards: { duplicate: 1 } });
  const [entry] = told(feed(tick(t0 + 1_000)));
  expect(entry).toMatchObject({ device: "d", count: 2, channels: { t: { mean: 15 } } });
  expect(Object.keys(entry.channels)).toEqual(["t"]);
});

test("the first reading is taken and its repeat is not, when both stand in one frame", () => {
  const { feed, account } = pipeline(bySequence);
  feed(frame("s", t0 + 1, '[{"id":"d","seq":1,"t":1},{"id":"d","seq":1,"t":1}]'));
  expect(account()).toMatchObject({ frames: 1, ingested: 2, discards: { duplicate: 1 } });
});

test("a time that a device repeats is a duplicate", () => {
  const { say, duplicates } = pipeline({ by: "timestamp" }, ownTime);
  for (const ts of [t0, t0 + 1, t0]) say({ ts });
  say({ ts: t0, id: "e" });
  expect(duplicates()).toBe(1);
});

test("a key is unique whatever the device", () => {
  const { say, duplicates } = pipeline({ by: "key", field: "uuid" });
  for (const uuid of ["a", "b", "a"]) say({ uuid });
  say({ uuid: "b", id: "e" });
  say({ uuid: "x".repeat(10_000) });
  say({ uuid: "x".repeat(10_000) });
  say({ uuid: `${"x".repeat(9_999)}y` });
  expect(duplicates()).toBe(3);
});

test("a key may name the device as well", () => {
  const { say, account } = pipeline({ by: "key", field: "id" });
  say({ id: "a" });
  say({ id: "b" });
  say({ id: "a" });
  expect(account()).toMatchObject({ ingested: 3, discards: { duplicate: 1 }, frameDiscards: {} });
});

test("the same bytes of the same topic are a duplicate frame, and are not decoded", () => {
  const { feed, account } = pipeline({ by: "payload" });
  for (const topic of ["a", "a", "b", "a"]) feed(frame("s", t0 + 1, '{"id":"d","t":1}', topic));
  expect(account()).toMatchObject({ frames: 4, decoded: 2, ingested: 2, frameDiscards: { duplicate: 2 } });
  expect(account()?.discards).toEqual({});
});

test("a reading without the field is new, and counted as such", () => {
  const { say, account } = pipeline(bySequence);
  for (const seq of [null, {}, true, ""]) say({ seq });
  say({});
  expect(account()).toMatchObject({ ingested: 5, notes: { noIdentity: 5 } });
  expect(account()?.discards).toEqual({});
});

test("without dedupe nothing is a duplicate", () => {
  const { say, taken, duplicates } = pipeline({ by: "none" });
  for (let i = 0; i < 3; i++) say({ seq: 1 });
  expect([taken(), duplicates()]).toEqual([3, 0]);
});

test("a repeat that comes when it is no longer remembered is new", () => {
  const { say, duplicates } = pipeline({ ...bySequence, remembered: 3 });
  for (const seq of [1, 2, 3, 1, 1]) say({ seq });
  expect(duplicates()).toBe(1);
});

test("a device that counts from 0 again and again, in fewer steps than are remembered, is not silenced for ever", () => {
  const { say, taken, duplicates } = pipeline({ ...bySequence, remembered: 100 });
  for (let i = 0; i < 4_000; i++) say({ seq: i % 40 });
  expect(taken()).toBe(4_000);
  expect(duplicates()).toBeLessThan(3_000);
});

describe("a change of configuration", () => {
  const repeats = (change: (it: ReturnType<typeof pipeline>) => void): number => {
    const it = pipeline({ ...bySequence, remembered: 4 });
    for (const seq of [1, 2, 3, 4]) it.say({ seq, other: seq });
    change(it);
    for (const seq of [1, 2, 3, 4]) it.say({ seq, other: seq });
    return it.duplicates();
  };
  test.each([
    ["of something else keeps what is remembered", { ...bySequence, remembered: 4 }, { intervalMs: 100 }, 4],
    ["that remembers more keeps it all", { ...bySequence, remembered: 1_000 }, {}, 4],
    ["that remembers less keeps the newest", { ...bySequence, remembered: 2 }, {}, 0],
    ["of the field forgets", { by: "sequence", field: "other" }, {}, 0],
    ["of the criterion forgets", { by: "key", field: "seq" }, {}, 0],
  ])("%s", (_, dedupe, more, expected) => {
    expect(repeats((it) => it.configure(dedupe, more))).toBe(expected);
  });
  test("that takes the source away forgets", () => {
    const without = (it: ReturnType<typeof pipeline>) => {
      it.feed(configuration(50, { sources: {} }));
      it.configure({ ...bySequence, remembered: 4 });
    };
    expect(repeats(without)).toBe(0);
  });
});

test("less memory keeps the newest ones", () => {
  const it = pipeline({ ...bySequence, remembered: 10 });
  for (const seq of [1, 2, 3, 4]) it.say({ seq });
  it.configure({ ...bySequence, remembered: 2 });
  for (const seq of [4, 4]) it.say({ seq });
  expect(it.duplicates()).toBe(2);
});

test("after a restart the oldest are forgotten first, as without it", () => {
  const it = pipeline({ ...bySequence, remembered: 3 });
  for (const seq of [1, 2, 3, 4]) it.say({ seq });
  const after = new Pipeline("store");
  after.restore(stored(it.pipeline.snapshot()));
  const { ledger } = after.apply(
    batchOf([5, 3, 4, 2].map((seq, i) => reading(10 + i, { id: "d", seq, t: 1 }))),
  );
  expect(ledger.get("s")?.discards).toEqual({ duplicate: 2 });
});

test("a snapshot of a version that knew no dedupe is taken as nothing remembered", () => {
  const { pipeline: before, say } = pipeline(bySequence);
  say({ seq: 1 });
  const { dedupe: _, config, ...rest } = stored(before.snapshot());
  if (!config) throw new Error("there is a configuration");
  const { dedupe: __, ...source } = config.sources.s ?? {};
  const old = { ...rest, config: { ...config, sources: { s: source } } } as unknown as PipelineSnapshot;
  const after = new Pipeline("store");
  after.restore(old);
  const { ledger } = after.apply(batchOf([reading(5, { id: "d", seq: 1, t: 1 })]));
  expect(ledger.get("s")).toMatchObject({ ingested: 1, discards: {} });
});

const criteria: [JsonObject, JsonObject?][] = [
  [bySequence],
  [{ by: "timestamp" }, ownTime],
  [{ by: "payload" }],
  [{ by: "key", field: "seq" }],
  [{ by: "none" }],
];
const step = fc.record({
  id: fc.constantFrom("d", "e"),
  seq: fc.integer({ min: 0, max: 12 }),
  topic: fc.constantFrom("a", "b"),
  garbage: fc.boolean(),
});

test.each(criteria)(
  "%j: in = out + discarded, and a restart in the middle changes nothing",
  (criterion, more = {}) => {
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 20, maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(20),
        fc.integer({ min: 10, max: 60 }),
        (steps, remembered, snapshotAt, killAt) => {
          const dedupe = criterion.by === "none" ? criterion : { ...criterion, remembered };
          const entries = [
            configuration(0, deduped(dedupe, more)),
            ...steps.map(({ id, seq, topic, garbage }, i) =>
              frame("s", t0 + i, garbage ? "{" : JSON.stringify({ id, seq, ts: t0 + seq, t: seq }), topic),
            ),
            tick(t0 + 10_000),
          ];
          const run = (restarts: boolean) => {
            const ledger: Ledger = new Map();
            const out: string[] = [];
            let pipeline = new Pipeline("store");
            let kept: { snapshot: PipelineSnapshot; after: typeof entries } | undefined;
            for (const [i, entry] of entries.entries()) {
              const output = pipeline.apply(batchOf([entry]));
              mergeLedger(ledger, output.ledger);
              out.push(...output.entries.map(({ body }) => body));
              kept?.after.push(entry);
              if (restarts && i === snapshotAt) kept = { snapshot: stored(pipeline.snapshot()), after: [] };
              if (restarts && i === killAt && kept) {
                pipeline = new Pipeline("store");
                pipeline.restore(kept.snapshot);
                for (const again of kept.after) pipeline.apply(batchOf([again]));
              }
            }
            return { ledger, out, dedupe: pipeline.snapshot().dedupe };
          };
          const straight = run(false);
          expect(run(true)).toEqual(straight);
          const account = straight.ledger.get("s");
          const published = straight.out.reduce((sum, body) => sum + JSON.parse(body).count, 0);
          if (account) expect(imbalances({ s: { ...account, published, held: 0 } })).toEqual([]);
          expect(account?.frames ?? 0).toBe(steps.length);
          for (const keys of Object.values(straight.dedupe ?? {}))
            expect(keys.length).toBeLessThanOrEqual(remembered);
        },
      ),
    );
  },
);
