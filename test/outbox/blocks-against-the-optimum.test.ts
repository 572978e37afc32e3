import { expect, test } from "vitest";
import { billCases, billOf } from "../../bench/bill.ts";

test.each(billCases.filter(({ entriesPerSecond }) => entriesPerSecond >= 10))(
  "$entriesPerSecond entries/s in blocks of $blockBytes bytes cost at most 3 % more than the least there is",
  (of) => {
    const { ratio, entries } = billOf(of);
    expect(entries).toBeGreaterThan(1_000);
    expect(ratio).toBeGreaterThanOrEqual(1);
    expect(ratio).toBeLessThanOrEqual(1.03);
  },
);

test("a trickle of entries costs at most 5 % more", () => {
  for (const each of trickle) expect(billOf(each).ratio).toBeLessThanOrEqual(1.05);
});
const trickle = billCases.filter(({ entriesPerSecond }) => entriesPerSecond < 10);
