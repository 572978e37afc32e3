/** The whole daemon with a source of each kind: whichever is pulled out and comes back, the others keep their pace. */
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { RunningDaemon } from "./faults/running-daemon.ts";
import { SimulatedBme280 } from "./support/i2c/chips.ts";
import { SimulatedBus } from "./support/i2c/simulated-bus.ts";
import { LibmodbusServer, SerialBus } from "./support/modbus/libmodbus.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { OneWireTree, SysfsTree, w1Slave } from "./support/sysfs-tree.ts";
import { TestBroker } from "./support/test-broker.ts";
import { until } from "./support/until.ts";

/** Of every source. */
const intervalMs = 100;
/** Readings that a neighbour may miss beyond what it misses while all are there. */
const mayMiss = 5;
/** Of Modbus: twice as long, so that a neighbour that waits for it shows. */
const timeoutMs = 2 * mayMiss * intervalMs;
const thermometer = "28-0000000000a1";
const values = ["holding 10 235"];

/** A device that is connected to, and can be cut off. */
class SocketDevice {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  port = 0;

  async plug(): Promise<void> {
    const server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => undefined).on("close", () => this.#sockets.delete(socket));
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.port, "127.0.0.1", resolve));
    this.port = (server.address() as AddressInfo).port;
  }

  async unplug(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }

  write(text: string): void {
    for (const socket of this.#sockets) socket.write(text);
  }
}

let folder: string;
let hub: EmbeddedHub;
let daemon: RunningDaemon;
let kernel: SysfsTree;
let wire: OneWireTree;
let bus: SimulatedBus;
let line: SerialBus;
let plc: LibmodbusServer;
let plcPort: number;
let broker: TestBroker;
let cell: SerialDevice;
let scale: SocketDevice;
let isOver = false;
let pushing: Promise<void>[] = [];
/** When the readings of each source were received, in order. */
const received = new Map<string, number[]>();

const plug = {
  plc: async () => {
    plc = new LibmodbusServer(["tcp", String(plcPort)], ["unit 1", ...values]);
    plcPort = await plc.ready();
  },
  chip: () => bus.plug(0x76, new SimulatedBme280()),
  wire: () => wire.plug(thermometer, w1Slave(370)),
  kernel: () => {
    kernel.write("class/hwmon/hwmon0/name", "cpu_thermal\n");
    kernel.write("class/hwmon/hwmon0/temp1_input", "51234\n");
  },
};

/** Devices that send by themselves do so whether somebody hears them or not. */
async function push(send: (text: string) => unknown): Promise<void> {
  for (let n = 0; !isOver; n++) {
    await send(`${n}\n`);
    await systemClock.sleep(intervalMs);
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "headgate-neighbours-"));
  hub = await startEmbeddedHub();
  kernel = new SysfsTree(folder);
  wire = new OneWireTree(folder);
  bus = await new SimulatedBus(folder).start();
  line = new SerialBus();
  await line.unit(1, values);
  plcPort = 0;
  await plug.plc();
  broker = await new TestBroker().start();
  cell = new SerialDevice();
  cell.line.plug();
  scale = new SocketDevice();
  await scale.plug();
  plug.chip();
  plug.wire();
  plug.kernel();
  pushing = [
    push((text) => cell.line.send(Buffer.from(text), () => undefined)),
    push((text) => scale.write(text)),
    push((text) => broker.publish("yard/kiln", text.trim())),
  ];

  const decode = { format: "csv", columns: ["n"] };
  const modbus = { type: "modbus", unit: 1, timeoutMs, registers: { temperature: { address: 10 } } };
  const asked = {
    rtu: { ...modbus, transport: "rtu", path: line.path },
    plc: { ...modbus, transport: "tcp", host: "127.0.0.1", port: plcPort },
    chip: { type: "i2c", driver: "bme280", address: 0x76 },
    wire: { type: "oneWire", id: thermometer, root: wire.devices },
    kernel: {
      type: "sysfs",
      root: join(folder, "class/hwmon"),
      chip: "cpu_thermal",
      files: { temperature: { path: "temp1_input" } },
    },
  };
  const sources = {
    cell: { type: "serial", path: cell.path, decode, device: "cell" },
    scale: { type: "socket", connect: `tcp://127.0.0.1:${scale.port}`, decode, device: "scale" },
    yard: { type: "mqtt", url: broker.url, topic: "yard/+", decode, device: "yard" },
    ...Object.fromEntries(
      Object.entries(asked).map(([device, source]) => [device, { ...source, intervalMs, device }]),
    ),
  };
  const config = {
    gateway: { name: "box" },
    sources,
    publish: { maxDelayMs: 0, readings: "all" },
    clock: { maxHoldMs: 0 },
    store: { path: join(folder, "store"), maxLossMs: 100 },
    api: { state: "off" },
    hub: { type: "edge" },
  };
  for (const source of Object.keys(sources)) received.set(source, []);
  hub.on("message", ({ body }) => {
    for (const { kind, source, time } of JSON.parse(body.toString("utf8")))
      if (kind === "reading") received.get(source)?.push(Date.parse(time));
  });
  daemon = new RunningDaemon(folder, config, { ...hub.environment("gateway"), ...bus.environment });
  daemon.start();
  await until("all are read", () => [...received.values()].every((times) => times.length > 8));
});
afterAll(async () => {
  isOver = true;
  await Promise.all(pushing);
  await daemon.kill();
  plc.thaw();
  await Promise.all([plc.stop(), line.stop(), bus.stop(), broker.stop(), scale.unplug(), cell.stop()]);
  await hub.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** How many readings of a source were received from then on. */
const since = (source: string, fromMs: number) =>
  received.get(source)?.filter((ms) => ms > fromMs).length ?? 0;

/** The longest time without a reading that touches the time between the two; ends when it is known. */
async function longestGap(source: string, fromMs: number, toMs: number): Promise<number> {
  await until(`${source} is read on`, () => since(source, toMs) > 0);
  const times = (received.get(source) ?? []).toSorted((a, b) => a - b);
  const gaps = times.map((ms, i) =>
    ms > fromMs && (times[i - 1] ?? ms) < toMs ? ms - (times[i - 1] ?? ms) : 0,
  );
  return Math.max(...gaps);
}
async function longestGaps(sources: readonly string[], fromMs: number): Promise<Record<string, number>> {
  const toMs = Date.now();
  const gaps = sources.map(async (source) => [source, await longestGap(source, fromMs, toMs)] as const);
  return Object.fromEntries(await Promise.all(gaps));
}
/** Of each source while all were there. */
const usual: Record<string, number> = {};

test.each([
  {
    kind: "a serial port",
    source: "cell",
    unplug: () => cell.line.unplug(),
    replug: () => cell.line.plug(),
    reason: /opening serial port/,
  },
  {
    kind: "a socket",
    source: "scale",
    unplug: () => scale.unplug(),
    replug: () => scale.plug(),
    reason: /ECONNREFUSED/,
  },
  {
    kind: "a broker",
    source: "yard",
    unplug: () => broker.unlisten(),
    replug: () => broker.listen(),
    reason: /ECONNREFUSED/,
  },
  {
    kind: "a Modbus server",
    source: "plc",
    unplug: () => plc.stop(),
    replug: plug.plc,
    reason: /ECONNREFUSED/,
  },
  {
    kind: "a Modbus server that is silent",
    source: "plc",
    unplug: () => plc.freeze(),
    replug: () => plc.thaw(),
    reason: /no answer within/,
  },
  {
    kind: "the adapter of a Modbus line",
    source: "rtu",
    unplug: () => line.cable.unplug(),
    replug: () => line.cable.plug(),
    reason: /opening serial port/,
  },
  {
    kind: "a unit of a Modbus line",
    source: "rtu",
    unplug: () => line.cutOff.add(1),
    replug: () => line.cutOff.clear(),
    reason: /no answer within/,
  },
  {
    kind: "a chip on I2C",
    source: "chip",
    unplug: () => bus.plug(0x76, undefined),
    replug: plug.chip,
    reason: /no chip acknowledges/,
  },
  {
    kind: "a thermometer on 1-Wire",
    source: "wire",
    unplug: () => wire.unplug(thermometer),
    replug: plug.wire,
    reason: /it is not on the bus/,
  },
  {
    kind: "a chip of the kernel",
    source: "kernel",
    unplug: () => kernel.remove("class/hwmon/hwmon0"),
    replug: plug.kernel,
    reason: /no chip has that name/,
  },
])(
  "$kind is pulled out and comes back, and all others keep their pace",
  async ({ source, unplug, replug, reason }) => {
    const all = [...received.keys()];
    const others = all.filter((name) => name !== source);
    const startMs = Date.now();
    await until("all are read", () => all.every((name) => since(name, startMs) > 2));
    for (const [name, gapMs] of Object.entries(await longestGaps(all, startMs)))
      usual[name] = Math.max(usual[name] ?? 0, gapMs);

    const unpluggedMs = Date.now();
    await unplug();
    await daemon.untilStatus(`it is absent, and why: ${reason}`, ({ sources }) => {
      const { state, reason: told = "" } = (sources[source] ?? {}) as { state?: string; reason?: string };
      return state === "absent" && reason.test(told);
    });
    const absentMs = Date.now();
    await until("the others go on", () => others.every((name) => since(name, absentMs) > 2));
    expect((await daemon.status())?.sources[source]?.state).toBe("absent");
    await replug();
    const repluggedMs = Date.now();
    await until("it is read again", () => since(source, repluggedMs) > 1);
    await daemon.untilStatus("it is open", ({ sources }) => sources[source]?.state === "open");

    const gaps = await longestGaps(others, unpluggedMs);
    const tooLong = others.filter((name) => (gaps[name] ?? 0) > (usual[name] ?? 0) + mayMiss * intervalMs);
    expect(tooLong, `${JSON.stringify(gaps)} ms without a reading, usually ${JSON.stringify(usual)}`).toEqual(
      [],
    );
    const { sources = {} } = (await daemon.status()) ?? {};
    for (const name of others) expect(sources[name]?.state, name).toBe("open");
  },
);
