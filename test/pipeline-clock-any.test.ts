/** Any steps of the clock, boots and changes of what is known of it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { balances, imbalances } from "../src/ledger/ledger.ts";
import { anyEvents, journalOf, sizes, stepEvents } from "./support/clock-events.ts";
import { running, t0, told } from "./support/running-pipeline.ts";

describe("any steps", () => {
  test("leave windows contiguous: each reading is in one entry, none closes early, each tells a time that held", () => {
    fc.assert(
      fc.property(stepEvents, (events) => {
        const { entries, at, wrong } = journalOf(events);
        const { feed, account, pipeline } = running();
        const bodies = entries.flatMap((entry) => {
          const stamp = "monotonicMs" in entry ? (entry.monotonicMs ?? 0) - 1_000 : 0;
          return told(feed(entry)).map((body) => ({ ...body, toldMs: stamp }));
        });
        const ids = bodies.map((b) => `${b.id} ${b.revision}`);
        expect(new Set(ids).size).toBe(ids.length);
        expect([account()?.discards ?? {}, account("own")?.discards ?? {}]).toEqual([{}, {}]);
        expect(account("own")?.frameDiscards ?? {}).toEqual({});
        expect(pipeline.held()).toEqual({});
        for (const [window, sizeMs] of Object.entries(sizes)) {
          let next = 0;
          let beforeMs = Number.NEGATIVE_INFINITY;
          for (const body of bodies.filter((b) => b.window === window && b.source === "s")) {
            const { first, last } = body.channels.t;
            expect([first, last - first + 1]).toEqual([next, body.count]);
            next = last + 1;
            const firstMs = at[first] ?? Number.NaN;
            const lastMs = at[last] ?? Number.NaN;
            const [startMs, endMs] = [Date.parse(body.windowStart) - t0, Date.parse(body.windowEnd) - t0];
            expect([endMs - startMs, (startMs + t0) % sizeMs]).toEqual([sizeMs, 0]);
            // By some wrongness of the clock, of a moment in it or not long before, it lies where its readings are.
            const fits = wrong
              .filter(({ fromMs, ms }, i) => {
                const untilMs = wrong[i + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
                const [beginMs, overMs] = [startMs - ms, endMs - ms];
                return (
                  fromMs <= firstMs &&
                  untilMs >= beginMs - 4_000 &&
                  beginMs <= firstMs &&
                  lastMs < overMs &&
                  overMs <= body.toldMs &&
                  // Only one that says so begins in the middle, and none reaches into the one before.
                  (body.partial === "clock" || beginMs >= beforeMs)
                );
              })
              .sort((a, b) => b.ms - a.ms)[0];
            expect(fits, JSON.stringify({ body, firstMs, lastMs, beforeMs, wrong })).toBeDefined();
            beforeMs = endMs - (fits?.ms ?? 0);
            expect(beforeMs).toBeGreaterThan(firstMs);
          }
          expect(next).toBe(at.length);
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe("any steps, boots and changes of the clock's quality", () => {
  test("leave every reading of a source stamped on receipt in one entry, once, and the books in order", () => {
    fc.assert(
      fc.property(anyEvents, (events) => {
        const { entries, at } = journalOf(events);
        const { feed, ledger, pipeline, account } = running();
        const ids = new Set<string>();
        let count = 0;
        let next = 0;
        for (const entry of entries) {
          for (const one of feed(entry)) {
            const [body] = told([one]);
            const id = `${body.id} ${body.revision}`;
            expect(ids.has(id)).toBe(false);
            ids.add(id);
            for (const [source, n] of Object.entries(one.accounts)) {
              const books = ledger.get(source);
              if (books) books.published += n;
            }
            if (body.source !== "s" || body.window !== "w") continue;
            count += body.count;
            expect(body.channels.t.first).toBe(next);
            next = body.channels.t.last + 1;
          }
          expect(imbalances(balances(ledger, pipeline.held()))).toEqual([]);
        }
        expect(account()?.discards ?? {}).toEqual({});
        expect([count, account()?.frames ?? 0, pipeline.time.heldFrames]).toEqual([at.length, at.length, 0]);
      }),
      { numRuns: 400 },
    );
  });

  test("give the same entries with a snapshot taken and restored anywhere", () => {
    fc.assert(
      fc.property(anyEvents, fc.nat(80), (events, cut) => {
        const { entries } = journalOf(events);
        const before = running();
        before.feed(...entries.slice(0, cut));
        const after = running();
        after.pipeline.restore(JSON.parse(JSON.stringify(before.pipeline.snapshot())));
        expect(after.pipeline.time.heldFrames).toBe(before.pipeline.time.heldFrames);
        expect(after.pipeline.config).toEqual(before.pipeline.config);
        const rest = entries.slice(cut);
        expect(after.feed(...rest)).toEqual(before.feed(...rest));
        expect(after.pipeline.wakeAtMs()).toBe(before.pipeline.wakeAtMs());
      }),
      { numRuns: 400 },
    );
  });
});
