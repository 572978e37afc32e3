import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { PublishSettings } from "../../src/publish/publisher.ts";
import { ManualClock } from "../core/manual-clock.ts";
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
  const four: PublishSettings = { ...one, maxInFlight: 4 };

  test("is rejected when others pass, and blocks nothing behind it", async () => {
    const r = running(four, new ManualClock());
    r.put(1, 2, 3, 4);
    r.publisher.start();
    await setImmediate();
    await against(r, (sequence) => sequence !== 2, 150);
    expect(r.events.filter((event) => !event.startsWith("send"))).toEqual([
      "acknowledge 1",
      "acknowledge 3",
      "acknowledge 4",
      "reject 2",
    ]);
    // Others were not repeated for it again and again: it was tried alone.
    expect(r.events.filter((event) => event === "send m4").length).toBeLessThan(6);
  });

  test("is kept when nothing passes, for however long", async () => {
    const r = running(four, new ManualClock());
    r.put(1, 2, 3);
    r.publisher.start();
    await setImmediate();
    await against(r, () => false, 60);
    expect(r.events.filter((event) => !event.startsWith("send"))).toEqual([]);
    await against(r, () => true, 20);
    expect(r.events.filter((event) => !event.startsWith("send")).toSorted()).toEqual([
      "acknowledge 1",
      "acknowledge 2",
      "acknowledge 3",
    ]);
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
    expect(r.events.filter((event) => !event.startsWith("send"))).toEqual(["acknowledge 2", "reject 1"]);
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
    const answered = r.events.filter((event) => !event.startsWith("send"));
    expect(answered.toSorted()).toEqual(["acknowledge 1", "acknowledge 2", "acknowledge 3"]);
  });
});
