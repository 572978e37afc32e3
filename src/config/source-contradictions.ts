import type { Problem } from "../core/errors.ts";
import { driverNamed } from "../drivers/catalogue.ts";
import { addressOf } from "./i2c-address.ts";
import type { Config } from "./schema.ts";

/** What sources contradict: each other, and the rest of the configuration. */
export function sourceContradictions({ sources, store, hub, gateway, api }: Config): Problem[] {
  const problems: Problem[] = [];
  const ports = new Map<string, string>();
  const chips = new Map<string, string>();
  const sessions = new Map<string, string>();
  const inputs = new Map<string | undefined, string>();
  if (hub.type === "mqtt")
    sessions.set(`${hub.url}\n${hub.clientId ?? `headgate-${gateway.name}`}`, "the hub");
  const twice = (bytes: number, what: string, path: string) => {
    if (bytes * 2 <= store.maxQueueBytes) return;
    const message = `a ${what} of ${bytes} bytes does not fit twice into store.maxQueueBytes`;
    problems.push({ path, message, hint: "lower it, or raise store.maxQueueBytes" });
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
    if ("dedupe" in source && source.dedupe.by === "timestamp" && !source.decode.time) {
      problems.push({
        path: `${path}.dedupe.by`,
        message: "its readings have no time of their own, only that of their receipt",
        hint: "set decode.time, or choose another criterion",
      });
    }
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
      if (other !== undefined) {
        problems.push({
          path: `${path}.path`,
          message: `${source.path} is already read by source ${other}`,
          hint: `switch one off with "state": "off", or give it another port`,
        });
      }
      ports.set(source.path, name);
      twice(source.maxLineBytes, "line", `${path}.maxLineBytes`);
    }
    if (source.type === "i2c") {
      const address = addressOf(source);
      const { addresses } = driverNamed(source.driver);
      if (!addresses.includes(address)) {
        problems.push({
          path: `${path}.address`,
          message: `a ${source.driver} has no address ${hex(address)}`,
          hint: `it answers at ${addresses.map(hex).join(", ")}`,
        });
      }
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

const hex = (address: number) => `0x${address.toString(16).padStart(2, "0")}`;
