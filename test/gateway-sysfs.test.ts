/** The whole daemon with chips of hwmon and IIO, in files as the kernel shows them. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DaemonAtHub } from "./support/daemon-at-hub.ts";
import { SysfsTree } from "./support/sysfs-tree.ts";
import { until } from "./support/until.ts";

let box: DaemonAtHub;
let tree: SysfsTree;

beforeEach(async () => {
  box = await DaemonAtHub.prepare();
  tree = new SysfsTree(box.folder);
});
afterEach(() => box.remove());

test("values are at the hub with the kernel's units; a chip that goes and comes back under another number disturbs none", async () => {
  const hot = (n: number, milli: number) => {
    tree.write(`class/hwmon/hwmon${n}/name`, "cpu_thermal\n");
    tree.write(`class/hwmon/hwmon${n}/temp1_input`, `${milli}\n`);
  };
  hot(0, 51_234);
  tree.write("bus/iio/devices/iio:device0/name", "bmp280\n");
  tree.write("bus/iio/devices/iio:device0/in_temp_input", "25080\n");
  tree.write("bus/iio/devices/iio:device0/in_pressure_input", "100.653266\n");
  box.start({
    cpu: {
      type: "sysfs",
      root: join(box.folder, "class/hwmon"),
      chip: "cpu_thermal",
      files: { temperature: { path: "temp1_input", max: 85 } },
      intervalMs: 50,
      device: "cpu",
    },
    room: {
      type: "sysfs",
      class: "iio",
      root: join(box.folder, "bus/iio/devices"),
      chip: "bmp280",
      files: { temperature: { path: "in_temp_input" }, pressure: { path: "in_pressure_input" } },
      intervalMs: 50,
      device: "room",
    },
  });
  await until(
    "both are at the hub",
    () => box.readingsOf("cpu").length > 2 && box.readingsOf("room").length > 2,
  );
  expect(box.readingsOf("cpu")[0]).toMatchObject({
    temperature: { value: 51.234, unit: "°C", quality: "good" },
  });
  expect(box.readingsOf("room")[0]).toMatchObject({
    temperature: { value: 25.08, unit: "°C", quality: "good" },
    pressure: { value: 1006.53266, unit: "hPa", quality: "good" },
  });

  const before = box.readingsOf("room").length;
  tree.remove("class/hwmon/hwmon0");
  await box.untilState("cpu", "absent");
  await until("the neighbour goes on", () => box.readingsOf("room").length >= before + 10);
  hot(5, 91_000);
  await until("it is read again, and too hot", () =>
    box
      .readingsOf("cpu")
      .some(({ temperature }) => temperature?.value === 91 && temperature.quality === "bad"),
  );
  await box.stop();
});
