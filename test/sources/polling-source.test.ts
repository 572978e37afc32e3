/** How often a device that does not answer is asked again. */
import { expect, test } from "vitest";
import { PollingSource } from "../../src/sources/polling-source.ts";
import { Unavailable } from "../../src/sources/unavailable.ts";
import { ManualClock } from "../core/manual-clock.ts";

const hourMs = 3_600_000;

/** How often an absent device is asked in an hour, when each try holds up its neighbours for so long. */
async function triesInAnHour(heldUpMs: number): Promise<number> {
  const clock = new ManualClock();
  let tries = 0;
  const device = {
    name: "a device",
    maxFrameBytes: 10,
    open: async () => undefined,
    ask: async () => {
      tries++;
      throw new Unavailable("MODBUS_UNAVAILABLE", "absent", "no answer", { heldUpMs });
    },
    close: async () => undefined,
  };
  const sink = {
    frame: () => true,
    discard: () => undefined,
    hasRoom: () => true,
    committed: () => Promise.resolve(),
    status: () => undefined,
  };
  const source = new PollingSource(device, 1_000, sink, clock);
  source.start();
  await clock.advance(hourMs);
  await source.stop();
  return tries;
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
