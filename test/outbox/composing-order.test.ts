import { describe, expect, test } from "vitest";
import { noDemand } from "../../src/outbox/composer.ts";
import { box, entriesOf, entry, idsOf } from "./composing-box.ts";

describe("what goes first", () => {
  test("an alarm leaves at once, alone, and before everything that was composed before it", () => {
    const { insert, compose, messages } = box();
    insert(entry(1_000));
    compose(9_000);
    const alarm = entry(9_000, "low", { kind: "alarm", accounts: {} });
    insert(entry(8_900), alarm);
    compose(9_000);
    expect(messages().map((m) => m.class)).toEqual(["alarm", "live"]);
    expect(messages().flatMap(idsOf)[0]).toBe(alarm.id);
    expect(messages()[0]?.properties).toEqual({ class: "alarm" });
  });

  test("what is new goes before the backlog, which is marked in each entry and in the message", () => {
    const { insert, compose, messages } = box();
    const [old, fresh] = [entry(1_000), entry(99_500)];
    insert(old);
    compose(50_000, {}, noDemand);
    insert(fresh);
    compose(100_500);
    const [first, second] = messages();
    expect([first?.class, first && entriesOf(first)]).toEqual(["live", [JSON.parse(fresh.body)]]);
    expect(first?.properties).toEqual({});
    expect([second?.class, second && entriesOf(second)]).toEqual([
      "backfill",
      [{ ...JSON.parse(old.body), backfill: true }],
    ]);
    expect(second?.properties).toEqual({ class: "backfill" });
  });

  test("what tells of long ago is new when it is made, as a late revision is", () => {
    const { outbox, compose, messages } = box();
    outbox.insert([entry(1_000)], undefined, [99_000, 100_000]);
    compose(100_000);
    expect(messages().map((m) => m.class)).toEqual(["live"]);
  });

  test("what may wait for company is no backlog meanwhile", () => {
    const { insert, compose, messages } = box();
    const waiting = { maxDelayMs: 60_000, backfillAfterMs: 10_000 };
    insert(entry(1_000));
    expect(compose(60_999, waiting)).toBe(61_000);
    compose(61_000, waiting);
    expect(messages().map((m) => m.class)).toEqual(["live"]);
  });

  test("what another clock finished later than now is backlog, and waits for no such time", () => {
    const { insert, compose, messages } = box();
    insert(entry(1e9));
    compose(100_000);
    expect(messages().map((m) => m.class)).toEqual(["backfill"]);
  });

  test("of the backlog, and of what is new, higher priorities go first, in the order of their making", () => {
    const { insert, compose, messages } = box();
    const made = ["low", "high", "usual", "low", "high"].map((source) => entry(1_000, source, { pad: 700 }));
    insert(...made);
    compose(2_000);
    const order = [1, 4, 2, 0, 3].map((i) => made[i]?.id);
    expect(messages().flatMap(idsOf)).toEqual(order);
  });

  test("entries of several priorities share a message, because it is billed by the block", () => {
    const { insert, compose, messages } = box();
    insert(entry(1_000, "low"), entry(1_000, "high"));
    compose(2_000);
    expect(messages()).toHaveLength(1);
  });
});
