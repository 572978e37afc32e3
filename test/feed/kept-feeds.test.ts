/** What of the feeds of models is kept: bounded, and the same across restarts and changes. */
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { Feed } from "../../src/feed/pending.ts";
import { imbalances } from "../../src/ledger/ledger.ts";
import { Pipeline } from "../../src/pipeline.ts";
import { jsonSource } from "../config/pipelines.ts";
import { batchOf, tick } from "../journal/batches.ts";
import { configuration, ownTime, reading, t0 } from "../support/running-pipeline.ts";
import { fed, feeding, model, ofValues, ofWindow, result, values } from "./feeding.ts";

test("of those that wait too long the first and the newest are kept, and the others counted", () => {
  const box = feeding(fed(model(ofValues(1, 1, "x"))));
  const feeds = box.feed(...Array.from({ length: 1_028 }, (_, i) => values(i, { x: i })));
  // The model is at the first: what it gives is not to be lost whenever there is something new.
  const kept = [0, ...Array.from({ length: 1_023 }, (_, i) => i + 5)];
  expect(feeds.map((feed) => feed.values[0])).toEqual(kept);
  expect(box.discards()).toEqual({ notScored: 4 });
  const [first, dropped, ...others] = feeds;
  if (!first || !dropped) throw new Error("nothing was fed");
  box.pipeline.apply(batchOf([values(1_030, { x: 1_030 })]));
  const [news] = box.pipeline.feeds.takeNews();
  expect(news?.feeds).toMatchObject([{ values: [1_030] }]);
  expect(news?.waiting).toEqual([first, ...others, news?.feeds[0]].map((feed) => feed?.id));
  box.feed(result(1_040, dropped, 1), result(1_050, first, 1));
  expect(box.account("m")).toMatchObject({ ingested: 1, frameDiscards: { duplicate: 1 } });
  // Large ones fill less of the room by number.
  const large = feeding(fed(model(ofValues(16_384, 1, "x"))));
  const many = large.feed(...Array.from({ length: 16_384 + 9 }, (_, i) => values(i % 900, { x: i })));
  expect(many).toHaveLength(3);
});

test("a device that is fed more than others pushes out its own", () => {
  const box = feeding(fed(model(ofValues(1, 1, "x"))));
  const few = Array.from({ length: 20 }, (_, i) => values(i, { x: i }, `d${i}`));
  const waiting = box.feed(
    ...few,
    ...Array.from({ length: 1_100 }, (_, i) => values(20 + i, { x: i }, "busy")),
  );
  const devices = waiting.map(({ device }) => device);
  expect(devices.filter((device) => device !== "busy")).toEqual(few.map((_, i) => `d${i}`));
  expect(devices).toHaveLength(1_024);
});

test("other inputs begin anew; a change of anything else lets feeds wait and readings stay", () => {
  const inputs = ofValues(2, 1, "x");
  const box = feeding(fed(model(inputs)));
  const [feed] = box.feed(values(1, { x: 1 }), values(2, { x: 2 }));
  const again = box.feed(
    fed(
      model(inputs, { outputs: { score: { max: 1 } } }),
      { calibrate: { c: { device: "z", channels: {} } } },
      3,
    ),
    values(4, { x: 3 }),
  );
  expect(again).toMatchObject([{ values: [2, 3] }]);
  if (!feed) throw new Error("nothing was fed");
  box.feed(result(5, feed, 0));
  expect(box.discards()).toEqual({});
  expect(box.feed(fed(model(ofValues(2, 1, "x", "y")), {}, 6), values(7, { x: 3, y: 1 }))).toEqual([]);
  expect(box.discards()).toEqual({ notScored: 1 });
  box.feed(configuration(8, { sources: { s: jsonSource("s") } }), result(9, feed, 0));
  expect(box.discards()).toEqual({ notScored: 1, unknownSource: 1 });
  expect(
    imbalances(
      Object.fromEntries([...box.ledger].map(([name, book]) => [name, { ...book, held: book.ingested }])),
    ),
  ).toEqual([]);
});

test("readings of the devices that were not heard for longest are forgotten when there are too many", () => {
  // 15 devices of 16,384 numbers are all that is kept, with what else they take.
  const box = feeding(fed(model(ofValues(4_096, 1, "a", "b", "c", "d"), { missing: 0 })));
  const devices = Array.from({ length: 16 }, (_, i) => `d${i}`);
  const hear = (...heard: string[]) => box.feed(...heard.map((device) => values(1, { a: 1 }, device)));
  hear(...devices.slice(0, 15), "d0", "d15");
  expect(box.account("m")?.notes).toEqual({ forgottenDevice: 1 });
  const rings = box.pipeline.snapshot().feeds?.sources[0]?.rings;
  expect(rings?.map(([device]) => device)).toEqual([...devices.slice(2, 15), "d0", "d15"]);
});

test("devices that are kept little of are bounded, too", () => {
  const box = feeding(fed(model(ofValues(1, 9, "x"))));
  box.feed(...Array.from({ length: 4_100 }, (_, i) => values(1, { x: 1 }, `d${i}`)));
  expect(box.pipeline.snapshot().feeds?.sources[0]?.rings).toHaveLength(4_032);
  expect(box.account("m")?.notes).toEqual({ forgottenDevice: 68 });
});

test("what models are fed with takes a sixteenth of a small store, also when there are more of them later", () => {
  const maxBytes = 4_194_304;
  const inputs = ofValues(8, 1, "x", "y");
  const sections = (...names: string[]): JsonObject => ({
    store: { maxBytes },
    sources: {
      s: jsonSource("s", { device: { field: "id" } }),
      ...Object.fromEntries(names.map((name) => [name, model(inputs)])),
    },
  });
  const box = feeding(fed({}, sections("m")));
  const number = (i: number) => -0.123_456_789_012_345_6 / (1 + i);
  const hear = (count: number) =>
    box.feed(
      ...Array.from({ length: count }, (_, i) =>
        values(1, { x: number(i), y: number(i) }, `a-device-with-a-name-${Math.floor(i / 8) % 200}`),
      ),
    );
  const bytes = () => JSON.stringify(box.pipeline.snapshot().feeds).length;
  hear(1_600);
  const alone = bytes();
  expect(alone).toBeGreaterThan(maxBytes / 64);
  expect(alone).toBeLessThan(maxBytes / 16);
  const waiting = () => box.pipeline.snapshot().feeds?.sources[0]?.pending;
  const before = waiting();
  box.feed(fed({}, sections("m", "n"), 2));
  // Others are no reason to begin anew.
  expect(waiting()).toEqual(before);
  expect(bytes()).toBeLessThan((3 / 4) * alone);
  hear(1_600);
  expect(bytes()).toBeLessThan(maxBytes / 16);
});

test("a restart at any moment changes no feed: each is told until its result came, with the same numbers", () => {
  const sources = {
    s: jsonSource("s", { device: { field: "id" } }),
    m: model(ofValues(3, 2, "x", "y")),
    w: model(ofWindow("x.mean", "y.stddev")),
  };
  const ranges = { validate: { v: { channels: { x: { max: 100 } } } } };
  /** Batches from the readings; results of some feeds come in later ones. */
  const run = (cut: number) => {
    let pipeline = new Pipeline("store");
    pipeline.apply(batchOf([fed({}, { sources, ...ranges })]));
    const seen = new Map<number, Feed>();
    for (let n = 0; n < 24; n++) {
      const at = n * 150;
      const batch = [
        values(at, { x: n === 7 ? 1_000 : n, ...(n === 15 ? {} : { y: -n }) }, `d${n % 2}`),
        values(at + 10, { x: n, y: n * n }, `d${n % 2}`),
        tick(t0 + at + 20),
      ];
      const waiting = pipeline.snapshot().feeds?.sources.find(({ source }) => source === "m")?.pending ?? [];
      if (waiting[0] && n % 3 === 0) batch.push(result(at + 30, waiting[0], n));
      pipeline.apply(batchOf(batch));
      if (n === cut) {
        const snapshot = JSON.parse(JSON.stringify(pipeline.snapshot()));
        pipeline = new Pipeline("store");
        pipeline.restore(snapshot);
        const again = pipeline.feeds.takeNews().flatMap(({ feeds }) => feeds);
        const all = snapshot.feeds.sources.flatMap(({ pending }: { pending: Feed[] }) => pending);
        expect(again).toEqual(all);
        for (const feed of again) seen.set(feed.id, feed);
      }
      for (const { feeds } of pipeline.feeds.takeNews()) for (const feed of feeds) seen.set(feed.id, feed);
    }
    return { seen: [...seen.values()], snapshot: JSON.parse(JSON.stringify(pipeline.snapshot().feeds)) };
  };
  const whole = run(-1);
  expect(whole.seen.length).toBeGreaterThan(15);
  for (let cut = 0; cut < 24; cut++) expect(run(cut)).toEqual(whole);
});

test("what is fed begins anew when its readings change between their own times and those of receipt", () => {
  const inputs = ofValues(1, 1, "x");
  const timed = (at: number, more: JsonObject) =>
    fed({}, { sources: { s: jsonSource("s", more), m: model(inputs) } }, at);
  const box = feeding(timed(0, ownTime));
  expect(box.feed(reading(1, { ts: t0 + 1, x: 1 }))).toHaveLength(1);
  box.feed(timed(2, {}));
  expect(box.discards()).toEqual({ notScored: 1 });
  expect(box.pipeline.snapshot().feeds?.sources[0]?.pending).toEqual([]);
});
