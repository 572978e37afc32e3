import type { Problem } from "../core/errors.ts";
import { topicChannel } from "../core/topic-template.ts";
import { i2cDriverNamed } from "../drivers/catalogue.ts";
import { frameBytesOf } from "../drivers/modbus-plan.ts";
import { sysfsFrameBytes } from "../drivers/sysfs-file.ts";
import { framingContradictions } from "./framing-contradictions.ts";
import { addressOf } from "./i2c-address.ts";
import { registerContradictions } from "./modbus-contradictions.ts";
import { queueBytes } from "./queue-bytes.ts";
import type { Config, DecodeConfig, LinkedSource, ModbusSourceConfig, SocketSourceConfig } from "./schema.ts";

/** What sources contradict: each other, and the rest of the configuration. */
export function sourceContradictions({ sources, store, hub, gateway, api }: Config): Problem[] {
  const problems: Problem[] = [];
  const ports = new Map<string, { readonly name: string; readonly line?: RtuSourceConfig }>();
  const chips = new Map<string, string>();
  const thermometers = new Map<string, string>();
  const sessions = new Map<string, string>();
  const inputs = new Map<string | undefined, string>();
  if (hub.type === "mqtt")
    sessions.set(`${hub.url}\n${hub.clientId ?? `headgate-${gateway.name}`}`, "the hub");
  const twice = (bytes: number, what: string, path: string) => {
    if (bytes * 2 <= queueBytes(store)) return;
    const name =
      store.maxBytes / 8 < store.maxQueueBytes ? "an eighth of store.maxBytes" : "store.maxQueueBytes";
    const message = `a ${what} of ${bytes} bytes does not fit twice into ${name}`;
    problems.push({ path, message, hint: `lower it, or raise ${name.replace("an eighth of ", "")}` });
  };
  for (const [name, source] of Object.entries(sources)) {
    if (source.state === "off") continue;
    const path = `sources.${name}`;
    if (source.type === "http" && api.state === "off") {
      problems.push({
        path: `${path}.type`,
        message: "nobody could bring readings, because api.state is off",
        hint: `switch the API on, or the source off with "state": "off"`,
      });
    }
    if ("decode" in source && source.dedupe.by === "timestamp" && !hasOwnTime(source.decode)) {
      problems.push({
        path: `${path}.dedupe.by`,
        message: "its readings have no time of their own, only that of their receipt",
        hint: "set decode.time, or choose another criterion",
      });
    }
    if ("decode" in source) problems.push(...missingNames(source, path));
    if (source.type === "hub") {
      if (hub.type === "mqtt") {
        problems.push({
          path: `${path}.type`,
          message: "a hub of type mqtt brings no messages",
          hint: "read its topics with a source of type mqtt",
        });
      }
      const other = inputs.get(source.input);
      if (other !== undefined) {
        const what = source.input === undefined ? "what no other source takes" : `input ${source.input}`;
        problems.push({
          path: `${path}.input`,
          message: `source ${other} takes ${what} already`,
          hint: `switch one off with "state": "off", or give it another input`,
        });
      }
      inputs.set(source.input, name);
      twice(source.maxPayloadBytes, "payload", `${path}.maxPayloadBytes`);
    }
    if (source.type === "serial") {
      const other = ports.get(source.path);
      if (other) problems.push(taken(`${path}.path`, source.path, other.name));
      ports.set(source.path, { name });
    }
    if ("framing" in source) {
      twice(source.framing.maxBytes, "frame", `${path}.framing.maxBytes`);
      problems.push(...framingContradictions(source, path));
    }
    if (source.type === "socket") {
      problems.push(...socketContradictions(source, path));
      if (source.listen !== undefined) {
        const other = ports.get(source.listen);
        if (other !== undefined) {
          problems.push({
            path: `${path}.listen`,
            message: `source ${other.name} listens there already`,
            hint: `switch one off with "state": "off", or give it another address`,
          });
        }
        ports.set(source.listen, { name });
      }
    }
    if (source.type === "i2c") {
      const address = addressOf(source);
      const driver = i2cDriverNamed(source.driver);
      const { addresses } = driver;
      if (addresses !== "any" && !addresses.includes(address)) {
        problems.push({
          path: `${path}.address`,
          message: `a ${source.driver} has no address ${hex(address)}`,
          hint: `it answers at ${addresses.map(hex).join(", ")}`,
        });
      }
      for (const problem of driver.contradictions?.(source.options) ?? [])
        problems.push({ ...problem, path: `${path}.options.${problem.path}` });
      const chip = `${source.bus}\n${address}`;
      const other = chips.get(chip);
      if (other !== undefined) {
        problems.push({
          path: `${path}.address`,
          message: `${hex(address)} of bus ${source.bus} is already read by source ${other}`,
          hint: `give the chip another address, or switch one source off with "state": "off"`,
        });
      }
      chips.set(chip, name);
    }
    if (source.type === "oneWire") {
      const thermometer = `${source.root}\n${source.id}`;
      const other = thermometers.get(thermometer);
      if (other !== undefined) {
        problems.push({
          path: `${path}.id`,
          message: `${source.id} is already read by source ${other}`,
          hint: `switch one off with "state": "off"`,
        });
      }
      thermometers.set(thermometer, name);
    }
    if (source.type === "sysfs") twice(sysfsFrameBytes(source), "frame", `${path}.files`);
    if (source.type === "sysfs" && source.chip === undefined) {
      if (source.root === undefined) {
        const hint = `the file "name" in each folder of /sys/class/hwmon says what is there`;
        problems.push({ path: `${path}.chip`, message: "is missing, and so is root", hint });
      }
      if (source.at !== undefined)
        problems.push({ path: `${path}.at`, message: "tells chips of one name apart, and there is no chip" });
    }
    if (source.type === "modbus") {
      problems.push(...registerContradictions(source, path));
      twice(frameBytesOf(source), "frame", `${path}.registers`);
      if (source.transport === "rtu") {
        const other = ports.get(source.path);
        if (other && !other.line) problems.push(taken(`${path}.path`, source.path, other.name));
        if (other?.line) problems.push(...otherSettings(source, other.line, other.name, path));
        ports.set(source.path, other ?? { name, line: source });
      }
    }
    if (source.type === "replay") twice(source.maxFrameBytes, "frame", `${path}.maxFrameBytes`);
    if (source.type === "mqtt") {
      // Two connections of one client id throw each other out (MQTT 3.1.1 section 3.1.4).
      const session = `${source.url}\n${source.clientId ?? `headgate-${gateway.name}-${name}`}`;
      const other = sessions.get(session);
      if (other !== undefined) {
        problems.push({
          path: `${path}.clientId`,
          message: `is already the one of ${other} at this broker`,
          hint: "give each its own clientId, or none",
        });
      }
      sessions.set(session, `source ${name}`);
      twice(source.maxPayloadBytes, "payload", `${path}.maxPayloadBytes`);
    }
  }
  return problems;
}

type RtuSourceConfig = Extract<ModbusSourceConfig, { transport: "rtu" }>;

function taken(path: string, port: string, other: string): Problem {
  const message = `${port} is already read by source ${other}`;
  return { path, message, hint: `switch one off with "state": "off", or give it another port` };
}

/** One line has one speed and one format. */
function otherSettings(
  source: RtuSourceConfig,
  line: RtuSourceConfig,
  other: string,
  path: string,
): Problem[] {
  return (["baudRate", "parity", "stopBits"] as const)
    .filter((key) => source[key] !== line[key])
    .map((key) => ({
      path: `${path}.${key}`,
      message: `source ${other} has ${line[key]} on the same line`,
      hint: "all sources of one line have the same settings",
    }));
}

function socketContradictions({ connect, listen }: SocketSourceConfig, path: string): Problem[] {
  if ((connect === undefined) !== (listen === undefined)) return [];
  const message = connect === undefined ? "neither connects nor listens" : "both connects and listens";
  return [{ path, message, hint: `set one of "connect" and "listen"` }];
}

const hex = (address: number) => `0x${address.toString(16).padStart(2, "0")}`;

/** What the frames are to be read by, and nothing in them or around them names. */
function missingNames({ decode, device }: LinkedSource, path: string): Problem[] {
  const problems: Problem[] = [];
  const isChannelNamed =
    typeof device === "object" && "template" in device && device.template.includes(topicChannel);
  const hint = `name it in device.template as ${topicChannel}`;
  if (decode.format === "value" && decode.channel === undefined && !isChannelNamed)
    problems.push({ path: `${path}.decode.channel`, message: "nothing names the channel", hint });
  if (decode.format !== "json" || !decode.fields) return problems;
  const { fields, time } = decode;
  if (topicChannel in fields && !isChannelNamed) {
    const message = "the topic names no channel";
    problems.push({ path: `${path}.decode.fields.${topicChannel}`, message, hint });
  }
  const needed = { "decode.time.field": time?.field, "device.field": fieldOf(device) };
  for (const [place, field] of Object.entries(needed)) {
    if (field === undefined || field in fields) continue;
    problems.push({
      path: `${path}.${place}`,
      message: `decode.fields has no ${field}, so it would never be there`,
      hint: `add it to decode.fields with its path`,
    });
  }
  return problems;
}

function fieldOf(device: LinkedSource["device"]): string | undefined {
  return typeof device === "object" && "field" in device ? device.field : undefined;
}

function hasOwnTime(decode: DecodeConfig): boolean {
  return decode.time !== undefined;
}
