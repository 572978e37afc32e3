/** The main thread of the daemon goes on while a chip holds the bus: the real binding on a simulated bus. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { RegisterChip, SimulatedBus } from "./support/i2c/simulated-bus.ts";

let folder: string;
let hub: EmbeddedHub;
let bus: SimulatedBus;
let daemon: RunningDaemon | undefined;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-i2c-pace-"));
  hub = await startEmbeddedHub();
  bus = await new SimulatedBus(folder).start();
});
afterEach(async () => {
  await daemon?.kill();
  daemon = undefined;
  await bus.stop();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

const address = 0x1d;
/** The longest that is no failure yet: the adapter gives up at 200 ms. */
const stretchMs = 180;

test("the daemon answers all through transactions of a chip that stretches each of them", async () => {
  bus.plug(address, new RegisterChip().set(0x10, "04d2"));
  const config = {
    gateway: { name: "box" },
    sources: {
      slow: {
        type: "i2c",
        driver: "i2c-register",
        address,
        // The next transaction begins when one has ended, so that the bus is held nearly all the time.
        intervalMs: 10,
        device: "slow",
        options: { registers: { flow: { register: "0x10", type: "uint16" } } },
      },
    },
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  daemon = new RunningDaemon(folder, config, { ...hub.environment("gateway"), ...bus.environment });
  daemon.start();
  await daemon.untilStatus("slow is open", ({ sources }) => sources.slow?.state === "open");

  bus.trouble(address, { stretchMs });
  const transactions = 12;
  const deadline = performance.now() + 100 * transactions * stretchMs;
  const before = bus.transfers;
  const beforeMs = performance.now();
  let answers = 0;
  while (bus.transfers < before + transactions) {
    if (performance.now() > deadline) throw new Error(`${bus.transfers - before} transactions in vain`);
    if (await daemon.status()) answers++;
  }
  expect(performance.now() - beforeMs).toBeGreaterThan((transactions - 2) * stretchMs);
  // One that waits for the main thread to come free would be one answer to a transaction, or two.
  expect(answers).toBeGreaterThan(4 * transactions);
  const status = await daemon.status();
  expect(status?.sources.slow?.state).toBe("open");
  expect(status?.store.books.slow?.frameDiscards).toEqual({});
}, 60_000);
