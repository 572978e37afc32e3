import { expect, test } from "vitest";
import {
  allowance,
  billStatus,
  emptyBill,
  liveReserve,
  turn,
  waitForBlocksMs,
} from "../../src/outbox/bill.ts";

const day = 86_400_000;
const midnight = 20_000 * day;
const spent = (blocks: number) => ({ ...emptyBill(), day: 20_000, blocks });

test("a new day is a new bill; a step of the clock back over midnight is none", () => {
  const bill = spent(7);
  turn(bill, midnight + 5);
  expect(bill.blocks).toBe(7);
  turn(bill, midnight - 5);
  expect(bill).toMatchObject({ day: 20_000, blocks: 7 });
  turn(bill, midnight + day);
  expect(bill).toEqual({ ...emptyBill(), day: 20_001 });
  // A clock that was years ahead must not keep the bill of that day for ever.
  turn(bill, midnight - 1_000 * day);
  expect(bill.day).toBe(19_000);
});

test("the day's budget comes evenly, an hour's worth of it at midnight, and all of it by the end", () => {
  expect(allowance(spent(0), 2_400, midnight)).toBeCloseTo(100);
  expect(allowance(spent(0), 2_400, midnight + day - 1)).toBeCloseTo(2_400, 0);
  expect(allowance(spent(2_400), 2_400, midnight + day - 1)).toBeCloseTo(0, 0);
  expect(liveReserve(2_400)).toBe(100);
});

test("the wait for the next block is as long as it takes to come", () => {
  for (const [blocks, atMs] of [
    [100, 0],
    [1_500, day / 3],
  ] as const) {
    const waitMs = waitForBlocksMs(spent(blocks), 2_400, midnight + atMs, 1);
    expect(allowance(spent(blocks), 2_400, midnight + atMs + waitMs)).toBeCloseTo(1, 3);
  }
  expect(waitForBlocksMs(spent(0), 2_400, midnight, 1)).toBe(0);
  // Overspent: with the next day comes a new bill.
  expect(waitForBlocksMs(spent(9_999), 2_400, midnight + day - 500, 1)).toBe(500);
});

test("people see messages, blocks, how full they are, and what the day will cost", () => {
  const bill = { day: 20_000, messages: 30, blocks: 60, bytes: 60 * 3_072 };
  expect(billStatus(bill, 4_096, midnight + day / 2)).toEqual({
    messages: 30,
    blocks: 60,
    forecast: 120,
    fill: 0.75,
  });
  expect(billStatus(bill, 4_096, midnight + day + 1)).toEqual({
    messages: 0,
    blocks: 0,
    forecast: 0,
    fill: 0,
  });
});
