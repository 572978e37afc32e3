import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { within } from "../../src/core/deadline.ts";
import { codeOf } from "./codes.ts";

const never = new Promise<never>(() => undefined);

test("work that ends in time is the result, a value or a rejection", async () => {
  expect(await within(Promise.resolve(5), 60_000, "work")).toBe(5);
  await expect(within(Promise.reject(new Error("its own")), 60_000, "work")).rejects.toThrow("its own");
});

test("work that does not end in time is a transient error with the code asked for", async () => {
  expect(await codeOf(() => within(never, 1, "work"))).toBe("HUB_TIMEOUT");
  expect(await codeOf(() => within(never, 1, "work", undefined, "STORE_UNUSABLE"))).toBe("STORE_UNUSABLE");
});

test("an abort ends the wait with the signal's reason, also one from before", async () => {
  const abort = new AbortController();
  const waiting = within(never, 60_000, "work", abort.signal);
  abort.abort(new Error("stopped"));
  await expect(waiting).rejects.toThrow("stopped");
  await expect(within(never, 60_000, "work", abort.signal)).rejects.toThrow("stopped");
});

test("a rejection that comes too late surfaces nowhere", async () => {
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", onUnhandled);
  try {
    let fail: (error: Error) => void = () => undefined;
    const work = new Promise<never>((_, reject) => {
      fail = reject;
    });
    expect(await codeOf(() => within(work, 1, "work"))).toBe("HUB_TIMEOUT");
    fail(new Error("late"));
    await setImmediate();
    expect(unhandled).toEqual([]);
  } finally {
    process.off("unhandledRejection", onUnhandled);
  }
});
