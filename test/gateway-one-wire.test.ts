/** The whole daemon with thermometers on 1-Wire, in files as the kernel shows them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { OneWireTree, w1Slave } from "./support/sysfs-tree.ts";
import { until } from "./support/until.ts";

const steady = "28-0000000000a1";
const other = "28-0000000000a2";
let folder: string;
let hub: EmbeddedHub;
let tree: OneWireTree;
let daemon: RunningDaemon;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-w1-"));
  hub = await startEmbeddedHub();
  tree = new OneWireTree(folder);
  const thermometer = (id: string) => ({
    type: "oneWire",
    id,
    root: tree.devices,
    intervalMs: 100,
    device: id,
  });
  const config = {
    gateway: { name: "box" },
    sources: { steady: thermometer(steady), other: thermometer(other) },
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  daemon = new RunningDaemon(folder, config, hub.environment("gateway"));
});
afterEach(async () => {
  await daemon.kill();
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

interface Entry {
  readonly kind: string;
  readonly device: string;
  readonly channels: { readonly temperature?: { readonly value: number } };
}
const entriesOf = (device: string) =>
  hub.messages
    .flatMap((message) => JSON.parse(message.body.toString("utf8")) as Entry[])
    .filter((entry) => entry.device === device && entry.kind === "reading");
const untilState = (source: string, state: string) =>
  daemon.untilStatus(`${source} is ${state}`, ({ sources }) => sources[source]?.state === state);
const discardsOf = async (source: string) =>
  (await daemon.status())?.store.books[source]?.frameDiscards as Record<string, number> | undefined;

test("temperatures are at the hub; bad checksums, power-on values and a cut wire are counted, and disturb no neighbour", async () => {
  tree.plug(steady, w1Slave(370));
  tree.plug(other, w1Slave(-162));
  daemon.start();
  await until("both are at the hub", () => entriesOf(steady).length > 2 && entriesOf(other).length > 2);
  expect(entriesOf(steady)[0]?.channels.temperature).toMatchObject({
    value: 23.125,
    unit: "°C",
    quality: "good",
  });
  expect(entriesOf(other)[0]?.channels.temperature).toMatchObject({ value: -10.125 });

  tree.plug(other, w1Slave(370, "NO"));
  await until("bad checksums are counted", async () => ((await discardsOf("other"))?.badChecksum ?? 0) > 2);
  tree.plug(other, "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n");
  await until(
    "power-on values are counted",
    async () => ((await discardsOf("other"))?.powerOnValue ?? 0) > 2,
  );
  const before = entriesOf(steady).length;
  tree.unplug(other);
  await untilState("other", "absent");
  await until("the neighbour goes on", () => entriesOf(steady).length >= before + 10);
  tree.plug(other, w1Slave(0x550));
  await untilState("other", "open");
  await until("85 degrees that were measured are at the hub", () =>
    entriesOf(other).some(({ channels }) => channels.temperature?.value === 85),
  );
  expect(new Set(entriesOf(other).map(({ channels }) => channels.temperature?.value))).toEqual(
    new Set([-10.125, 85]),
  );
  expect(await discardsOf("steady")).toEqual({});
  expect(await discardsOf("other")).toMatchObject({ noAnswer: expect.any(Number) });
  await daemon.stop();
});
