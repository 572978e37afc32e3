import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inFilter, outPrefix } from "../reading.ts";
import { resultsFolder } from "../results.ts";
import { type Program, startNode } from "./program.ts";

/** Installed by the benchmark into its own folder: nothing of the project depends on it. */
export const nodeRedVersion = "4.1.8";

const folder = join(resultsFolder, "node-red");
const manifest = join(folder, "node_modules/node-red/package.json");

/** Means with a function node, or with core nodes alone. */
export function nodeRed(how: "function" | "core"): Program {
  return {
    name: how === "function" ? "nodeRedFunction" : "nodeRedCore",
    async prepare() {
      if (existsSync(manifest) && JSON.parse(readFileSync(manifest, "utf8")).version === nodeRedVersion)
        return;
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
      const args = ["install", "--no-fund", "--no-audit", `node-red@${nodeRedVersion}`];
      execFileSync("npm", args, { cwd: folder, stdio: ["ignore", 2, 2] });
    },
    start(place) {
      const { port } = new URL(place.url);
      const flows = how === "function" ? functionFlow : coreFlow;
      writeFileSync(join(place.folder, "flows.json"), JSON.stringify(flowFile(Number(port), flows)));
      writeFileSync(join(place.folder, "settings.js"), settings);
      const script = join(folder, "node_modules/node-red/red.js");
      return {
        child: startNode(place, [script, "-u", place.folder, "-s", join(place.folder, "settings.js")]),
      };
    },
  };
}

const settings = `module.exports = {
  uiHost: "127.0.0.1", uiPort: 0, flowFile: "flows.json", credentialSecret: false,
  telemetry: { enabled: false, updateNotification: false },
  logging: { console: { level: "warn", metrics: false, audit: false } },
};
`;

/** What has no place on the sheet, or another node's id as value, is taken for configuration. */
function flowFile(port: number, flow: readonly object[]) {
  const sheet = { id: "sheet", type: "tab", label: "bench" };
  return [
    sheet,
    ...broker(port),
    ...[...ends, ...flow].map((node) => ({ ...node, z: sheet.id, x: 0, y: 0 })),
  ];
}

function broker(port: number) {
  return [
    {
      id: "the-broker",
      type: "mqtt-broker",
      broker: "127.0.0.1",
      port,
      clientid: "node-red",
      autoConnect: true,
      usetls: false,
      protocolVersion: "4",
      keepalive: "60",
      cleansession: true,
    },
  ];
}

/** JSON is parsed by the node that receives it; what it hands on goes to `the-means`. */
const ends = [
  {
    id: "the-readings",
    type: "mqtt in",
    topic: inFilter,
    qos: "1",
    datatype: "json",
    broker: "the-broker",
    inputs: 0,
    wires: [["the-means"]],
  },
  { id: "the-hub", type: "mqtt out", topic: "", qos: "1", retain: "false", broker: "the-broker", wires: [] },
];

const functionFlow = [
  {
    id: "the-tick",
    type: "inject",
    props: [{ p: "tick", v: "true", vt: "bool" }],
    repeat: "1",
    once: true,
    onceDelay: "1",
    wires: [["the-means"]],
  },
  {
    id: "the-means",
    type: "function",
    outputs: 1,
    initialize: 'context.set("windows", new Map());',
    func: `
const windows = context.get("windows");
if (msg.tick) {
  const closed = [];
  for (const [device, { count, channels }] of windows) {
    const payload = { device, count };
    for (const [name, { sum, count: n }] of channels) payload[name] = sum / n;
    closed.push({ topic: "${outPrefix}/" + device, payload });
  }
  windows.clear();
  return [closed];
}
const reading = msg.payload;
let window = windows.get(reading.device);
if (!window) windows.set(reading.device, (window = { count: 0, channels: new Map() }));
window.count++;
for (const [channel, value] of Object.entries(reading)) {
  if (typeof value !== "number" || channel === "seq") continue;
  const mean = window.channels.get(channel);
  if (mean) { mean.sum += value; mean.count++; }
  else window.channels.set(channel, { sum: value, count: 1 });
}`,
    wires: [["the-hub"]],
  },
];

const channels = ["temperature", "humidity", "pressure", "co2", "voltage", "current", "vibration"];
const means = channels.map((channel) => `"${channel}": $average(${channel})`).join(", ");

/** Batches of a second, joined to one array, grouped by device in JSONata, split into a message per device. */
const coreFlow = [
  {
    id: "the-means",
    type: "batch",
    mode: "interval",
    interval: "1",
    allowEmptySequence: false,
    topics: [],
    wires: [["the-join"]],
  },
  {
    id: "the-join",
    type: "join",
    mode: "custom",
    build: "array",
    property: "payload",
    propertyType: "msg",
    key: "topic",
    joiner: "",
    joinerType: "str",
    timeout: "",
    count: "",
    wires: [["the-groups"]],
  },
  {
    id: "the-groups",
    type: "change",
    rules: [
      {
        t: "set",
        p: "payload",
        pt: "msg",
        to: `payload{"${outPrefix}/" & device: {"device": $distinct(device), "count": $count(co2), ${means}}}`,
        tot: "jsonata",
      },
      { t: "delete", p: "parts", pt: "msg" },
    ],
    wires: [["the-split"]],
  },
  {
    id: "the-split",
    type: "split",
    arraySplt: 1,
    arraySpltType: "len",
    addname: "topic",
    wires: [["the-hub"]],
  },
];
