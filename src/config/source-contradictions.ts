import { resolve } from "node:path";
import type { Problem } from "../core/errors.ts";
import { i2cDriverNamed } from "../drivers/catalogue.ts";
import { frameBytesOf } from "../drivers/modbus-plan.ts";
import { sysfsFrameBytes } from "../drivers/sysfs-file.ts";
import { decodeContradictions } from "./decode-contradictions.ts";
import { framingContradictions } from "./framing-contradictions.ts";
import { addressOf, hexOf } from "./i2c-address.ts";
import { conditionContradictions, imageContradictions, moveContradictions } from "./image-contradictions.ts";
import { imageFrameBytes } from "./image-source-schema.ts";
import { registerContradictions } from "./modbus-contradictions.ts";
import { modelSourceContradictions } from "./model-source-contradictions.ts";
import { queueBytes } from "./queue-bytes.ts";
import type {
  Config,
  HubSourceConfig,
  I2cSourceConfig,
  ImageFolderSourceConfig,
  ImageSourceConfig,
  ModbusSourceConfig,
  MqttSourceConfig,
  OneWireSourceConfig,
  SentimentSourceConfig,
  SerialSourceConfig,
  SocketSourceConfig,
  SourceConfig,
  StreamSource,
  SysfsSourceConfig,
} from "./schema.ts";

/** What sources contradict: each other, and the rest of the configuration. */
export function sourceContradictions(config: Config): Problem[] {
  const owners = ownersIn(config);
  return Object.entries(config.sources).flatMap(([name, source]) => {
    if (source.state === "off") return [];
    const here = { name, path: `sources.${name}`, config, owners };
    return [
      ...(source.type === "http" ? withoutApi(here) : []),
      ...("decode" in source ? decodeContradictions(source, here.path) : []),
      ...contradictionsOf(source, here),
    ];
  });
}

/** Where a source stands, and what it may contradict. */
interface Here {
  readonly name: string;
  readonly path: string;
  readonly config: Config;
  readonly owners: Owners;
}

/** Who has, of the sources so far, what only one can have. */
interface Owners {
  /** Device files and addresses; `line` where sources of Modbus share it. */
  readonly ports: Map<string, { readonly name: string; readonly line?: RtuSourceConfig }>;
  readonly chips: Map<string, string>;
  readonly thermometers: Map<string, string>;
  readonly folders: Map<string, string>;
  readonly sessions: Map<string, string>;
  readonly inputs: Map<string | undefined, string>;
}

function ownersIn({ hub, gateway }: Config): Owners {
  const sessions = new Map<string, string>();
  if (hub.type === "mqtt")
    sessions.set(`${hub.url}\n${hub.clientId ?? `headgate-${gateway.name}`}`, "the hub");
  return {
    ports: new Map(),
    chips: new Map(),
    thermometers: new Map(),
    folders: new Map(),
    sessions,
    inputs: new Map(),
  };
}

/** Whose it was before it became the next one's. */
function handedOver<Key, Owner>(owners: Map<Key, Owner>, key: Key, next: Owner): Owner | undefined {
  const before = owners.get(key);
  owners.set(key, next);
  return before;
}

function contradictionsOf(source: SourceConfig, here: Here): Problem[] {
  switch (source.type) {
    case "http":
      return [];
    case "sentiment":
      return ofSentiment(source, here);
    case "hub":
      return ofHub(source, here);
    case "serial":
      return ofSerial(source, here);
    case "socket":
      return ofSocket(source, here);
    case "i2c":
      return ofI2c(source, here);
    case "oneWire":
      return ofOneWire(source, here);
    case "sysfs":
      return ofSysfs(source, here);
    case "modbus":
      return ofModbus(source, here);
    case "model":
      return modelSourceContradictions(source, here.name, here.config);
    case "replay":
      return tooLarge(source.maxFrameBytes, "frame", "maxFrameBytes", here);
    case "mqtt":
      return ofMqtt(source, here);
    case "imageFolder":
      return ofImageFolder(source, here);
    case "imageUrl":
      return [...ofImages(source, here), ...conditionContradictions(source, here.path, here.config)];
    default:
      return source satisfies never;
  }
}

function withoutApi({ path, config: { api } }: Here): Problem[] {
  if (api.state === "on") return [];
  return [
    {
      path: `${path}.type`,
      message: "nobody could bring readings, because api.state is off",
      hint: `switch the API on, or the source off with "state": "off"`,
    },
  ];
}

/** Formats whose fields are texts of whatever kind. */
const textFormats = ["json", "csv", "keyValue", "regex", "cbor"];

function ofSentiment({ from }: SentimentSourceConfig, { path, config }: Here): Problem[] {
  const problems: Problem[] = [];
  if (config.sentiment.state === "off" || config.sentiment.url === undefined) {
    const hint = "set sentiment.url";
    problems.push({
      path: `${path}.type`,
      message: "there is no container: its texts would wait for ever",
      hint,
    });
  }
  if (!from) return problems;
  const other = config.sources[from.source];
  if (!other || other.state === "off")
    problems.push({ path: `${path}.from.source`, message: `there is no source ${from.source} that is on` });
  else if (!("decode" in other) || !textFormats.includes(other.decode.format)) {
    const hint = `its format is one of ${textFormats.join(", ")}`;
    problems.push({ path: `${path}.from.source`, message: `${from.source} brings no texts`, hint });
  }
  return problems;
}

function ofHub({ input, maxPayloadBytes }: HubSourceConfig, here: Here): Problem[] {
  const { name, path, config, owners } = here;
  const problems: Problem[] = [];
  if (config.hub.type === "mqtt") {
    problems.push({
      path: `${path}.type`,
      message: "a hub of type mqtt brings no messages",
      hint: "read its topics with a source of type mqtt",
    });
  }
  const other = handedOver(owners.inputs, input, name);
  if (other !== undefined) {
    const what = input === undefined ? "what no other source takes" : `input ${input}`;
    problems.push({
      path: `${path}.input`,
      message: `source ${other} takes ${what} already`,
      hint: `switch one off with "state": "off", or give it another input`,
    });
  }
  return [...problems, ...tooLarge(maxPayloadBytes, "payload", "maxPayloadBytes", here)];
}

function ofSerial(source: SerialSourceConfig, here: Here): Problem[] {
  const { name, path, owners } = here;
  const other = handedOver(owners.ports, source.path, { name });
  return [...(other ? [portTaken(path, source.path, other.name)] : []), ...ofStream(source, here)];
}

function ofSocket(source: SocketSourceConfig, here: Here): Problem[] {
  const { name, path, owners } = here;
  const { connect, listen } = source;
  const problems = ofStream(source, here);
  if ((connect === undefined) === (listen === undefined)) {
    const message = connect === undefined ? "neither connects nor listens" : "both connects and listens";
    problems.push({ path, message, hint: `set one of "connect" and "listen"` });
  }
  const other = listen === undefined ? undefined : handedOver(owners.ports, listen, { name });
  if (other) {
    problems.push({
      path: `${path}.listen`,
      message: `source ${other.name} listens there already`,
      hint: `switch one off with "state": "off", or give it another address`,
    });
  }
  return problems;
}

function ofStream(source: StreamSource, here: Here): Problem[] {
  const ofSize = tooLarge(source.framing.maxBytes, "frame", "framing.maxBytes", here);
  return [...ofSize, ...framingContradictions(source, here.path)];
}

function ofI2c(source: I2cSourceConfig, { name, path, owners }: Here): Problem[] {
  const problems: Problem[] = [];
  const address = addressOf(source);
  const driver = i2cDriverNamed(source.driver);
  const { addresses } = driver;
  if (addresses !== "any" && !addresses.includes(address)) {
    problems.push({
      path: `${path}.address`,
      message: `a ${source.driver} has no address ${hexOf(address)}`,
      hint: `it answers at ${addresses.map(hexOf).join(", ")}`,
    });
  }
  for (const problem of driver.contradictions?.(source.options) ?? [])
    problems.push({ ...problem, path: `${path}.options.${problem.path}` });
  const other = handedOver(owners.chips, `${source.bus}\n${address}`, name);
  if (other !== undefined) {
    problems.push({
      path: `${path}.address`,
      message: `${hexOf(address)} of bus ${source.bus} is already read by source ${other}`,
      hint: `give the chip another address, or switch one source off with "state": "off"`,
    });
  }
  return problems;
}

function ofOneWire({ root, id }: OneWireSourceConfig, { name, path, owners }: Here): Problem[] {
  const other = handedOver(owners.thermometers, `${root}\n${id}`, name);
  if (other === undefined) return [];
  const message = `${id} is already read by source ${other}`;
  return [{ path: `${path}.id`, message, hint: `switch one off with "state": "off"` }];
}

function ofSysfs(source: SysfsSourceConfig, here: Here): Problem[] {
  const { path } = here;
  const problems = tooLarge(sysfsFrameBytes(source), "frame", "files", here);
  if (source.chip !== undefined) return problems;
  if (source.root === undefined) {
    const hint = `the file "name" in each folder of /sys/class/hwmon says what is there`;
    problems.push({ path: `${path}.chip`, message: "is missing, and so is root", hint });
  }
  if (source.at !== undefined)
    problems.push({ path: `${path}.at`, message: "tells chips of one name apart, and there is no chip" });
  return problems;
}

function ofModbus(source: ModbusSourceConfig, here: Here): Problem[] {
  return [
    ...registerContradictions(source, here.path),
    ...tooLarge(frameBytesOf(source), "frame", "registers", here),
    ...(source.transport === "rtu" ? ofLine(source, here) : []),
  ];
}

type RtuSourceConfig = Extract<ModbusSourceConfig, { transport: "rtu" }>;

/** Sources of Modbus share a line with each other, and with no other source. One line has one speed and one format. */
function ofLine(source: RtuSourceConfig, { name, path, owners: { ports } }: Here): Problem[] {
  const first = ports.get(source.path);
  if (!first) {
    ports.set(source.path, { name, line: source });
    return [];
  }
  const { line } = first;
  if (!line) return [portTaken(path, source.path, first.name)];
  return (["baudRate", "parity", "stopBits"] as const)
    .filter((key) => source[key] !== line[key])
    .map((key) => ({
      path: `${path}.${key}`,
      message: `source ${first.name} has ${line[key]} on the same line`,
      hint: "all sources of one line have the same settings",
    }));
}

function ofMqtt(source: MqttSourceConfig, here: Here): Problem[] {
  const { name, path, config, owners } = here;
  const problems: Problem[] = [];
  // Two connections of one client id throw each other out (MQTT 3.1.1 section 3.1.4).
  const session = `${source.url}\n${source.clientId ?? `headgate-${config.gateway.name}-${name}`}`;
  const other = handedOver(owners.sessions, session, `source ${name}`);
  if (other !== undefined) {
    problems.push({
      path: `${path}.clientId`,
      message: `is already the one of ${other} at this broker`,
      hint: "give each its own clientId, or none",
    });
  }
  return [...problems, ...tooLarge(source.maxPayloadBytes, "payload", "maxPayloadBytes", here)];
}

function ofImages(source: ImageSourceConfig, here: Here): Problem[] {
  const ofSize = tooLarge(imageFrameBytes(source), "frame", "labels", here);
  return [...imageContradictions(source, here.path, here.config), ...ofSize];
}

function ofImageFolder(source: ImageFolderSourceConfig, here: Here): Problem[] {
  const { name, path, owners } = here;
  const problems = [...ofImages(source, here), ...moveContradictions(source, path)];
  const other = handedOver(owners.folders, resolve(source.folder), name);
  if (other === undefined) return problems;
  const message = `source ${other} takes its pictures already`;
  return [...problems, { path: `${path}.folder`, message, hint: "give each source a folder of its own" }];
}

function portTaken(path: string, port: string, other: string): Problem {
  const message = `${port} is already read by source ${other}`;
  return {
    path: `${path}.path`,
    message,
    hint: `switch one off with "state": "off", or give it another port`,
  };
}

/** While one waits to be stored, the next comes. */
function tooLarge(bytes: number, what: string, key: string, { path, config: { store } }: Here): Problem[] {
  if (bytes * 2 <= queueBytes(store)) return [];
  const isStoreSmall = store.maxBytes / 8 < store.maxQueueBytes;
  const room = isStoreSmall ? "an eighth of store.maxBytes" : "store.maxQueueBytes";
  const message = `a ${what} of ${bytes} bytes does not fit twice into ${room}`;
  const hint = `lower it, or raise ${isStoreSmall ? "store.maxBytes" : "store.maxQueueBytes"}`;
  return [{ path: `${path}.${key}`, message, hint }];
}
