import { checkConfig } from "../config/check.ts";
import type { ModbusSourceConfig } from "../config/schema.ts";
import { systemClock } from "../core/clock.ts";
import { ConfigError, InvariantError, messageOf, TransientError } from "../core/errors.ts";
import type { JsonObject } from "../core/json.ts";
import { ModbusLines } from "../sources/modbus-lines.ts";
import { readRequest } from "../sources/modbus-pdu.ts";
import { Turns } from "../sources/turns.ts";

export interface FoundLine {
  /** As it was asked for. */
  readonly line: string;
  /** Of a source: its transport and the settings of the line. */
  readonly settings: JsonObject;
  readonly units: readonly number[];
  /** Why it was not looked at. */
  readonly reason?: string;
}

/** A unit that is there answers sooner, and 247 of those that are not take half a minute. */
const timeoutMs = 100;
/** Any answer shows that somebody is there, an exception too. */
const question = { table: "holding", address: 0, count: 1 } as const;
/** What a gateway says of a unit that is not there (MODBUS Application Protocol V1.1b3 section 7). */
const gatewayExceptions = [10, 11];
/** So many of a server's first units are one device that does not look at the number, which is to be asked as itself. */
const suspiciously = 8;
const itself = 255;

/** Units that answer on a line, such as `/dev/ttyUSB0,9600,none,2` or `tcp://10.0.0.7:502`. @throws ConfigError */
export async function modbusUnits(line: string, range: string, signal: AbortSignal): Promise<FoundLine> {
  const settings = settingsOf(line);
  const numbers = unitsOf(range);
  const lines = new ModbusLines(systemClock, new Turns());
  const user = {};
  const units: number[] = [];
  const config = sourceOf(settings, numbers[0] ?? 1);
  try {
    for (const unit of numbers) {
      const request = readRequest(unit, question);
      const outcome = await lines.join(config, user).exchange(request, timeoutMs, signal);
      const isThere =
        outcome.kind === "answer" ||
        (outcome.kind === "exception" && !gatewayExceptions.includes(outcome.code));
      if (isThere) units.push(unit);
      if (settings.transport === "tcp" && units.length === suspiciously)
        return { line, settings, units: [itself], reason: "answers whatever unit is asked" };
    }
    return { line, settings, units };
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    return { line, settings, units, reason: messageOf(error) };
  } finally {
    await lines.leave(config, user);
  }
}

function settingsOf(line: string): JsonObject {
  const [, v6, name, port] = /^tcp:\/\/(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(line) ?? [];
  const host = v6 ?? name;
  if (host !== undefined)
    return { transport: "tcp", host, ...(port === undefined ? {} : { port: Number(port) }) };
  const [path = "", baudRate, parity, stopBits] = line.split(",");
  return {
    transport: "rtu",
    path,
    ...(baudRate === undefined ? {} : { baudRate: Number(baudRate) }),
    ...(parity === undefined ? {} : { parity }),
    ...(stopBits === undefined ? {} : { stopBits: Number(stopBits) }),
  };
}

function unitsOf(range: string): number[] {
  const [, from, to = from] = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(range) ?? [];
  const [first, last] = [Number(from), Number(to)];
  if (!(first >= 1 && last <= 247 && first <= last))
    throw new ConfigError("CONFIG_INVALID", [
      { path: "--units", message: `${range} is no range of units such as 1-247` },
    ]);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** @throws ConfigError with what is wrong with the line */
function sourceOf(settings: JsonObject, unit: number): ModbusSourceConfig {
  const source = { type: "modbus", ...settings, unit, device: "unit", registers: { first: { address: 0 } } };
  const { config } = checkConfig({
    gateway: { name: "scan" },
    hub: { type: "edge" },
    sources: { modbus: source },
  });
  const checked = config.sources.modbus;
  if (checked?.type !== "modbus") throw new InvariantError("the configuration lost its source");
  return checked;
}
