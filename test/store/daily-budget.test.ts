/** A day on a budget: alarms go, raw readings are given up, windows are merged, and the books add up. */
import { expect, test } from "vitest";
import { imbalances } from "../../src/ledger/ledger.ts";
import type { EntryBody } from "../../src/outbox/entry-schema.ts";
import { jsonSource } from "../config/pipelines.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { tick } from "../journal/batches.ts";
import { commitOf, compose, configuration, messagesOf, openStore, reading, t0 } from "./stores.ts";

const step = 300_000;
const steps = 288;
const hour = 12 * step;
const dailyBlocks = 120;

test("a day's blocks stay within the budget; what is left out is counted and told, alarms and windows are not", () => {
  const { store } = openStore(temporaryFolder());
  const sources = { s: jsonSource("s", { readings: "all" }) };
  const validate = { v: { channels: { t: { min: 0, max: 100 } } } };
  const sections = { sources, validate, windows: { five: { sizeMs: step } } };
  const settings = { ...compose, maxDelayMs: 5_000, blockBytes: 512, backfillAfterMs: 1e9, dailyBlocks };
  store.commit(commitOf([configuration(0, sections)], t0, { compose: settings }));
  const bodies: EntryBody[] = [];
  let paid = 0;
  const take = (atMs: number) => {
    const messages = messagesOf(store);
    for (const { body, class: of } of messages) {
      const entries = JSON.parse(body) as EntryBody[];
      bodies.push(...entries);
      if (of !== "alarm") paid += Math.ceil(body.length / 512);
    }
    const acknowledged = messages.map(({ sequence }) => sequence);
    return store.commit(commitOf([], t0 + atMs, { acknowledged, compose: settings }));
  };
  for (let atMs = 0; atMs < steps * step; atMs += step) {
    // Once an hour a value is out of its range.
    const t = atMs % hour === 0 ? 999 : 20;
    const readings = [0, 100_000, 200_000].map((ms) => reading(atMs + ms, { t: ms === 0 ? t : 20 }));
    store.commit(
      commitOf([...readings, tick(t0 + atMs + 299_000)], t0 + atMs + 299_000, { compose: settings }),
    );
    expect(imbalances(take(atMs + 299_000).books)).toEqual([]);
  }
  expect(paid).toBeLessThanOrEqual(dailyBlocks + 4);
  expect(paid).toBeGreaterThan(dailyBlocks / 3);
  const { bill, books } = store.status();
  expect(bill.blocks).toBeGreaterThanOrEqual(paid);
  const kinds = (kind: EntryBody["kind"]) => bodies.filter((body) => body.kind === kind);
  // Raised and cleared, each hour.
  expect(kinds("alarm")).toHaveLength(48);
  const givenUp = books.s?.discards.budget ?? 0;
  expect(givenUp).toBeGreaterThan(400);

  // With the new day there is room again.
  for (let atMs = steps * step; store.status().outbox.entries > 0; atMs += step) take(atMs + 299_000);
  const gaps = bodies.filter((body) => body.kind === "gap" && body.reason === "budget");
  expect(gaps.reduce((sum, gap) => sum + (gap.kind === "gap" ? Number(gap.count) : 0), 0)).toBe(givenUp);
  // Windows account for nothing here, and each is told, some merged: none of the day is missing.
  const windows = bodies.flatMap((body) => (body.kind === "window" ? [body] : []));
  expect(windows.some(({ thinned }) => thinned !== undefined)).toBe(true);
  expect(windows.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(3 * steps - 3);
  expect(kinds("reading").length + givenUp).toBe(3 * steps);
  expect(imbalances(store.audit())).toEqual([]);
});
