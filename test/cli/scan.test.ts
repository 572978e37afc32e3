/** `headgate scan` as a user meets it, on a box whose devices are files, pseudo-terminals and a simulated bus. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { checkConfig } from "../../src/config/check.ts";
import type { JsonObject } from "../../src/core/json.ts";
import { temporaryFolder } from "../core/temporary-folder.ts";
import { SimulatedBme280 } from "../support/i2c/chips.ts";
import { RegisterChip, SimulatedBus } from "../support/i2c/simulated-bus.ts";
import { LibmodbusServer, SerialBus } from "../support/modbus/libmodbus.ts";
import { SerialDevice } from "../support/serial-device.ts";
import { OneWireTree, SysfsTree, w1Slave } from "../support/sysfs-tree.ts";
import { startProcess } from "./processes.ts";

let folder: string;
let dev: string;
let sys: SysfsTree;
let bus: SimulatedBus;

beforeEach(async () => {
  folder = temporaryFolder();
  dev = join(folder, "dev");
  mkdirSync(dev);
  sys = new SysfsTree(join(folder, "sys"));
  bus = new SimulatedBus(folder);
});
afterEach(async () => {
  await bus.stop();
});

const run = (...more: string[]) =>
  startProcess(folder, ["scan", "--dev", dev, "--sys", sys.root, ...more], bus.environment).done;

interface Scan {
  readonly serial: readonly JsonObject[];
  readonly i2c: readonly {
    readonly bus: number;
    readonly name?: string;
    readonly reason?: string;
    readonly chips: readonly JsonObject[];
  }[];
  readonly oneWire: readonly JsonObject[];
  readonly kernel: readonly JsonObject[];
  readonly modbus: readonly JsonObject[];
  readonly config: JsonObject & { readonly sources: JsonObject };
}
async function scan(...more: string[]): Promise<Scan> {
  const { code, out, err } = await run("--json", ...more);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const found = JSON.parse(out) as Scan;
  // Whatever it proposes, the gateway takes.
  checkConfig({ gateway: { name: "box" }, hub: { type: "edge" }, ...found.config });
  return found;
}

async function withBus(): Promise<void> {
  await bus.start();
  sys.write("bus/i2c/devices/i2c-1/name", "bcm2835 (i2c@7e804000)\n");
}

test("an empty box has nothing, and says so", async () => {
  const found = await scan();
  expect(found).toMatchObject({ serial: [], i2c: [], oneWire: [], kernel: [] });
  expect(found.config.sources).toEqual({});
  const { out, code } = await run();
  expect(code).toBe(0);
  expect(out.match(/^ {2}none$/gm)).toHaveLength(4);
});

test("a serial port is found by the name that lasts, with what its adapter says", async () => {
  const device = new SerialDevice();
  device.line.plug();
  symlinkSync(device.path, join(dev, "ttyUSB0"));
  mkdirSync(join(dev, "serial/by-id"), { recursive: true });
  const lasting = join(dev, "serial/by-id/usb-FTDI_FT232R_USB_UART_A50285BI-if00-port0");
  symlinkSync("../../ttyUSB0", lasting);
  const adapter = "devices/platform/usb1/1-1";
  sys.write(`${adapter}/idVendor`, "0403\n");
  sys.write(`${adapter}/idProduct`, "6001\n");
  sys.write(`${adapter}/manufacturer`, "FTDI\n");
  sys.write(`${adapter}/product`, "FT232R USB UART\n");
  sys.write(`${adapter}/1-1:1.0/ttyUSB0/port_number`, "0\n");
  sys.link("class/tty/ttyUSB0/device", `${adapter}/1-1:1.0/ttyUSB0`);
  for (const [tty, type] of [
    ["ttyS0", "4"],
    ["ttyS1", "0"],
  ] as const) {
    writeFileSync(join(dev, tty), "");
    sys.write(`class/tty/${tty}/type`, `${type}\n`);
  }
  const found = await scan();
  expect(found.serial).toEqual([
    { path: join(dev, "ttyS0"), tty: "ttyS0" },
    { path: lasting, tty: "ttyUSB0", usb: "FTDI FT232R USB UART (0403:6001)" },
  ]);
  expect(found.config.sources.ttyUSB0).toMatchObject({ type: "serial", path: lasting, state: "off" });
  await device.stop();
});

test("a chip is recognised by what its driver reads first, and nothing is written to it", async () => {
  await withBus();
  class Watched extends SimulatedBme280 {
    readonly changed: number[] = [];
    protected override written(register: number, value: number): void {
      this.changed.push(register);
      super.written(register, value);
    }
  }
  const chip = new Watched();
  bus.plug(0x76, chip);
  bus.plug(0x77, new RegisterChip().set(0xd0, "58"));
  bus.plug(0x5a, new RegisterChip());
  bus.plug(0x20, new RegisterChip());
  const { i2c, config } = await scan();
  expect(i2c).toMatchObject([{ bus: 1, name: "bcm2835 (i2c@7e804000)" }]);
  const at = (address: number) => i2c[0]?.chips.find((one) => one.address === address);
  expect(at(0x76)).toMatchObject({ driver: "bme280" });
  expect(at(0x77)).toMatchObject({ driver: "bmp280" });
  expect(at(0x5a)).not.toHaveProperty("driver");
  expect(i2c[0]?.chips.map(({ address }) => address)).toEqual([0x20, 0x5a, 0x76, 0x77]);
  expect(chip.changed).toEqual([]);
  expect(config.sources).toMatchObject({
    "bme280-76": { type: "i2c", driver: "bme280", bus: 1, address: "0x76", device: "bme280-76" },
    "bmp280-77": { driver: "bmp280", address: "0x77" },
  });
  expect(Object.keys(config.sources).filter((name) => /-(20|5a)$/.test(name))).toEqual([]);
});

test("a chip at an address of drivers that none of them recognises is told as what it may be", async () => {
  await withBus();
  bus.plug(0x76, new RegisterChip().set(0xd0, "99"));
  const { i2c, config } = await scan();
  expect(i2c[0]?.chips[0]).toMatchObject({
    address: 0x76,
    candidates: expect.arrayContaining(["bme280", "bmp280"]),
  });
  expect(i2c[0]?.chips[0]).not.toHaveProperty("driver");
  expect(config.sources).not.toHaveProperty("bme280-76");
  expect((await run()).out).toMatch(/bus 1, 0x76\s+answers; may be .*bme280/);
});

test("what drivers of the kernel have is left alone, whether sysfs tells it or only the bus does", async () => {
  await withBus();
  bus.plug(0x68, new RegisterChip());
  bus.plug(0x76, new SimulatedBme280());
  bus.trouble(0x76, { claimed: true });
  sys.write("bus/i2c/drivers/rtc-ds1307/uevent", "");
  sys.write("bus/i2c/devices/1-0068/name", "ds3231\n");
  sys.link("bus/i2c/devices/1-0068/driver", "bus/i2c/drivers/rtc-ds1307");
  const { i2c } = await scan();
  expect(i2c[0]?.chips).toEqual([
    { address: 0x68, candidates: [], kernel: "rtc-ds1307" },
    { address: 0x76, candidates: [], reason: "a driver of the kernel has the chip" },
  ]);
});

test("a bus that is held is given up, and one that is not there has its reason", async () => {
  await withBus();
  for (let address = 0x10; address < 0x18; address++) {
    bus.plug(address, new RegisterChip());
    bus.trouble(address, { stretchMs: 1_000 });
  }
  writeFileSync(join(dev, "i2c-7"), "");
  const { i2c } = await scan();
  expect(i2c.find((one) => one.bus === 1)?.reason).toMatch(/^given up at 0x12: the bus is held/);
  expect(i2c.find((one) => one.bus === 7)?.reason).toContain("opening /dev/i2c-7: ENOENT");
});

test("with --i2c the buses are asked, as without a word; with --no-i2c no bus is touched", async () => {
  await withBus();
  bus.plug(0x76, new SimulatedBme280());
  expect((await scan("--no-i2c")).i2c).toEqual([]);
  expect(bus.transfers).toBe(0);
  const asked = await scan("--i2c");
  expect(asked.i2c).toMatchObject([{ bus: 1, chips: [{ address: 0x76, driver: "bme280" }] }]);
  expect(await scan()).toEqual(asked);
});

test("thermometers and chips of the kernel are found, and the configuration names what tells them apart", async () => {
  const wire = new OneWireTree(sys.root);
  wire.plug("28-0316a2795f3d", w1Slave(370));
  wire.plug("29-000000000001", "");
  sys.write("bus/w1/devices/w1_bus_master1/w1_master_slaves", "");
  const chip = (n: number, place: string, files: Readonly<Record<string, string>>) => {
    for (const [file, text] of Object.entries(files))
      sys.write(`devices/${place}/hwmon/hwmon${n}/${file}`, text);
    sys.link(`class/hwmon/hwmon${n}`, `devices/${place}/hwmon/hwmon${n}`);
  };
  chip(0, "virtual/thermal", { name: "cpu_thermal\n", temp1_input: "51000\n", temp1_crit: "110000\n" });
  chip(1, "i2c-1/1-0018", { name: "jc42\n", temp1_input: "1\n" });
  chip(2, "i2c-1/1-0019", { name: "jc42\n", temp1_input: "1\n" });
  chip(3, "w1/28-0316a2795f3d", { name: "w1_slave_temp\n", temp1_input: "1\n" });
  chip(4, "platform/none", { name: "rpi_volt\n", in0_lcrit_alarm: "0\n" });
  chip(5, "platform/coretemp", {
    name: "coretemp\n",
    temp1_input: "1\n",
    temp2_input: "1\n",
    fan1_input: "9\n",
  });
  sys.write("bus/iio/devices/iio:device0/name", "bmp280\n");
  sys.write("bus/iio/devices/iio:device0/in_temp_input", "25080\n");
  sys.write("bus/iio/devices/iio:device0/in_pressure_input", "100\n");
  const { oneWire, config } = await scan();
  expect(oneWire).toEqual([{ id: "28-0316a2795f3d", driver: "ds18b20" }, { id: "29-000000000001" }]);
  expect(config.sources).toEqual({
    "28-0316a2795f3d": { type: "oneWire", id: "28-0316a2795f3d", device: "28-0316a2795f3d" },
    cpu_thermal: expect.objectContaining({
      chip: "cpu_thermal",
      files: { temperature: { path: "temp1_input" } },
    }),
    jc42: expect.objectContaining({ at: "1-0018" }),
    "jc42-2": expect.objectContaining({ at: "1-0019", device: "jc42-2" }),
    coretemp: expect.objectContaining({
      files: { temp1: { path: "temp1_input" }, temp2: { path: "temp2_input" }, fan1: { path: "fan1_input" } },
    }),
    bmp280: expect.objectContaining({
      class: "iio",
      files: { pressure: { path: "in_pressure_input" }, temperature: { path: "in_temp_input" } },
    }),
  });
  const { out } = await run();
  expect(out).toMatch(/28-0316a2795f3d\s+ds18b20: Maxim/);
  expect(out).toMatch(/29-000000000001\s+of another kind/);
  expect(out).toMatch(/jc42 at 1-0018\s+temp1_input/);
});

test("units of Modbus that answer on a line are found, and no others", async () => {
  const line = new SerialBus();
  onTestFinished(() => line.stop());
  await line.unit(2, ["holding 0 1"]);
  await line.unit(5, ["holding 0 1"]);
  const found = await scan("--no-i2c", "--modbus", line.path, "--units", "1-6");
  expect(found.modbus).toEqual([
    { line: line.path, settings: { transport: "rtu", path: line.path }, units: [2, 5] },
  ]);
  expect(found.config.sources).toMatchObject({
    "unit-2": { type: "modbus", state: "off", path: line.path, unit: 2 },
    "unit-5": { unit: 5 },
  });
});

test("a port whose units answer is not proposed as a serial port as well, whatever it was called", async () => {
  const line = new SerialBus();
  onTestFinished(() => line.stop());
  await line.unit(2, ["holding 0 1"]);
  const port = join(dev, "ttyUSB0");
  symlinkSync(line.path, port);
  mkdirSync(join(dev, "serial/by-id"), { recursive: true });
  symlinkSync("../../ttyUSB0", join(dev, "serial/by-id/usb-adapter"));
  const found = await scan("--no-i2c", "--modbus", port, "--units", "1-3");
  expect(found.serial).toMatchObject([{ path: join(dev, "serial/by-id/usb-adapter") }]);
  expect(Object.keys(found.config.sources)).toEqual(["unit-2"]);
});

test("units behind a server of Modbus are found; a server that is not there is told", async () => {
  const server = new LibmodbusServer(["tcp", "0"], ["unit 3", "holding 0 1"]);
  onTestFinished(() => server.stop());
  const [here, gone] = [`tcp://127.0.0.1:${await server.ready()}`, "tcp://127.0.0.1:9"];
  const { modbus } = await scan("--no-i2c", "--modbus", here, "--modbus", gone, "--units", "1-5");
  expect(modbus).toMatchObject([
    { line: here, units: [3] },
    { line: gone, units: [], reason: expect.stringContaining("ECONNREFUSED") },
  ]);
});

test("a server of Modbus that answers whatever unit is asked is one device", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (request) => {
      const header = Buffer.from(request.subarray(0, 7));
      header.writeUInt16BE(5, 4);
      socket.write(Buffer.concat([header, Buffer.from("03020001", "hex")]));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const line = `tcp://127.0.0.1:${(server.address() as { port: number }).port}`;
  const { modbus } = await scan("--no-i2c", "--modbus", line);
  expect(modbus).toMatchObject([{ units: [255], reason: expect.stringContaining("whatever unit") }]);
});

test.each([
  ["/dev/ttyUSB0,fast", "1-5", "baudRate"],
  ["/dev/ttyUSB0", "0-5", "--units"],
  ["tcp://host:99999", "1-5", "port"],
])("a line %s with units %s is a configuration error", async (line, units, path) => {
  const { code, err } = await run("--no-i2c", "--modbus", line, "--units", units);
  expect({ code, err }).toEqual({ code: 78, err: expect.stringContaining(path) });
});
