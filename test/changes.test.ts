/** Changes of a real configuration, with its file; what brings the stages to it is the test's. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Changes } from "../src/changes.ts";
import { provenAfterMs } from "../src/config/last-good.ts";
import type { HubMove } from "../src/hub-move.ts";
import { box, twin } from "./config/box.ts";
import { ManualClock } from "./core/manual-clock.ts";
import { recordingLog } from "./core/recording-log.ts";

test("a configuration that the stages do not take does not prove itself, and the one before stays at hand", async () => {
  const b = box();
  const configuration = b.run(0);
  const clock = new ManualClock();
  let fails = true;
  const changes = new Changes({
    configuration,
    // No hub changes here.
    move: { moves: 0, stop: () => undefined } as unknown as HubMove,
    inbox: { hold: () => undefined, release: () => undefined },
    enforce: async () => {
      if (fails) throw new Error("a stage fails");
    },
    clock,
    log: recordingLog(),
  });
  const saved = () => JSON.parse(readFileSync(b.saved, "utf8"));
  await expect(changes.twin(twin(1_000), 1, undefined)).rejects.toThrow("a stage fails");
  await clock.advance(provenAfterMs);
  changes.prove();
  expect(saved()).toMatchObject({ current: { twinVersion: 1 }, previous: { twin: {} } });
  fails = false;
  await changes.twin(twin(1_000), 2, undefined);
  changes.prove();
  expect(saved().previous).toBeDefined();
  await clock.advance(provenAfterMs);
  changes.prove();
  expect(saved().previous).toBeUndefined();
});
