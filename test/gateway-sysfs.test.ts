/** The whole daemon with chips of hwmon and IIO, in files as the kernel shows them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { SysfsTree } from "./support/sysfs-tree.ts";
import { until } from "./support/until.ts";

let folder: string;
let hub: EmbeddedHub;
let tree: SysfsTree;
let daemon: RunningDaemon;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-sysfs-"));
  hub = await startEmbeddedHub();
  tree = new SysfsTree(folder);
  const config = {
    gateway: { name: "box" },
    sources: {
      cpu: {
        type: "sysfs",
        root: join(folder, "class/hwmon"),
        chip: "cpu_thermal",
        files: { temperature: { path: "temp1_input", max: 85 } },
        intervalMs: 50,
        device: "cpu",
      },
      room: {
        type: "sysfs",
        class: "iio",
        root: join(folder, "bus/iio/devices"),
        chip: "bmp280",
        files: { temperature: { path: "in_temp_input" }, pressure: { path: "in_pressure_input" } },
        intervalMs: 50,
        device: "room",
      },
    },
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
  readonly channels: Readonly<Record<string, { readonly value: number; readonly quality: string }>>;
}
const readingsOf = (device: string) =>
  hub.messages
    .flatMap((message) => JSON.parse(message.body.toString("utf8")) as Entry[])
    .filter((entry) => entry.device === device && entry.kind === "reading")
    .map(({ channels }) => channels);

test("values are at the hub with the kernel's units; a chip that goes and comes back under another number disturbs none", async () => {
  const hot = (n: number, milli: number) => {
    tree.write(`class/hwmon/hwmon${n}/name`, "cpu_thermal\n");
    tree.write(`class/hwmon/hwmon${n}/temp1_input`, `${milli}\n`);
  };
  hot(0, 51_234);
  tree.write("bus/iio/devices/iio:device0/name", "bmp280\n");
  tree.write("bus/iio/devices/iio:device0/in_temp_input", "25080\n");
  tree.write("bus/iio/devices/iio:device0/in_pressure_input", "100.653266\n");
  daemon.start();
  await until("both are at the hub", () => readingsOf("cpu").length > 2 && readingsOf("room").length > 2);
  expect(readingsOf("cpu")[0]).toMatchObject({ temperature: { value: 51.234, unit: "°C", quality: "good" } });
  expect(readingsOf("room")[0]).toMatchObject({
    temperature: { value: 25.08, unit: "°C", quality: "good" },
    pressure: { value: 1006.53266, unit: "hPa", quality: "good" },
  });

  const before = readingsOf("room").length;
  tree.remove("class/hwmon/hwmon0");
  await daemon.untilStatus("it is absent", ({ sources }) => sources.cpu?.state === "absent");
  await until("the neighbour goes on", () => readingsOf("room").length >= before + 10);
  hot(5, 91_000);
  await until("it is read again, and too hot", () =>
    readingsOf("cpu").some(({ temperature }) => temperature?.value === 91 && temperature.quality === "bad"),
  );
  await daemon.stop();
});
