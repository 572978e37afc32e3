/** Chips of hwmon and IIO in folders as the kernel lays them out, links and all. */
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { SysfsSourceConfig } from "../../src/config/schema.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { PollingSource } from "../../src/sources/polling-source.ts";
import type { SourceStatus } from "../../src/sources/source.ts";
import { SysfsDevice } from "../../src/sources/sysfs-device.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { SysfsTree } from "../support/sysfs-tree.ts";
import { until } from "../support/until.ts";

let folder: string;
let tree: SysfsTree;
let source: PollingSource | undefined;
let frames: JsonObject[];
let discards: string[];
let status: SourceStatus | undefined;

beforeEach(() => {
  folder = temporaryFolder();
  tree = new SysfsTree(folder);
  frames = [];
  discards = [];
  status = undefined;
});
afterEach(async () => {
  await source?.stop();
  source = undefined;
});

/** Chip number `n` of the class, on an I2C bus. */
function plug(n: number, at: string, files: Readonly<Record<string, string>>): void {
  const place = `devices/i2c-1/${at}/hwmon/hwmon${n}`;
  for (const [name, text] of Object.entries(files)) tree.write(`${place}/${name}`, text);
  tree.remove(`class/hwmon/hwmon${n}`);
  tree.link(`class/hwmon/hwmon${n}`, place);
}
const unplug = (n: number, at: string) => {
  tree.remove(`class/hwmon/hwmon${n}`);
  tree.remove(`devices/i2c-1/${at}`);
};

function start(more: JsonObject): void {
  const chip = { type: "sysfs", root: join(folder, "class/hwmon"), device: "d", ...more };
  const input = { gateway: { name: "box" }, hub: { type: "edge" }, sources: { chip } };
  const config = checkConfig(input).config.sources.chip as SysfsSourceConfig;
  const device = new SysfsDevice(config);
  const sink = {
    frame: (bytes: Uint8Array) => {
      expect(bytes.length).toBeLessThanOrEqual(device.maxFrameBytes);
      return frames.push(JSON.parse(Buffer.from(bytes).toString("utf8"))) > 0;
    },
    discard: (reason: string) => void discards.push(reason),
    hasRoom: () => true,
    committed: () => Promise.resolve(),
    status: (changed: SourceStatus) => {
      status = changed;
    },
  };
  source = new PollingSource(device, 20, sink, systemClock);
  source.start();
}
const untilState = (state: string) => until(state, () => status?.state === state);
const cpu = { temperature: { path: "temp1_input" } };

test("a chip is found by its name, whatever its number is, and the texts are the frame", async () => {
  plug(0, "1-0018", { name: "jc42\n", temp1_input: "1000\n" });
  plug(3, "1-0048", { name: "lm75\n", temp1_input: "21500\n", temp1_max: "80000\n" });
  start({ chip: "lm75", files: cpu });
  await until("a frame", () => frames.length > 1);
  expect(frames[0]).toEqual({ temp1_input: "21500" });
  expect(status).toEqual({ state: "open", reason: undefined });
});

test("a chip that is not there is absent and named, read when it comes, and found under another number", async () => {
  plug(0, "1-0018", { name: "jc42\n" });
  start({ chip: "lm75", files: cpu });
  await untilState("absent");
  expect(status?.reason).toContain("no chip has that name");
  expect(status?.reason).toContain("there are jc42");
  plug(1, "1-0048", { name: "lm75\n", temp1_input: "1\n" });
  await untilState("open");
  unplug(1, "1-0048");
  await untilState("absent");
  plug(7, "1-0048", { name: "lm75\n", temp1_input: "7\n" });
  await until("its value", () => frames.at(-1)?.temp1_input === "7");
});

test("a class that this kernel does not have is absent", async () => {
  start({ chip: "lm75", files: cpu });
  await untilState("absent");
  expect(status?.reason).toContain("class/hwmon");
});

test("of several chips with one name one is chosen by its device, and without that none", async () => {
  plug(0, "1-0018", { name: "jc42\n", temp1_input: "18\n" });
  plug(1, "1-0019", { name: "jc42\n", temp1_input: "19\n" });
  start({ chip: "jc42", files: cpu });
  await untilState("failed");
  expect(status?.reason).toContain("set `at` to one of 1-0018, 1-0019");
  await source?.stop();
  start({ chip: "jc42", at: "1-0019", files: cpu });
  await until("a frame", () => frames.length > 0);
  expect(frames[0]).toEqual({ temp1_input: "19" });
});

test("a file that is missing does not stop the others, and the source says which", async () => {
  plug(0, "1-0048", { name: "lm75\n", temp1_input: "21500\n" });
  start({ chip: "lm75", files: { ...cpu, other: { path: "temp2_input" } } });
  await until("a frame", () => frames.length > 1);
  expect(frames[0]).toEqual({ temp1_input: "21500" });
  expect(status).toEqual({ state: "open", reason: "temp2_input: is not there" });
  expect(discards).toEqual([]);
  plug(0, "1-0048", { temp2_input: "5\n" });
  await until("the reason is gone", () => status?.state === "open" && status.reason === undefined);
});

test("a raw number of IIO comes with the scale and the offset that are there, and not without them", async () => {
  const place = "bus/iio/devices/iio:device0";
  tree.write("bus/iio/devices/trigger0/name", "bmp280\n");
  for (const [name, text] of Object.entries({
    name: "bmp280",
    in_temp_raw: "385",
    in_temp_scale: "62.5",
    in_temp_offset: "0",
    in_pressure_raw: "77",
  }))
    tree.write(`${place}/${name}`, `${text}\n`);
  const files = { temperature: { path: "in_temp_raw" }, pressure: { path: "in_pressure_raw" } };
  start({ class: "iio", root: join(folder, "bus/iio/devices"), chip: "bmp280", files });
  await until("a frame", () => frames.length > 0);
  expect(frames[0]).toEqual({
    in_temp_raw: "385",
    in_temp_scale: "62.5",
    in_temp_offset: "0",
    in_pressure_raw: "77",
  });
  expect(status?.reason).toContain("in_pressure_raw: it has no scale here");
  tree.remove(`${place}/in_temp_scale`);
  await until("the scale is missed", () => frames.at(-1)?.in_temp_raw === undefined);
  expect(status).toMatchObject({ state: "open", reason: expect.stringContaining("in_temp_raw") });
});

test("without a chip the files are in the root itself", async () => {
  tree.write("class/thermal/thermal_zone0/temp", "51000\n");
  start({ root: join(folder, "class/thermal/thermal_zone0"), files: { t: { path: "temp" } } });
  await until("a frame", () => frames.length > 0);
  expect(frames[0]).toEqual({ temp: "51000" });
});

test("a text of any length is cut to what could be a number", async () => {
  plug(0, "1-0048", { name: "lm75\n", temp1_input: "\u0001".repeat(100_000) });
  start({ chip: "lm75", files: cpu });
  await until("a frame", () => frames.length > 0);
  expect(String(frames[0]?.temp1_input).length).toBeLessThanOrEqual(64);
});

test.each(["../../etc/passwd", "/etc/passwd", "a/../b", ".hidden", "a//b", ""])(
  "%j is no file of a chip",
  (path) => {
    expect(() => start({ chip: "c", files: { v: { path } } })).toThrow("temp1_input");
  },
);

test("a source with neither a chip nor a folder is refused", () => {
  expect(() =>
    checkConfig({
      gateway: { name: "box" },
      hub: { type: "edge" },
      sources: { chip: { type: "sysfs", files: cpu, device: "d" } },
    }),
  ).toThrow("sources.chip.chip");
});
