/** What the twin of a hub is told while the gateway moves from one hub to another. */
import { expect, onTestFinished, test } from "vitest";
import type { JsonObject } from "../../src/core/json.ts";
import type { HubClient, TwinClient, TwinDocument } from "../../src/hub/hub-client.ts";
import { TwinSide } from "../../src/twin-side.ts";
import { ManualClock } from "../core/manual-clock.ts";
import { recordingLog } from "../core/recording-log.ts";
import { box } from "./box.ts";

test("a hub that was moved to is not told the answer to another hub's twin", async () => {
  const clock = new ManualClock();
  const told: JsonObject[] = [];
  let document: TwinDocument = { desired: {}, desiredVersion: 1, reported: {} };
  const twin: TwinClient = {
    subscribe: async () => undefined,
    get: async () => document,
    report: async (patch) => void told.push(patch),
  };
  let moves = () => undefined as unknown;
  const side = new TwinSide(
    {
      apply: async () => void moves(),
      withTwin: (call) => call(twin),
      connected: async () => undefined,
      box: () => box,
      clock,
      log: recordingLog(),
    },
    { state: "on", freeRam: "off", intervalMs: 60_000, minSpacingMs: 100 },
  );
  onTestFinished(() => side.stop());
  const connect = () => side.connected({ twin } as HubClient);
  await connect();
  side.start();
  await clock.advance(2_000);
  expect(told.splice(0).at(-1)).toMatchObject({ lastDesiredVersion: 1 });

  moves = () => side.forget();
  side.patch({ version: 2, patch: { hub: {} } });
  await clock.advance(2_000);
  // It does not know yet what is desired of it.
  document = { desired: {}, desiredVersion: undefined, reported: {} };
  await connect();
  await clock.advance(120_000);
  expect(told.length).toBeGreaterThan(0);
  for (const report of told) expect(report).not.toHaveProperty("lastDesiredVersion");
});
