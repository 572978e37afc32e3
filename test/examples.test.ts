/** Every example in `config/examples` runs: its device is a pseudo-terminal, a socket, a broker, a caller, a camera or a file, its hub is here; the rest is as written. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Aedes } from "aedes";
import sharp from "sharp";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Pieces } from "../bench/onnx/protobuf.ts";
import { resNet } from "../bench/onnx/resnet.ts";
import { meanSquareDistance } from "../bench/onnx/small-models.ts";
import { systemClock } from "../src/core/clock.ts";
import { type EmbeddedHub, startEmbeddedHub } from "../src/embedded-hub/embedded-hub.ts";
import { Gateway } from "../src/gateway.ts";
import { imbalances } from "../src/ledger/ledger.ts";
import { messageBody } from "../src/outbox/entry-schema.ts";
import { startSentimentContainer } from "../src/simulated-devices/sentiment-container.ts";
import { recordingLog } from "./core/recording-log.ts";
import { dsmr5 } from "./decode/telegrams.ts";
import { modelFile } from "./infer/running-model.ts";
import { SerialBus, type Values } from "./support/modbus/libmodbus.ts";
import { pms5003 } from "./support/packets.ts";
import { SerialDevice } from "./support/serial-device.ts";
import { OneWireTree, w1Slave } from "./support/sysfs-tree.ts";
import { until } from "./support/until.ts";

const examples = fileURLToPath(new URL("../config/examples", import.meta.url));
let hub: EmbeddedHub;
let aedes: Aedes;
let broker: Server;
let brokerPort: number;
const atBroker: { topic: string; body: string }[] = [];
let folder: string;
let device: SerialDevice;
let bus: SerialBus | undefined;

beforeAll(async () => {
  hub = await startEmbeddedHub();
  aedes = new Aedes({
    authenticate: (_client, username, password, done) => {
      done(null, username === "headgate" && password?.toString() === "secret");
    },
  });
  await aedes.listen();
  aedes.on("publish", (packet, client) => {
    if (client) atBroker.push({ topic: packet.topic, body: packet.payload.toString() });
  });
  broker = createServer((socket) => aedes.handle(socket));
  await new Promise<void>((resolve) => broker.listen(0, "127.0.0.1", resolve));
  const address = broker.address();
  brokerPort = typeof address === "object" && address ? address.port : 0;
});
afterAll(async () => {
  await hub.stop();
  await new Promise<void>((resolve) => aedes.close(() => resolve()));
  broker.close();
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "headgate-example-"));
  device = new SerialDevice();
  device.line.plug();
});
afterEach(async () => {
  await device.stop();
  await bus?.stop();
  bus = undefined;
  rmSync(folder, { recursive: true, force: true });
});

interface Example {
  readonly source: string;
  /** What the device of the example sends, and what its one window must say. */
  readonly lines: readonly string[];
  /** For a device that sends no lines. */
  readonly stream?: string;
  /** Where it publishes them, if it is no serial device. */
  readonly topic?: string;
  /** What its units hold, if they are asked. */
  readonly units?: readonly Values[];
  /** Makes what the kernel would show in this folder; gives the variables that say where. */
  readonly kernel?: (folder: string) => Record<string, string>;
  /** It asks the sentiment container. */
  readonly container?: true;
  /** Puts a picture where its camera would, and what it needs around it; gives the variables that say where. */
  readonly camera?: { place(folder: string): Record<string, string>; drop(folder: string): Promise<void> };
  /** The name of the model that it names, and what stands for it here. */
  readonly model?: readonly [name: string, pieces: () => Pieces];
  readonly expected: object;
  readonly alarms?: readonly object[];
  readonly bodies: () => readonly string[];
}

const recent = Math.floor(Date.now() / 10_000) * 10 - 100;
const iso = (seconds: number) => new Date(seconds * 1_000).toISOString();
const fromHub = () => hub.messages.map((message) => message.body.toString("utf8"));
const cases: Record<string, Example> = {
  "edge-camera.json": {
    source: "gate",
    lines: [],
    camera: {
      place: (folder) => {
        mkdirSync(join(folder, "drops"));
        const labels = join(folder, "labels.json");
        const names = ["tench", "pickup", "tow truck"].map((name, i) => [i, [`n${i}`, name]]);
        writeFileSync(labels, JSON.stringify(Object.fromEntries(names)));
        const network = { width: 4, seed: 1, size: 32, classes: names.length };
        return {
          HEADGATE__models__resnet__file: modelFile(folder, "resnet.onnx", resNet(network)).file,
          HEADGATE__models__resnet__labels: labels,
          HEADGATE__sources__gate__folder: join(folder, "drops"),
        };
      },
      drop: async (folder) => {
        const plain = { width: 64, height: 48, channels: 3, background: "teal" } as const;
        const picture = await sharp({ create: plain }).jpeg().toBuffer();
        writeFileSync(join(folder, "drops", "a.jpg"), picture);
      },
    },
    expected: {
      gateway: "gate-2",
      device: "gate-camera",
      count: 1,
      channels: { pickup: { count: 1 }, tow_truck: { count: 1 } },
    },
    bodies: fromHub,
  },
  "edge-mqtt-source.json": {
    source: "yard",
    lines: ['{"seq":1,"temperature":20}', '{"seq":2,"temperature":22}', '{"seq":2,"temperature":22}'],
    topic: "sensors/kiln/data",
    expected: {
      gateway: "yard-2",
      device: "kiln",
      count: 2,
      channels: { temperature: { mean: 21 } },
    },
    bodies: fromHub,
  },
  "edge-sentiment.json": {
    source: "kiosk",
    lines: [
      `{"kiosk":"lobby","time":"${iso(recent)}","rating":5,"comment":"Clean and friendly"}`,
      `{"kiosk":"lobby","time":"${iso(recent + 1)}","comment":"The door is broken"}`,
      `{"kiosk":"lobby","time":"${iso(recent + 5)}","comment":"Thanks"}`,
    ],
    container: true,
    expected: {
      gateway: "lobby-1",
      source: "mood",
      device: "lobby",
      count: 2,
      channels: { positive: { min: 0.02, max: 0.96 }, score: { count: 2 } },
    },
    bodies: fromHub,
  },
  "edge-mqtt-topics.json": {
    source: "house",
    lines: ["20", "22", "OFF"],
    topic: "home/kiln/temperature",
    expected: {
      gateway: "house-1",
      device: "kiln",
      count: 3,
      channels: { temperature: { mean: 14, max: 22 } },
    },
    bodies: fromHub,
  },
  "edge-modbus.json": {
    source: "dryer",
    lines: [],
    units: [
      ["holding 12 16712", "holding 13 0", "holding 14 1", "holding 15 0"],
      ["input 0 615", "holding 0 600", "coil 0 1"],
    ],
    expected: {
      device: expect.stringMatching(/^(meter|dryer)-1$/),
      channels: expect.toSatisfy(
        ({ power, energy, temperature, setpoint, running }) =>
          (power?.mean === 12.5 && power.unit === "kW" && energy.last === 65_536) ||
          (temperature?.last === 61.5 && setpoint.last === 60 && running.min === 1),
      ),
    },
    bodies: fromHub,
  },
  "edge-onewire.json": {
    source: "flow",
    lines: [],
    kernel: (folder) => {
      const tree = new OneWireTree(folder);
      tree.plug("28-0316a2795f3d", w1Slave(370));
      return { HEADGATE__sources__flow__root: tree.devices };
    },
    expected: {
      gateway: "boiler-room",
      device: "boiler-flow",
      count: 1,
      channels: { temperature: { mean: 23.125, unit: "°C" } },
    },
    bodies: fromHub,
  },
  "edge-serial-json.json": {
    source: "oven",
    lines: [
      '{"id":"oven-1","seq":1,"temperature":100}',
      '{"id":"oven-1","seq":2,"temperature":400}',
      "{torn",
    ],
    expected: {
      gateway: "line-4",
      device: "oven-1",
      count: 2,
      bad: 1,
      channels: { temperature: { count: 1, mean: 100 * 1.02 - 0.4, unit: "°C" } },
    },
    alarms: [{ device: "oven-1", channel: "temperature", from: "good", to: "bad", value: 400 * 1.02 - 0.4 }],
    bodies: fromHub,
  },
  "edge-serial-dsmr.json": {
    source: "meter",
    lines: [],
    stream: dsmr5.slice(-99) + dsmr5 + dsmr5,
    expected: {
      gateway: "house-7",
      device: "meter",
      count: 2,
      channels: {
        gasDelivered: { last: 12785.123, unit: "m³" },
        powerDelivered: { mean: 1.193, unit: "kW" },
      },
    },
    bodies: fromHub,
  },
  "edge-serial-packets.json": {
    source: "hall",
    lines: [],
    stream: pms5003.packet.toString("latin1").slice(9) + pms5003.packet.toString("latin1").repeat(2),
    expected: {
      gateway: "air-1",
      device: "pms5003",
      count: 2,
      channels: { pm2_5: { mean: 13, unit: "µg/m³" }, pm10: { mean: 22 } },
    },
    bodies: fromHub,
  },
  "edge-socket.json": {
    source: "scales",
    lines: ["left 12.5kg", "left  +13.5 kg", "right"],
    expected: { gateway: "line-4", device: "left", count: 2, channels: { weight: { mean: 13, unit: "kg" } } },
    bodies: fromHub,
  },
  "edge-http.json": {
    source: "weather",
    lines: [
      `{"station":"roof","time":"${iso(recent)}","Temperature":20}`,
      `{"station":"roof","time":"${iso(recent + 1)}","Temperature":22}`,
      `{"station":"roof","time":"${iso(recent + 60)}","Temperature":9}`,
    ],
    expected: { gateway: "yard-2", device: "roof", count: 2, channels: { temperature: { mean: 21 } } },
    bodies: fromHub,
  },
  "edge-http-model.json": {
    source: "press",
    lines: [
      `{"press":"p1","time":"${iso(recent)}","temperature":70,"vibration":4}`,
      `{"press":"p1","time":"${iso(recent + 1)}","temperature":72,"vibration":6}`,
      `{"press":"p1","time":"${iso(recent + 60)}","temperature":60,"vibration":4}`,
    ],
    model: ["distance", () => meanSquareDistance([0, 0, 0])],
    expected: { source: "press", device: "p1", count: 2, channels: { temperature: { mean: 71 } } },
    // The mean of 5.5², (√2 − 1)² and 1².
    alarms: [{ source: "health", device: "p1", channel: "anomaly", value: expect.closeTo(10.4739, 3) }],
    bodies: fromHub,
  },
  "iothub-serial-csv.json": {
    source: "bench",
    lines: ["1,21.5,40,33", "2,22.5,41,35", "3,,42,"],
    expected: {
      device: "bench-1",
      count: 3,
      channels: {
        temperature: { count: 2, mean: 22 },
        humidity: { count: 3, mean: 41 },
        soilMoisture: { mean: 34, unit: "%" },
      },
    },
    bodies: fromHub,
  },
  "mqtt-serial-keyvalue.json": {
    source: "pump",
    lines: [
      `unit=p1;ts=${recent};flow=2`,
      `unit=p1;ts=${recent + 1};flow=4`,
      `unit=p1;ts=${recent + 60};flow=9`,
    ],
    expected: { device: "p1", count: 2, channels: { flow: { mean: 3, stddev: Math.SQRT2 } } },
    bodies: () =>
      atBroker.filter(({ topic }) => topic === "site-7/pump-house/readings").map(({ body }) => body),
  },
};

function publish(topic: string, payload: string): Promise<void> {
  const packet = { cmd: "publish", topic, payload, qos: 1, retain: false, dup: false } as const;
  return new Promise((resolve, reject) =>
    aedes.publish(packet, (error) => (error ? reject(error) : resolve())),
  );
}

/** Where the example's source finds its device here, as variables of the environment layer. */
function where(
  { source, topic, stream, kernel, camera }: Example,
  type: string,
  names: readonly string[],
): Record<string, string> {
  if (kernel) return kernel(folder);
  if (camera) return camera.place(folder);
  if (type === "http") return {};
  if (type === "socket")
    return { [`HEADGATE__sources__${source}__listen`]: `unix:${join(folder, "in.sock")}` };
  const { path } = bus ?? {};
  if (path !== undefined)
    return Object.fromEntries(names.map((name) => [`HEADGATE__sources__${name}__path`, path]));
  if (topic !== undefined) return { [`HEADGATE__sources__${source}__url`]: `mqtt://127.0.0.1:${brokerPort}` };
  return {
    [`HEADGATE__sources__${source}__path`]: device.path,
    ...(stream === undefined
      ? { [`HEADGATE__sources__${source}__framing`]: JSON.stringify({ kind: "lines", first: "keep" }) }
      : {}),
  };
}

function modelOf({ model }: Example): Record<string, string> {
  if (!model) return {};
  const [name, pieces] = model;
  return { [`HEADGATE__models__${name}__file`]: modelFile(folder, "model.onnx", pieces()).file };
}

test("there is a case for every example", () => {
  expect(readdirSync(examples).sort()).toEqual(Object.keys(cases).sort());
});

test.each(Object.entries(cases))("%s", async (name, example) => {
  const config = JSON.parse(readFileSync(join(examples, name), "utf8"));
  const { type } = config.sources[example.source];
  const window = Object.keys(config.windows)[0];
  if (example.units) bus = new SerialBus();
  for (const [i, values] of example.units?.entries() ?? []) await bus?.unit(i + 1, values);
  const container = example.container ? await startSentimentContainer() : undefined;
  // Only what cannot be here is replaced, through the environment layer: the port, the hub's address, long waits.
  const environment: Record<string, string> = {
    ...hub.environment("gateway"),
    IOTHUB_CONNECTION_STRING: hub.connectionString("edge", "gateway", { gateway: true }),
    MQTT_PASSWORD: "secret",
    BROKER_PASSWORD: "secret",
    ...(container ? { HEADGATE__sentiment__url: container.url } : {}),
    ...modelOf(example),
    ...where(example, type, Object.keys(config.sources)),
    HEADGATE__api__port: "0",
    [`HEADGATE__windows__${window}__sizeMs`]: config.hub.type === "mqtt" ? "10000" : "2000",
    HEADGATE__publish__maxDelayMs: "0",
    HEADGATE__clock__maxHoldMs: "0",
    HEADGATE__store__path: join(folder, "store"),
    HEADGATE__store__maxLossMs: "100",
    ...(config.hub.type === "iothub" ? { HEADGATE__hub__caFile: hub.caFile } : {}),
    ...(config.hub.type === "mqtt" ? { HEADGATE__hub__url: `mqtt://127.0.0.1:${brokerPort}` } : {}),
  };
  Object.assign(process.env, hub.environment("gateway"));
  const fatal: unknown[] = [];
  const gateway = await Gateway.start({
    configFile: join(examples, name),
    environment,
    clock: systemClock,
    log: recordingLog(),
    onFatal: (error) => fatal.push(error),
  });
  try {
    await until("the port is open", () => gateway.status.sources[example.source]?.state === "open");
    const before = example.bodies().length;
    if (config.hub.type !== "mqtt") {
      // The window is cut by the time of receipt here: begin with a fresh one.
      await systemClock.sleep(2_000 - (Date.now() % 2_000) + 50);
    }
    const text = example.stream ?? example.lines.map((line) => `${line}\n`).join("");
    if (type === "http") await post(gateway, text);
    else if (type === "socket") await write(join(folder, "in.sock"), text);
    else if (example.topic !== undefined)
      for (const line of example.lines) await publish(example.topic, line);
    else if (example.camera) await example.camera.drop(folder);
    else if (!example.units && !example.kernel) await device.send(text);
    const entries = () =>
      example
        .bodies()
        .slice(before)
        .flatMap((body) => messageBody.parse(JSON.parse(body)));
    const window = () => entries().find(({ kind }) => kind === "window");
    await until("the window arrives", () => window() !== undefined);
    expect(window()).toMatchObject(example.expected);
    const alarms = () => entries().filter(({ kind }) => kind === "alarm");
    await until("its alarms arrive", () => alarms().length >= (example.alarms?.length ?? 0));
    expect(alarms()).toMatchObject(example.alarms ?? []);
    expect(imbalances(await gateway.audit())).toEqual([]);
  } finally {
    await gateway.stop(AbortSignal.timeout(8_000));
    await container?.stop();
  }
  expect(fatal).toEqual([]);
});

function write(path: string, text: string): Promise<void> {
  const socket = connect({ path });
  return new Promise((resolve, reject) => {
    socket.once("error", reject).once("close", () => resolve());
    socket.resume().end(text);
  });
}

async function post(gateway: Gateway, body: string): Promise<void> {
  const token = readFileSync(join(gateway.storeFolder, "api-token"), "utf8").trim();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/x-ndjson" };
  const answer = await fetch(`${gateway.status.api.url}/api/readings`, { method: "POST", headers, body });
  expect(answer.status).toBe(200);
}
