import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { PublishSettings } from "../../src/publish/publisher.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { randomFrom } from "../support/random.ts";
import { one, running } from "./running-publisher.ts";

describe("a message at which the hub ends the connection", () => {
  /** A hub that ends the connection at a message, and takes the others, as long as it does at all. */
  async function against(
    r: ReturnType<typeof running>,
    bears: (sequence: number) => boolean,
    rounds: number,
  ) {
    for (let round = 0; round < rounds; round++) {
      const next = r.sent[0];
      if (next !== undefined && bears(next)) await r.endOf(next, "confirm");
      else await r.loseAll();
      await r.clock.advance(20_000);
      await setImmediate();
    }
  }
  /** The same, while a new message comes with every tenth round. */
  async function onward(
    r: ReturnType<typeof running>,
    bears: (sequence: number) => boolean,
    rounds: number,
    from: number,
  ) {
    for (let round = 0; round < rounds; round++) {
      if (round % 10 === 0) {
        r.put(from + round / 10);
        r.publisher.wake();
        await setImmediate();
      }
      await against(r, bears, 1);
    }
  }
  const answers = (r: ReturnType<typeof running>) => r.events.filter((event) => !event.startsWith("send"));
  const four: PublishSettings = { ...one, maxInFlight: 4 };

  test("is rejected when others pass, and blocks nothing behind it", async () => {
    const r = running(four, new ManualClock());
    r.put(1, 2, 3, 4);
    r.publisher.start();
    await setImmediate();
    await onward(r, (sequence) => sequence !== 2, 200, 5);
    expect(answers(r).slice(0, 3)).toEqual(["acknowledge 1", "acknowledge 3", "acknowledge 4"]);
    expect(answers(r).filter((event) => event.startsWith("reject"))).toEqual(["reject 2"]);
    expect(answers(r)).toContain("acknowledge 24");
    // Others were not repeated for it again and again: it was tried alone.
    expect(r.events.filter((event) => event === "send m4").length).toBeLessThan(6);
  });

  test.each([
    ["two", [3, 8]],
    ["three", [3, 7, 11]],
    ["two in a row", [3, 4]],
    ["seven in a row", [3, 4, 5, 6, 7, 8, 9]],
  ])("%s are rejected, and block nothing", async (_, bad) => {
    for (const maxInFlight of [1, 4, 32]) {
      const r = running({ ...one, maxInFlight }, new ManualClock());
      r.put(...Array.from({ length: 12 }, (_none, i) => i + 1));
      r.publisher.start();
      await setImmediate();
      await onward(r, (sequence) => !bad.includes(sequence), 1_500, 13);
      const rejected = answers(r).filter((event) => event.startsWith("reject"));
      expect(new Set(rejected)).toEqual(new Set(bad.map((sequence) => `reject ${sequence}`)));
      // All others, those behind the bad ones long before these are given up.
      expect(new Set(answers(r)).size).toBe(12 + 150);
      expect(answers(r).indexOf("acknowledge 12")).toBeLessThan(answers(r).indexOf(rejected[0] ?? ""));
      // Each connection that ends costs a repeat or two, not a flood.
      expect(r.events.length).toBeLessThan(3_000);
    }
  });

  test("is kept when nothing passes, for however long", async () => {
    const r = running(four, new ManualClock());
    r.put(1, 2, 3);
    r.publisher.start();
    await setImmediate();
    await against(r, () => false, 60);
    expect(answers(r)).toEqual([]);
    await against(r, () => true, 20);
    expect(answers(r).toSorted()).toEqual(["acknowledge 1", "acknowledge 2", "acknowledge 3"]);
  });

  test("is sent again and again when there is no other, and rejected when another came and passed", async () => {
    const r = running(four, new ManualClock());
    r.put(1);
    r.publisher.start();
    await setImmediate();
    await against(r, () => false, 30);
    expect(r.events.length).toBeGreaterThan(10);
    r.put(2);
    r.publisher.wake();
    await against(r, (sequence) => sequence === 2, 150);
    // One that passed long ago says nothing of the connections since.
    expect(answers(r)).toEqual(["acknowledge 2"]);
    await onward(r, (sequence) => sequence !== 1, 150, 3);
    expect(answers(r)).toContain("reject 1");
    expect(answers(r)).toContain("acknowledge 17");
  });

  test("goes at once to another hub, and once the store was opened again, which know nothing of it", async () => {
    for (const anew of ["otherHub", "restart"] as const) {
      const r = running(four, new ManualClock());
      r.put(1, 2, 3, 4);
      r.publisher.start();
      await setImmediate();
      for (let round = 0; !r.events.includes("acknowledge 4"); round++) {
        expect(round).toBeLessThan(100);
        await against(r, (sequence) => sequence !== 2, 1);
      }
      expect(r.sent).toEqual([]);
      r.publisher[anew]();
      await setImmediate();
      expect(r.sent).toContain(2);
      await r.endOf(2, "confirm");
      expect(r.events).toContain("acknowledge 2");
      const stopped = r.publisher.stop();
      await r.loseAll();
      await stopped;
    }
  });

  test("is kept when it was the line, and it passes in the end", async () => {
    const r = running(four, new ManualClock());
    r.put(1, 2, 3);
    r.publisher.start();
    await setImmediate();
    let ends = 0;
    await against(r, (sequence) => sequence !== 1 || ++ends > 8, 150);
    expect(answers(r).toSorted()).toEqual(["acknowledge 1", "acknowledge 2", "acknowledge 3"]);
  });

  test("is no message at all on a line that breaks more often than not", async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const random = randomFrom(seed);
      const r = running(four, new ManualClock());
      r.publisher.start();
      await onward(r, () => random() < 0.3, 1_000, 1);
      await against(r, () => true, 300);
      expect(answers(r).filter((event) => event.startsWith("reject"))).toEqual([]);
      expect(new Set(answers(r)).size).toBe(100);
    }
  });
});
