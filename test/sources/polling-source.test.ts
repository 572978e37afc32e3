/** How often a device that does not answer is asked again, how it is left, and how it is asked out of turn. */
import { describe, expect, onTestFinished, test } from "vitest";
import { PollingSource } from "../../src/sources/polling-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
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

describe("out of turn", () => {
  /** A device that answers, or does not, and can be asked. */
  class Camera extends PollingSource {
    override want(spacingMs: number) {
      super.want(spacingMs);
    }
    override asked(spacingMs: number) {
      return super.asked(spacingMs);
    }
  }

  function camera(intervalMs?: number) {
    const clock = new ManualClock();
    const seen = { askedMs: [] as number[], frames: 0, state: "", isAway: false, hasRoom: true };
    const beganMs = clock.monotonic();
    const device = {
      name: "a camera",
      maxFrameBytes: 10,
      open: async () => undefined,
      ask: async () => {
        seen.askedMs.push(clock.monotonic() - beganMs);
        if (seen.isAway) throw new Unavailable("IMAGE_URL_UNAVAILABLE", "absent", "no answer");
        return Buffer.from("{}");
      },
      close: async () => undefined,
    };
    const sink = {
      frame: () => ++seen.frames > 0,
      discard: () => undefined,
      hasRoom: () => seen.hasRoom,
      committed: () => Promise.resolve(),
      status: ({ state }: SourceStatus) => {
        seen.state = state;
      },
    };
    const source = new Camera(device, intervalMs, sink, clock);
    onTestFinished(() => source.stop());
    source.start();
    return { source, seen, clock };
  }

  test("a device without an interval is asked when it is wanted, and not before", async () => {
    const { source, seen, clock } = camera();
    await clock.advance(2 * hourMs);
    expect(seen).toMatchObject({ askedMs: [], state: "open" });
    const asked = source.asked(0);
    await clock.advance(0);
    expect(await asked).toMatchObject({ kind: "answered" });
    await clock.advance(2 * hourMs);
    expect(seen).toMatchObject({ askedMs: [2 * hourMs], frames: 1 });
  });

  test("a storm of wants is one answer per spacing, and those who wait share it", async () => {
    const { source, seen, clock } = camera();
    const all = [source.asked(10_000), source.asked(10_000)];
    await clock.advance(0);
    for (let i = 0; i < 250; i++) {
      source.want(10_000);
      await clock.advance(100);
    }
    expect(await Promise.all(all)).toMatchObject([{ kind: "answered" }, { kind: "answered" }]);
    expect(seen.askedMs).toEqual([0, 10_000, 20_000]);
  });

  test("its turns stay where they are", async () => {
    const { source, seen, clock } = camera(60_000);
    await clock.advance(30_000);
    source.want(0);
    await clock.advance(90_000);
    expect(seen.askedMs).toEqual([0, 30_000, 60_000, 120_000]);
  });

  test("who waits is told of a failure, of a store without room, of too many who wait, and of a stop", async () => {
    const { source, seen, clock } = camera();
    seen.isAway = true;
    const failed = source.asked(0);
    await clock.advance(0);
    expect(await failed).toEqual({ kind: "failed", message: "a camera: no answer" });
    seen.isAway = false;
    await clock.advance(10_000);
    expect(seen).toMatchObject({ frames: 1, state: "open" });
    seen.hasRoom = false;
    const full = source.asked(0);
    await clock.advance(0);
    expect(await full).toMatchObject({ kind: "failed", message: expect.stringContaining("no room") });
    const waiting = Array.from({ length: 8 }, () => source.asked(hourMs));
    expect(await source.asked(0)).toMatchObject({ message: expect.stringContaining("8 others") });
    await source.stop();
    for (const stopped of [...waiting, source.asked(0)])
      expect(await stopped).toEqual({ kind: "failed", message: "the source stops" });
  });
});
