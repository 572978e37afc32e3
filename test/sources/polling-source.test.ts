/** How often a device that does not answer is asked again, and how it is left. */
import { expect, test } from "vitest";
import { PollingSource } from "../../src/sources/polling-source.ts";
import { Unavailable } from "../../src/sources/unavailable.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { until } from "../support/until.ts";

const hourMs = 3_600_000;

/** A device that never answers, when each try holds up its neighbours for so long. */
function absentDevice(clock: ManualClock, heldUpMs: number) {
  const seen: { tries: number; closes: boolean[] } = { tries: 0, closes: [] };
  const device = {
    name: "a device",
    maxFrameBytes: 10,
    open: async () => undefined,
    ask: async () => {
      seen.tries++;
      throw new Unavailable("MODBUS_UNAVAILABLE", "absent", "no answer", { heldUpMs });
    },
    close: async (forGood: boolean) => void seen.closes.push(forGood),
  };
  const sink = {
    frame: () => true,
    discard: () => undefined,
    hasRoom: () => true,
    committed: () => Promise.resolve(),
    status: () => undefined,
  };
  return { source: new PollingSource(device, 1_000, sink, clock), seen };
}

/** How often it is asked in an hour. */
async function triesInAnHour(heldUpMs: number): Promise<number> {
  const clock = new ManualClock();
  const { source, seen } = absentDevice(clock, heldUpMs);
  source.start();
  await clock.advance(hourMs);
  await source.stop();
  return seen.tries;
}

test("one that holds up nobody is asked every few seconds", async () => {
  expect(await triesInAnHour(0)).toBeGreaterThan(1_000);
});

test.each([1_000, 5_000])(
  "one whose tries hold up others for %d ms takes about a tenth of their time",
  async (heldUpMs) => {
    const share = ((await triesInAnHour(heldUpMs)) * heldUpMs) / hourMs;
    expect(share).toBeGreaterThan(0.03);
    expect(share).toBeLessThan(0.2);
  },
);

test("one that is stopped while it waits for its next try is closed for good", async () => {
  const clock = new ManualClock();
  const { source, seen } = absentDevice(clock, 0);
  source.start();
  await until("the pause", () => seen.closes.length > 0);
  await source.stop();
  expect(seen.tries).toBe(1);
  expect(seen.closes).toEqual([false, true]);
});
