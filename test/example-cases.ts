/** What the device of each example sends, and what must be published of it. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { expect } from "vitest";
import type { Pieces } from "../bench/onnx/protobuf.ts";
import { resNet } from "../bench/onnx/resnet.ts";
import { meanSquareDistance } from "../bench/onnx/small-models.ts";
import { dsmr5 } from "./decode/telegrams.ts";
import { modelFile } from "./infer/running-model.ts";
import type { Values } from "./support/modbus/libmodbus.ts";
import { pms5003 } from "./support/packets.ts";
import { OneWireTree, w1Slave } from "./support/sysfs-tree.ts";

export interface Example {
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
  /** The topic that it publishes to at a broker, if it is not the hub that it does. */
  readonly publishes?: string;
}

const recent = Math.floor(Date.now() / 10_000) * 10 - 100;
const iso = (seconds: number) => new Date(seconds * 1_000).toISOString();
/** By the file of the example. */
export const exampleCases: Readonly<Record<string, Example>> = {
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
  },
  "edge-socket.json": {
    source: "scales",
    lines: ["left 12.5kg", "left  +13.5 kg", "right"],
    expected: { gateway: "line-4", device: "left", count: 2, channels: { weight: { mean: 13, unit: "kg" } } },
  },
  "edge-http.json": {
    source: "weather",
    lines: [
      `{"station":"roof","time":"${iso(recent)}","Temperature":20}`,
      `{"station":"roof","time":"${iso(recent + 1)}","Temperature":22}`,
      `{"station":"roof","time":"${iso(recent + 60)}","Temperature":9}`,
    ],
    expected: { gateway: "yard-2", device: "roof", count: 2, channels: { temperature: { mean: 21 } } },
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
  },
  "mqtt-serial-keyvalue.json": {
    source: "pump",
    lines: [
      `unit=p1;ts=${recent};flow=2`,
      `unit=p1;ts=${recent + 1};flow=4`,
      `unit=p1;ts=${recent + 60};flow=9`,
    ],
    expected: { device: "p1", count: 2, channels: { flow: { mean: 3, stddev: Math.SQRT2 } } },
    publishes: "site-7/pump-house/readings",
  },
};
